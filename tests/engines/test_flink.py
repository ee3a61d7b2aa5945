"""The commands on an Apache Flink cluster of two task managers, one of which is killed while it works.

`make test-flink` fetches what this needs and runs it. The test that kills a task manager stands last.
"""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from archive import serve, write_manifest
from comparisons import check_evaluations, check_shards
from flink import TASK_MANAGERS, Flink, start_flink
from rows import Row, audited_rows, check_counts, check_rows


@pytest.fixture(scope="module")
def flink(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flink]:
    with start_flink(Path(os.environ["Q1NET_FLINK"]), tmp_path_factory.mktemp("flink")) as started:
        yield started


def test_audit_gives_the_rows_of_the_plain_loop(
    flink: Flink, corpus: Path, expected: list[Row], tmp_path: Path
) -> None:
    check_rows(audited_rows([corpus], tmp_path, flink.flags), expected)
    check_counts(tmp_path, expected)


def test_shards_are_the_same_bytes(flink: Flink, originals: Path, tmp_path: Path) -> None:
    check_shards(flink.flags, originals, tmp_path)


def test_evaluations_have_the_same_figures(flink: Flink, originals: Path, tmp_path: Path) -> None:
    check_evaluations(flink.flags, originals, tmp_path)


def test_nothing_is_lost_or_doubled_when_a_task_manager_is_killed(flink: Flink, corpus: Path, tmp_path: Path) -> None:
    jobs: list[str] = []
    busy: list[str] = []

    def kill() -> None:
        jobs.append(flink.running_job())
        tasks = flink.running_tasks(jobs[0])
        busy.extend(sorted(name for name in TASK_MANAGERS if tasks[name]))
        os.kill(flink.task_managers[busy[0]], signal.SIGKILL)

    names = sorted(path.name for path in corpus.iterdir())
    with serve(corpus, len(names) // 2, kill) as url:
        arguments = [f"--manifest={write_manifest(tmp_path / 'images.csv', url, names)}", "--estimators=lattice"]
        survived = audited_rows([], tmp_path / "flink", [*arguments, *flink.flags])
        check_rows(survived, audited_rows([], tmp_path / "local", [*arguments, "--workers=1"]))
    assert len(survived) == len(names)
    assert busy == sorted(TASK_MANAGERS)
    assert flink.failures(jobs[0])
    assert flink.ask("overview")["taskmanagers"] == len(TASK_MANAGERS) - 1
