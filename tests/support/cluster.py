"""Beam's portable engines on this machine: a job service, or prism, and a pool that starts worker processes for it.

Workers reach the engine by the protocol of every cluster, and know of q1net only what is installed where they run.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from rooms import ROOT
from servers import free_port, running

# The file of a prism binary; without one prism is not among the engines.
PRISM = os.environ.get("Q1NET_PRISM")


@dataclass(frozen=True, slots=True)
class Engine:
    """Flags that send a pipeline to an engine, and the process that starts its workers."""

    flags: tuple[str, ...]
    pool: int

    def workers(self) -> list[int]:
        """The processes that work at this moment."""
        return [process.pid for process in psutil.Process(self.pool).children()]


def worker_environment() -> dict[str, str]:
    """Variables for workers: this interpreter and this checkout, one thread of TensorFlow each, no notices."""
    paths = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    return os.environ | paths | {"TF_NUM_INTRAOP_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}


@contextmanager
def job_service(folder: Path) -> Iterator[tuple[str, ...]]:
    """Flags for Beam's own job service, while it runs."""
    port = free_port()
    command = [sys.executable, "-m", "apache_beam.runners.portability.local_job_service_main", f"--job_port={port}"]
    with running([*command, f"--staging_dir={folder}"], port, folder, worker_environment()):
        yield "--runner=PortableRunner", f"--job_endpoint=localhost:{port}"


@contextmanager
def prism(folder: Path) -> Iterator[tuple[str, ...]]:
    """Flags for prism, which Beam starts for each job by itself."""
    assert PRISM
    yield "--runner=PrismRunner", f"--prism_location={PRISM}"


ENGINES = {"job service": job_service} | ({"prism": prism} if PRISM else {})


@contextmanager
def worker_pool(folder: Path, shared: bool = False) -> Iterator[tuple[tuple[str, ...], int]]:
    """Flags for a pool that starts a worker process whenever an engine asks for one, and the pool's process.

    Args:
        folder: for what the pool and its workers print.
        shared: by several task managers.
    """
    port = free_port()
    beams = ["-m", "apache_beam.runners.worker.worker_pool_main", f"--service_port={port}"]
    ours = [str(Path(__file__).with_name("shared_worker_pool.py")), str(port)]
    with running([sys.executable, *(ours if shared else beams)], port, folder, worker_environment()) as pool:
        yield ("--environment_type=EXTERNAL", f"--environment_config=localhost:{port}"), pool.pid


@contextmanager
def start_engine(name: str, folder: Path) -> Iterator[Engine]:
    """An engine of ENGINES with a pool of worker processes."""
    with worker_pool(folder) as (workers, pool), ENGINES[name](folder) as flags:
        yield Engine((*flags, *workers), pool)
