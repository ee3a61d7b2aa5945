"""An audit on this machine alone: the same rows from any number of processes, nothing committed if one is killed."""

import json
import os
import signal
import threading
import time
from multiprocessing import active_children
from pathlib import Path

import pytest
from odd_files import encode, photograph

from pipelines.audit import command
from pipelines.audit.run import read_run
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


def audit(folder: Path, output: Path, workers: int) -> Path:
    arguments = ["audit", str(folder), "--output", str(output), "--no-report", "--workers", str(workers)]
    assert main(arguments) == 0
    (run,) = output.iterdir()
    return run


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


def test_a_killed_worker_is_one_clear_error_and_nothing_is_committed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "IMAGES_PER_PROCESS", 1)

    def kill_one() -> None:
        while not (found := active_children()):
            time.sleep(0.02)
        os.kill(found[0].pid or 0, signal.SIGKILL)

    thread = threading.Thread(target=kill_one)
    thread.start()
    arguments = ["audit", str(folder), "--output", str(tmp_path / "out"), "--no-report", "--workers", "2"]
    with pytest.raises(RuntimeError, match="a worker process was killed"):
        main(arguments)
    thread.join()
    assert not active_children()
    (run,) = (tmp_path / "out").iterdir()
    assert not (run / "_run.json").exists()
    assert "is not committed; the same command with --resume" in capsys.readouterr().err
