"""The commands on engines whose workers are processes of their own, as on a cluster: the same rows, figures and shards.

The engine's workers are killed in one of the tests: nothing is committed then, and the next run gives the same rows.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cluster import ENGINES, Engine, start_engine
from pictures import ORIGINALS, load_original
from PIL import Image
from rows import FLOATS_WITHIN, Row, audited_rows, check_rows

from pipelines.cli import main
from pipelines.files import read_json


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with start_engine(request.param, tmp_path_factory.mktemp("engine")) as started:
        yield started


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("originals")
    for number, name in enumerate(ORIGINALS):
        Image.fromarray(load_original(name)[:160, :192]).save(folder / f"{number}.png")
    return folder


class Archive(ThreadingHTTPServer):
    """Serves a folder over loopback, and calls back before it answers one of the requests."""

    def __init__(self, folder: Path, number: int, callback: Any) -> None:
        super().__init__(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
        self.left, self.callback, self.lock = number, callback, threading.Lock()

    def count(self) -> None:
        with self.lock:
            self.left -= 1
            if self.left == 0:
                self.callback()


class Handler(SimpleHTTPRequestHandler):
    server: Archive

    def do_GET(self) -> None:
        self.server.count()
        super().do_GET()

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serve(folder: Path, number: int, callback: Any) -> Iterator[str]:
    """The URL of an archive whose request of this number calls back."""
    with Archive(folder, number, callback) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_audit_gives_the_rows_of_the_plain_loop(
    engine: Engine, corpus: Path, expected: list[Row], tmp_path: Path
) -> None:
    check_rows(audited_rows([corpus], tmp_path, engine.flags), expected)


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
        uris = [f"{url}/{name}" for name in names]
        manifest = tmp_path / "images.csv"
        manifest.write_text("\n".join(["uri", *uris]) + "\n")
        arguments = [f"--manifest={manifest}", lattice]
        with pytest.raises(RuntimeError, match=r"FAILED"):
            audited_rows([], tmp_path / "killed", [*arguments, *engine.flags])
        assert killed
        assert list((tmp_path / "killed").glob("*/_run.json")) == []
        again = audited_rows([], tmp_path / "again", [*arguments, *engine.flags])
        check_rows(again, audited_rows([], tmp_path / "local", [*arguments, "--workers=1"]))
    assert len(again) == len(names)


def test_shards_are_the_same_bytes(engine: Engine, originals: Path, tmp_path: Path) -> None:
    made = {}
    for name, flags in {"local": ["--workers=1"], "remote": engine.flags}.items():
        command = ["shards", f"--images={originals}", f"--output={tmp_path / name}", "--levels=10,50,90"]
        assert main([*command, "--rows-per-shard=300", *flags]) == 0
        made[name] = read_json(str(tmp_path / name / "dataset.json"))
    assert made["remote"]["files"] == made["local"]["files"]
    assert len(made["remote"]["files"]) > 1


def test_evaluations_have_the_same_figures(engine: Engine, originals: Path, tmp_path: Path) -> None:
    made = {}
    for name, flags in {"local": ["--workers=1"], "remote": engine.flags}.items():
        command = ["evaluate", f"--images={originals}", f"--output={tmp_path / name}", "--levels=10,50,90"]
        assert main([*command, "--estimator=lattice", *flags]) == 0
        made[name] = read_json(str(tmp_path / name / "metrics.json"))
        made[name].pop("arguments")
    assert_close(made["remote"], made["local"])


def assert_close(found: Any, wanted: Any) -> None:
    """Fail unless two JSON values are the same, floats nearly."""
    if isinstance(wanted, dict):
        assert found.keys() == wanted.keys()
        for key in wanted:
            assert_close(found[key], wanted[key])
    elif isinstance(wanted, list):
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            assert_close(one, other)
    else:
        assert found == (pytest.approx(wanted, abs=FLOATS_WITHIN) if isinstance(wanted, float) else wanted)
