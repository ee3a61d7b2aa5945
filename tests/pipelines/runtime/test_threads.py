"""numpy's products start no threads of their own in the command."""

import os
import subprocess
import sys

import pytest

from pipelines.runtime.threads import keep_to_one_thread

# How many threads the process has after a product, once the command has started.
COUNT = """
from pipelines.cli import main
main(["--version"])
import numpy, psutil
square = numpy.ones((600, 600), numpy.float32)
square @ square
print(psutil.Process().num_threads())
"""


def test_the_command_has_one_thread_after_a_matrix_product() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    done = subprocess.run([sys.executable, "-c", COUNT], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.split()[-1] == "1"


def test_what_the_user_set_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    keep_to_one_thread()
    assert os.environ["OPENBLAS_NUM_THREADS"] == "3"
