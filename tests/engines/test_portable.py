"""The commands on engines whose workers are processes of their own, as on a cluster: the same rows, figures and shards.

The engine's workers are killed in one of the tests: nothing is committed then, and the next run gives the same rows.
"""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from archive import serve, write_manifest
from cluster import ENGINES, Engine, start_engine
from comparisons import check_evaluations, check_shards
from rows import Row, audited_rows, check_counts, check_rows


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with start_engine(request.param, tmp_path_factory.mktemp("engine")) as started:
        yield started


def test_audit_gives_the_rows_of_the_plain_loop(
    engine: Engine, corpus: Path, expected: list[Row], tmp_path: Path
) -> None:
    check_rows(audited_rows([corpus], tmp_path, engine.flags), expected)
    check_counts(tmp_path, expected)


def test_killed_workers_commit_nothing_and_the_next_run_gives_all_rows(
    engine: Engine, corpus: Path, tmp_path: Path
) -> None:
    killed: list[int] = []

    def kill() -> None:
        for pid in engine.workers():
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)

    names = sorted(path.name for path in corpus.iterdir())[:60]
    lattice = "--estimators=lattice"
    with serve(corpus, len(names) // 2, kill) as url:
        arguments = [f"--manifest={write_manifest(tmp_path / 'images.csv', url, names)}", lattice]
        with pytest.raises(RuntimeError, match=r"FAILED"):
            audited_rows([], tmp_path / "killed", [*arguments, *engine.flags])
        assert killed
        assert list((tmp_path / "killed").glob("*/_run.json")) == []
        again = audited_rows([], tmp_path / "again", [*arguments, *engine.flags])
        check_rows(again, audited_rows([], tmp_path / "local", [*arguments, "--workers=1"]))
    assert len(again) == len(names)


def test_shards_are_the_same_bytes(engine: Engine, originals: Path, tmp_path: Path) -> None:
    check_shards(engine.flags, originals, tmp_path)


def test_evaluations_have_the_same_figures(engine: Engine, originals: Path, tmp_path: Path) -> None:
    check_evaluations(engine.flags, originals, tmp_path)
