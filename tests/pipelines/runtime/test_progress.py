"""The bar of local runs counts what was counted since it began."""

import pytest

from pipelines.runtime import counters
from pipelines.runtime.progress import show_progress


def test_the_bar_shows_what_was_counted_since_it_began(capsys: pytest.CaptureFixture[str]) -> None:
    counters.inc("rows", 5)
    with show_progress("rows", 4, "image"):
        counters.inc("rows")
        counters.inc("rows", 2)
    assert "3/4" in capsys.readouterr().err


def test_the_bar_ends_with_the_error_of_the_job(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError), show_progress("rows", 2, "image"):
        raise ZeroDivisionError(counters.inc("rows"))
    assert "1/2" in capsys.readouterr().err
