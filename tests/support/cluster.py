"""Beam's portable engines on this machine: a job service, and a pool that starts worker processes for it.

Workers reach the engine by the protocol of every cluster, and know of q1net only what is installed where they run.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rooms import ROOT
from servers import free_port, running


def worker_environment() -> dict[str, str]:
    """Variables for workers: this interpreter and this checkout, one thread of TensorFlow each, no notices."""
    paths = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    return os.environ | paths | {"TF_NUM_INTRAOP_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}


@contextmanager
def worker_pool(folder: Path) -> Iterator[str]:
    """``localhost:PORT`` of a pool of worker processes, for ``--environment_type=EXTERNAL``."""
    port = free_port()
    command = [sys.executable, "-m", "apache_beam.runners.worker.worker_pool_main", f"--service_port={port}"]
    with running(command, port, folder, worker_environment()):
        yield f"localhost:{port}"


@contextmanager
def job_service(folder: Path) -> Iterator[list[str]]:
    """Flags that send a pipeline to Beam's own job service, which has a pool of workers."""
    port = free_port()
    command = [sys.executable, "-m", "apache_beam.runners.portability.local_job_service_main", f"--job_port={port}"]
    with (
        worker_pool(folder) as pool,
        running([*command, f"--staging_dir={folder}"], port, folder, worker_environment()),
    ):
        yield [
            "--runner=PortableRunner",
            f"--job_endpoint=localhost:{port}",
            "--environment_type=EXTERNAL",
            f"--environment_config={pool}",
        ]
