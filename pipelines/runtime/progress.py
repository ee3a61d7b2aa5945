"""A progress bar for local runs; Beam shows none."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm

from pipelines.runtime import counters


@contextmanager
def show_progress(counter: str, total: int, unit: str) -> Iterator[None]:
    """A bar on stderr that follows one of this process's counters; a line every half minute without a screen."""
    before = counters.tally().get(counter, 0)
    finished = threading.Event()

    def follow(bar: tqdm) -> None:
        while not finished.wait(0.2):
            bar.update(counters.tally().get(counter, 0) - before - bar.n)

    with tqdm(total=total, unit=unit, mininterval=0.2 if sys.stderr.isatty() else 30, file=sys.stderr) as bar:
        thread = threading.Thread(target=follow, args=(bar,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            finished.set()
            thread.join()
            bar.update(counters.tally().get(counter, 0) - before - bar.n)
