"""How much memory a piece of work takes at its peak, whatever the process has taken before."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROCESS = Path("/proc/self")
# Writing this to clear_refs sets the peak back to what is in use; see proc(5).
RESET_PEAK = "5"


def peak_kibibytes() -> int:
    """The most memory that this process has had since its start, or since its peak was set back.

    Not ru_maxrss of getrusage: nothing sets that back, and a process begins with the peak of the one that started it.
    """
    found = re.search(r"VmHWM:\s+(\d+) kB", (PROCESS / "status").read_text())
    assert found
    return int(found[1])


@contextmanager
def at_most(kibibytes: int) -> Iterator[None]:
    """Assert that what happens inside takes at most so much memory more than is in use before."""
    (PROCESS / "clear_refs").write_text(RESET_PEAK)
    before = peak_kibibytes()
    yield
    assert peak_kibibytes() - before < kibibytes
