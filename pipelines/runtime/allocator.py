"""How this process keeps memory: glibc's allocator is told once, before the work starts, to keep what images free."""

import ctypes
import os
import platform

# Parameters of mallopt(3), from malloc.h.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
MIB = 1 << 20
SETTINGS = {M_MMAP_THRESHOLD: 256 * MIB, M_TRIM_THRESHOLD: 512 * MIB, M_TOP_PAD: 64 * MIB}


def keep_freed_memory() -> bool:
    """Let glibc keep freed memory for the next image; returns whether it took the settings. Elsewhere nothing is done.

    Each image needs the same few arrays of megabytes. By default glibc gives such back to the kernel when they are
    freed, and every page of the next ones is a page fault: a third of the time of decoding and the lattice.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    # Arrow's own allocator would keep as much again beside it. Arrow reads this once, when it is loaded.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    mallopt = ctypes.CDLL(None).mallopt
    return all(mallopt(parameter, value) == 1 for parameter, value in SETTINGS.items())
