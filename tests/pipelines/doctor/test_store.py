"""A file's round trip through real stores and broken ones."""

from datetime import UTC, datetime
from pathlib import Path

import gcsfs
import pytest

from pipelines.doctor.finding import Level
from pipelines.doctor.store import check_store
from q1net_core import listing, storage


def test_a_bucket(gcs_server: str) -> None:
    found, stored = check_store(f"{gcs_server}/doctor")
    assert found.level is Level.OK
    assert stored is not None
    assert abs((datetime.now(UTC) - stored).total_seconds()) < 300
    assert gcsfs.GCSFileSystem(use_listings_cache=False).find(f"{gcs_server}/doctor") == []


def test_a_local_folder_is_left_as_it_was(tmp_path: Path) -> None:
    assert check_store(str(tmp_path))[0].level is Level.OK
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("function", "step"),
    [("write_bytes", "write to"), ("list_images", "list"), ("read_bytes", "read from"), ("remove", "delete in")],
)
def test_the_step_that_fails_is_named(
    function: str, step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("no")

    monkeypatch.setattr(listing if function == "list_images" else storage, function, refuse)
    found, stored = check_store(str(tmp_path))
    assert (found.level, stored) == (Level.FAIL, None)
    assert found.found == f"cannot {step} {tmp_path}: PermissionError: no"


def test_other_bytes_and_files_that_stay_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(storage, "read_bytes", lambda *_: b"other")
        assert "other bytes came back than were written" in check_store(str(tmp_path))[0].found
    monkeypatch.setattr(storage, "remove", lambda _: None)
    assert "the file is still there" in check_store(str(tmp_path))[0].found
