"""Work that processes take turns at, in a module of its own: worker processes import it by its name."""

import os
import signal
import time
from pathlib import Path

from pipelines.runtime import counters
from pipelines.runtime.processes import next_turn


def count_turns(turns: int, folder: str, fail: str = "") -> list[int]:
    """Take turns until there are none, count each; at turn 3 the process fails in the way that is wanted."""
    mine = []
    while (turn := next_turn()) < turns:
        if turn == 3 and fail == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if turn == 3 and fail == "error":
            raise RuntimeError("turn 3 went wrong")
        mine.append(turn)
        counters.inc("rows")
        Path(folder, str(os.getpid())).touch()
        time.sleep(0.01)
    return mine
