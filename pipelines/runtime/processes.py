"""Work on several processes of this machine, which take turns at it until nothing is left.

A process is forked from a server that has imported what the work needs, never from this process and its threads.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from itertools import count
from multiprocessing import active_children, connection, get_context, parent_process
from multiprocessing.process import BaseProcess
from typing import Any

from pipelines.runtime import counters
from pipelines.runtime.allocator import keep_freed_memory
from pipelines.runtime.quiet import VERBOSE, silence_clients
from pipelines.runtime.threads import keep_to_one_thread

# No turn has this number: after it nothing is left.
NO_TURN = 1 << 62
SECONDS_BETWEEN_COUNTS = 0.05
SECONDS_BETWEEN_LOOKS = 1.0
SECONDS_FOR_A_LOCK = 5.0

# In a worker process: the number of the next turn, shared by all; elsewhere this process takes all turns.
_turns: Any = None
_own_turns: Iterator[int] = count()


def begin_turns() -> None:
    """Let a process that works alone begin with turn 0 again."""
    global _own_turns
    _own_turns = count()


def next_turn() -> int:
    """The number of the next turn at the work, which no other process gets."""
    if _turns is None:
        return next(_own_turns)
    with _turns.get_lock():
        _turns.value += 1
        return int(_turns.value - 1)


def run_processes(work: Callable[..., Any], arguments: tuple[Any, ...], processes: int, counter: str) -> list[Any]:
    """Run the same work in so many processes; returns what each returned.

    The work calls `next_turn` for what it is to do, until that is more than there is. Meanwhile this process's tally of
    ``counter`` holds theirs too. When one of them fails, or this process is interrupted, all others end their turn.

    Raises:
        RuntimeError: a process was killed; the others are stopped.
    """
    keep_to_one_thread()
    context = get_context("forkserver")
    context.set_forkserver_preload(["pipelines.runtime.forked", work.__module__])
    turns, counted = context.Value("q", 0), context.Value("q", 0)
    pool = ProcessPoolExecutor(processes, context, start_worker, (turns, counted, counter, VERBOSE in sys.argv))
    with pool, counters.counted_elsewhere(counter, counted):
        try:
            others = set(active_children())
            futures = [pool.submit(take_part, work, *arguments) for _ in range(processes)]
            wait_for(futures, set(active_children()) - others)
            return [future.result() for future in futures if future.done()]
        except BrokenProcessPool as error:
            raise RuntimeError(
                "a worker process was killed, perhaps for want of memory (fewer --workers need less); all are stopped"
            ) from error
        finally:
            # Whoever was killed may have held the lock.
            held = turns.get_lock().acquire(timeout=SECONDS_FOR_A_LOCK)
            turns.get_obj().value = NO_TURN
            if held:
                turns.get_lock().release()


def wait_for(futures: Sequence[Future[Any]], workers: Collection[BaseProcess]) -> None:
    """Wait until all are done, or one has failed; raises BrokenProcessPool if a worker process has ended.

    The pool itself overlooks the end of a process that it started after it had begun to watch the others.
    """
    while True:
        done, waiting = wait(futures, SECONDS_BETWEEN_LOOKS, FIRST_EXCEPTION)
        if not waiting or any(future.exception() for future in done):
            return
        if not all(worker.is_alive() for worker in workers):
            raise BrokenProcessPool


def start_worker(turns: Any, counted: Any, counter: str, verbose: bool) -> None:
    """Prepare a worker process: it counts for the process that started it, and ends with it."""
    global _turns, _telling
    _turns = turns
    _telling = Telling(counted, counter)
    # An interrupt is for the process that people see; it ends the turns.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keep_freed_memory()
    if not verbose:
        silence_clients()
    threading.Thread(target=tell_parent, args=(_telling,), daemon=True).start()


def take_part(work: Callable[..., Any], *arguments: Any) -> Any:
    """In a worker process: the work, all of whose counts are told when it returns."""
    done = work(*arguments)
    assert _telling is not None
    _telling.tell()
    return done


def tell_parent(telling: "Telling") -> None:
    """Tell what this process counts until its parent is gone, and end then."""
    parent = parent_process()
    assert parent is not None
    while not connection.wait([parent.sentinel], SECONDS_BETWEEN_COUNTS):
        telling.tell()
    # Nobody is left to tell.
    os._exit(1)


@dataclass
class Telling:
    """Adds what this process counts to a number that processes share; ``told`` is what was added so far."""

    counted: Any
    counter: str
    told: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def tell(self) -> None:
        """Add what is new."""
        with self.lock, self.counted.get_lock():
            now = counters.tally().get(self.counter, 0)
            self.counted.value += now - self.told
            self.told = now


_telling: Telling | None = None
