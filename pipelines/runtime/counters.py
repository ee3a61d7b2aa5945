"""Counter names and the two ways to count: inc() and timed(). Local runs show the same counts as a progress bar."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from apache_beam.metrics import Metrics

NAMESPACE = "q1net"

# Every counter this project keeps, with its meaning; the README's table is tested against it.
COUNTERS = {
    "images_listed": "inputs that entered the pipeline",
    "bytes_read": "encoded bytes read from storage",
    "patches": "patches given to the model",
    "rows": "finished images, whatever their status, and rows carried over from earlier runs",
    "rows_carried": "rows carried over from earlier runs",
    "rows_ok": "finished images that were decoded and judged",
    "rows_failed": "finished images without pixels: every other status",
    "read_usec": "time spent reading, microseconds (reads of one worker overlap)",
    "sample_usec": "time spent decoding, on the lattice and cutting patches, microseconds",
    "predict_usec": "time spent in the model, microseconds",
    "fuse_usec": "time spent fusing predictions, microseconds",
    "shard_images": "images looked at for shards, once in each pass",
    "shard_rows": "rows cut for shards",
    "compress_usec": "time spent compressing for shards, microseconds",
}

# Beam shows counts of a running local job to nobody, so this process keeps its own tally for the progress bar.
_tally: Counter[str] = Counter()
_lock = Lock()


def inc(name: str, amount: int = 1) -> None:
    """Add to a counter of COUNTERS; KeyError for any other name."""
    if name not in COUNTERS:
        raise KeyError(f"counter {name!r} is not in COUNTERS")
    Metrics.counter(NAMESPACE, name).inc(amount)
    with _lock:
        _tally[name] += amount


@contextmanager
def timed(name: str) -> Iterator[None]:
    """Add the microseconds spent inside to a counter."""
    start = time.perf_counter_ns()
    try:
        yield
    finally:
        inc(name, (time.perf_counter_ns() - start) // 1000)


def tally() -> dict[str, int]:
    """What this process has counted so far."""
    with _lock:
        return dict(_tally)
