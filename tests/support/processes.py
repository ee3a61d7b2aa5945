"""What the processes that this one starts take, seen from outside: CPU time and memory."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import psutil
from memory import peak_kibibytes

SECONDS_BETWEEN_LOOKS = 0.1


@dataclass(frozen=True, slots=True)
class Process:
    """A process as it was seen last: what started it, its command line, CPU seconds, and peak of memory in KiB."""

    parent: int
    command: str
    cpu: float
    peak: int


def descendants() -> list[psutil.Process]:
    """All that this process started, and what those started, while they live."""
    found: list[psutil.Process] = psutil.Process().children(recursive=True)
    return found


def cpu_seconds() -> float:
    """CPU seconds of all that this process started, those that have ended too; not its own."""
    ended = os.times()
    spent = ended.children_user + ended.children_system
    for process in descendants():
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            spent += times.user + times.system + times.children_user + times.children_system
    return spent


@contextmanager
def watched() -> Iterator[dict[int, Process]]:
    """The processes that start while the block runs, by id, each as it was seen last; ten looks a second."""
    before = set(descendants())
    seen: dict[int, Process] = {}
    finished = threading.Event()

    def look() -> None:
        for process in set(descendants()) - before:
            # One that has ended meanwhile stays as it was seen before.
            with suppress(psutil.NoSuchProcess, OSError):
                times = process.cpu_times()
                parent, command = process.ppid(), " ".join(process.cmdline())
                seen[process.pid] = Process(parent, command, times.user + times.system, peak_kibibytes(process.pid))

    def watch() -> None:
        while not finished.wait(SECONDS_BETWEEN_LOOKS):
            look()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        finished.set()
        thread.join()
