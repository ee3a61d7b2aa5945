"""An audit on this machine alone: the same rows from any number of processes, nothing committed if one is killed."""

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import active_children
from pathlib import Path

import pytest
from odd_files import encode, photograph

from pipelines.audit import command
from pipelines.audit.listing import newest_run
from pipelines.audit.run import open_run, read_run
from pipelines.cli import main

IMAGES = 12


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(IMAGES):
        (folder / f"{number:02d}.jpg").write_bytes(encode(photograph(), quality=30 + 5 * number))
    (folder / "empty.jpg").write_bytes(b"")
    return folder


def audit(folder: Path, output: Path, workers: int, *flags: str) -> Path:
    """The folder of the run that an audit commits."""
    arguments = ["audit", str(folder), "--output", str(output), "--no-report", "--workers", str(workers), *flags]
    assert main(arguments) == 0
    return Path(newest_run(str(output)))


def test_rows_and_counters_are_the_same_from_one_process_and_two(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "IMAGES_PER_PROCESS", 1)
    one, two = (audit(folder, tmp_path / f"out{workers}", workers) for workers in (1, 2))
    assert "in 2 processes of this machine" in capsys.readouterr().err
    rows = [read_run(str(run)).drop_columns(["processed_at"]) for run in (one, two)]
    assert len(rows[0]) == IMAGES + 1
    assert rows[0].equals(rows[1])
    counted = [json.loads((run / "counters.json").read_text()) for run in (one, two)]
    assert counted[0]["rows"] == IMAGES + 1
    for name in ("rows_ok", "rows_empty", "patches", "patches_used", "num_inferences", "bytes_read"):
        assert counted[0][name] == counted[1][name], name
    assert counted[1]["decode_usec"]["count"] == IMAGES + 1
    assert not (two / "_pieces").exists()


@contextmanager
def one_is_killed() -> Iterator[None]:
    """Kill the first worker process that is started meanwhile, and expect that the audit says so."""

    def kill_one() -> None:
        while not (found := active_children()):
            time.sleep(0.02)
        os.kill(found[0].pid or 0, signal.SIGKILL)

    thread = threading.Thread(target=kill_one)
    thread.start()
    with pytest.raises(RuntimeError, match="a worker process was killed"):
        yield
    thread.join()
    assert not active_children()


def test_a_killed_worker_is_one_clear_error_and_nothing_is_committed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "IMAGES_PER_PROCESS", 1)
    with one_is_killed():
        audit(folder, tmp_path / "out", 2)
    (run,) = (tmp_path / "out").iterdir()
    assert not (run / "_run.json").exists()
    assert "is not committed; the same command with --resume" in capsys.readouterr().err


def test_a_resumed_audit_is_one_of_processes_too_and_does_nothing_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "IMAGES_PER_PROCESS", 1)
    first = read_run(str(audit(folder, tmp_path / "out", 1)))
    for number in range(IMAGES):
        (folder / f"more{number:02d}.jpg").write_bytes(encode(photograph(), quality=31 + 5 * number))
    with one_is_killed():
        audit(folder, tmp_path / "out", 2, "--resume")
    (killed,) = (run for run in (tmp_path / "out").iterdir() if not (run / "_run.json").exists())
    capsys.readouterr()
    again = audit(folder, tmp_path / "out", 2, "--resume")
    assert "in 2 processes of this machine" in capsys.readouterr().err
    whole, fresh = read_run(str(again)), read_run(str(audit(folder, tmp_path / "fresh", 2)))
    assert whole.drop_columns(["processed_at"]).equals(fresh.drop_columns(["processed_at"]))
    known = {row["uri"]: row["processed_at"] for row in first.to_pylist() if row["status"] == "ok"}
    assert len(known) == IMAGES
    assert {row["uri"]: row["processed_at"] for row in whole.to_pylist() if row["uri"] in known} == known
    counted = json.loads((again / "counters.json").read_text())
    # What was judged before the kill is kept as well.
    assert counted["rows_carried"] >= IMAGES
    assert (counted["rows"], open_run(str(again))["totals"]["carried"]) == (2 * IMAGES + 1, counted["rows_carried"])
    assert {path.name for path in again.iterdir()} == {path.name for path in (tmp_path / "fresh").glob("*/*")}
    assert (killed / "_pieces").exists()
