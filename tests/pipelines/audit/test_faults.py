"""What may go wrong while an audit works: nothing is lost, nothing is there twice, once it is started again.

Stores that fail or are slow are in test_stores.py, killed runs and damaged ones in test_resume.py.
"""

import os
import resource
import shutil
import signal
from collections import Counter
from pathlib import Path

import pytest
from killed import run_apart, wait_for_pieces
from pictures import PHOTOGRAPHS
from PIL import Image

from pipelines.audit.command import audit
from pipelines.audit.config import parse
from pipelines.audit.listing import find_runs
from pipelines.audit.run import open_run, read_run

IMAGES = 200
PROCESSES = ("--direct_running_mode=multi_processing", "--direct_num_workers=2")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "images"
    made.mkdir()
    photo = Image.open(PHOTOGRAPHS / "camera" / "airplane.png").convert("RGB").crop((300, 200, 364, 248))
    photo.save(made / "000.jpg", quality=60)
    for number in range(1, IMAGES):
        shutil.copy(made / "000.jpg", made / f"{number:03d}.jpg")
    return made


def finish(folder: Path, output: Path) -> int:
    """Start the audit again; returns how many rows were carried over."""
    config, options = parse([str(folder), "--output", str(output), "--estimators", "lattice", "--resume"])
    uri = audit(config, options)
    rows = read_run(uri).to_pylist()
    assert Counter(row["uri"] for row in rows) == Counter(str(path) for path in folder.iterdir())
    assert {row["quality"] for row in rows} == {60}
    carried: int = open_run(uri)["totals"]["carried"]
    return carried


def workers_of(pid: int) -> list[int]:
    """Beam's worker processes below a process; the shells that start them are left out."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    commands = {child: Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0") for child in children}
    found = [child for child, words in commands.items() if words[1:2] == [b"-m"] and b"sdk_worker" in words[2]]
    return found + [worker for child in children for worker in workers_of(child)]


def test_a_worker_that_is_killed_fails_the_run_and_loses_nothing(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    process = run_apart(folder, output, *PROCESSES)
    wait_for_pieces(process, output, 4)
    workers = workers_of(process.pid)
    assert len(workers) == 2
    os.kill(workers[0], signal.SIGKILL)
    assert process.wait(timeout=120) != 0
    (failed,) = find_runs(str(output))
    assert failed.committed is None
    assert finish(folder, output) >= 40


def test_a_full_disk_fails_the_run_and_loses_nothing(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    process = run_apart(folder, output)
    wait_for_pieces(process, output, 4)
    # From here on no file can become longer than this: the process gets the error of a full disk's kind.
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (500, 500))
    assert process.wait(timeout=120) != 0
    (failed,) = find_runs(str(output))
    assert failed.committed is None
    assert not list(Path(failed.uri).rglob("*.tmp"))
    assert finish(folder, output) >= 40


def test_nothing_outside_of_the_output_is_written(folder: Path, tmp_path: Path) -> None:
    here, home = tmp_path / "here", tmp_path / "home"
    here.mkdir()
    home.mkdir()
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    output = tmp_path / "out"
    process = run_apart(folder, output, cwd=here, home=home)
    assert process.wait(timeout=300) == 0
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "home", "images", "out"]
    assert list(here.rglob("*")) == []
    # Matplotlib keeps its list of fonts in the cache of whoever runs it.
    assert {path.relative_to(home).parts[0] for path in home.rglob("*")} <= {".cache", ".config", ".local"}
    assert [path.name for path in output.iterdir()] == [f"run_id={next(find_runs(str(output))).run_id}"]
