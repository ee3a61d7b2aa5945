"""What a process and all that it starts take of this machine: CPU time and memory, as Linux tells of them."""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def tree(process: int) -> Iterator[int]:
    """A process and all below it that still run."""
    yield process
    with suppress(OSError):
        for task in Path(f"/proc/{process}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from tree(int(child))


class Usage:
    """Looked at again and again while a process works: what it and all below it, ended ones too, have taken so far."""

    def __init__(self, process: int) -> None:
        self.process = process
        self.seconds: dict[int, float] = {}
        self.peaks: dict[int, int] = {}

    def look(self) -> None:
        """Note what all processes have taken by now."""
        for one in tree(self.process):
            with suppress(OSError):
                times = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()[11:13]
                if found := re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{one}/status").read_text()):
                    self.peaks[one] = int(found[1])
                    self.seconds[one] = sum(map(int, times)) / os.sysconf("SC_CLK_TCK")

    def cpu_seconds(self) -> float:
        """CPU time of all."""
        return sum(self.seconds.values())

    def peak_mebibytes(self) -> float:
        """The sum of the peaks of all: pages that they share count in each."""
        return sum(self.peaks.values()) / 1024
