"""The allocator keeps what was freed: the arrays of the next image cause no page faults."""

import platform
import subprocess
import sys

import pytest

CODE = """
import resource, sys
import numpy as np
from pipelines.runtime.allocator import keep_freed_memory
if sys.argv[1] == "kept":
    assert keep_freed_memory()
def work():
    arrays = [np.ones(size << 20, np.uint8) for size in (8, 8, 8, 40)]
for _ in range(3):
    work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="settings of glibc")
def test_freed_memory_is_kept() -> None:
    faults = {}
    for way in ("default", "kept"):
        command = [sys.executable, "-c", CODE, way]
        faults[way] = int(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout)
    # Ten times 64 MiB, of pages that may be huge ones.
    assert faults["default"] >= 10 * 64 / 2
    assert faults["kept"] < 10


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="settings of glibc")
def test_a_command_lets_arrow_use_what_images_freed() -> None:
    code = (
        "from pipelines.cli import main; main(['runs', '/gone']); "
        "import pyarrow; print(pyarrow.default_memory_pool().backend_name)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.split() == ["system"]


def test_elsewhere_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    from pipelines.runtime import allocator

    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert allocator.keep_freed_memory() is False
