"""How much memory a piece of work takes at its peak, whatever the process has taken before."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Writing this to clear_refs sets the peak back to what is in use; see proc(5).
RESET_PEAK = "5"


def peak_kibibytes(pid: int | str = "self") -> int:
    """The most memory that a process has had since it started its program, or since its peak was set back.

    Not ru_maxrss of getrusage: nothing sets that back, and a process begins with the peak of the one that started it.

    Raises:
        OSError: the process has ended.
    """
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    if not found:
        raise ProcessLookupError(f"process {pid} has ended")
    return int(found[1])


@contextmanager
def at_most(kibibytes: int) -> Iterator[None]:
    """Assert that what happens inside takes at most so much memory more than is in use before."""
    Path("/proc/self/clear_refs").write_text(RESET_PEAK)
    before = peak_kibibytes()
    yield
    assert peak_kibibytes() - before < kibibytes
