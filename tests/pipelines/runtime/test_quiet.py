"""Start-up notices of libraries stay off the screen, but not when something fails."""

import logging
import os
import sys
import warnings

import pytest

from pipelines.runtime.quiet import drop_beam_notices, hold_back_stderr


def test_native_notices_are_held_back(capfd: pytest.CaptureFixture[str]) -> None:
    with hold_back_stderr():
        os.write(2, b"a native notice\n")
    print("after", file=sys.stderr)
    assert capfd.readouterr().err == "after\n"


def test_notices_are_shown_when_the_block_fails(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError), hold_back_stderr():
        raise ZeroDivisionError(os.write(2, b"why it failed\n"))
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "why it failed\nafter\n"


def test_only_known_notices_are_dropped(caplog: pytest.LogCaptureFixture) -> None:
    root = logging.getLogger()
    before = list(root.filters)
    drop_beam_notices()
    try:
        root.warning("apitools not found or something")
        root.warning("Resource module is not available for current platform")
        warnings.warn_explicit("a fit", RuntimeWarning, "util.py", 1, module="apache_beam.transforms.util")
        with pytest.warns(RuntimeWarning, match="a real one"):
            warnings.warn_explicit("a real one", RuntimeWarning, "other.py", 1, module="somewhere")
        root.warning("a real warning")
    finally:
        root.filters[:] = before
    assert [record.getMessage() for record in caplog.records] == ["a real warning"]
