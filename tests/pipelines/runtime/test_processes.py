"""Processes that take turns: each turn is one process's, and none goes on when one of them fails."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import active_children, get_context
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from turns import count_turns

from pipelines.runtime import counters, processes
from pipelines.runtime.processes import begin_turns, next_turn, run_processes, wait_for

ENDLESS = 1 << 40


def test_every_turn_is_taken_once_and_counted_here(tmp_path: Path) -> None:
    before = counters.tally().get("rows", 0)
    taken = run_processes(count_turns, (40, str(tmp_path)), 2, "rows")
    assert len(taken) == 2
    assert sorted(taken[0] + taken[1]) == list(range(40))
    assert counters.tally()["rows"] - before == 40


@pytest.mark.parametrize(
    ("fail", "message"), [("killed", "a worker process was killed"), ("error", "turn 3 went wrong")]
)
def test_a_process_that_fails_ends_all(fail: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=message):
        run_processes(count_turns, (ENDLESS, str(tmp_path), fail), 2, "rows")
    assert not active_children()


@pytest.fixture
def ended() -> BaseProcess:
    process = get_context("forkserver").Process(target=int)
    process.start()
    process.join()
    return process


def test_a_process_that_ended_before_its_work_was_done_is_never_waited_for(
    ended: BaseProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "SECONDS_BETWEEN_LOOKS", 0.01)
    never_done: Future[None] = Future()
    with pytest.raises(BrokenProcessPool):
        wait_for([never_done], [ended])


def test_a_process_that_ended_after_the_work_was_done_is_no_error(ended: BaseProcess) -> None:
    done: Future[None] = Future()
    done.set_result(None)
    wait_for([done], [ended])


@pytest.fixture
def interrupts() -> Iterator[None]:
    """Where tests run in the background, interrupts are ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interrupts")
def test_an_interrupt_ends_all(tmp_path: Path) -> None:
    def interrupt() -> None:
        while not list(tmp_path.iterdir()):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        run_processes(count_turns, (ENDLESS, str(tmp_path)), 2, "rows")
    thread.join()
    assert not active_children()


def test_a_process_that_works_alone_takes_all_turns() -> None:
    begin_turns()
    assert [next_turn() for _ in range(3)] == [0, 1, 2]
    begin_turns()
    assert next_turn() == 0
