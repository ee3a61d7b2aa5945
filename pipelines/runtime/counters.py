"""Counters and distributions, by the same names on every engine; this process's own tally for the progress bar."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

from apache_beam.metrics import Metrics, MetricsFilter
from apache_beam.runners.runner import PipelineResult

from q1net_core.records import Status

NAMESPACE = "q1net"

# Every counter this project keeps, with its meaning; the table of docs/engines.md is tested against it.
COUNTERS = {
    "images_listed": "inputs that entered the pipeline",
    "bytes_read": "encoded bytes read from storage",
    "patches": "patches given to the model",
    "patches_used": "patches that estimates were made of",
    "rows": "finished images, whatever their status, and rows carried over from earlier runs",
    "rows_carried": "rows carried over from earlier runs",
    "rows_ok": "finished images that were decoded and judged",
    "rows_failed": "finished images without pixels: every other status",
    **{f"rows_{status.value}": f"finished images of status `{status.value}`" for status in Status if status != "ok"},
    "read_usec": "time spent reading, microseconds (reads of one worker overlap)",
    "sample_usec": "time spent decoding, on the lattice and cutting patches, microseconds",
    "predict_usec": "time spent in the model, microseconds",
    "fuse_usec": "time spent fusing predictions, microseconds",
    "shard_images": "images looked at for shards, once in each pass",
    "shard_rows": "rows cut for shards",
    "compress_usec": "time spent compressing for shards, microseconds",
    # Beam's RunInference keeps these itself.
    "num_inferences": "images given to the model",
    "failed_batches_counter": "batches that the model failed on: each stops the job",
}

# Sum, number, least and greatest of values that come many times.
DISTRIBUTIONS = {
    "decode_usec": "decoding one image, microseconds",
    "lattice_usec": "the lattice of one image, microseconds",
    # Beam's RunInference keeps these itself.
    "inference_batch_latency_micro_secs": "one batch in the model, microseconds",
    "inference_request_batch_size": "images of one batch",
    "inference_request_batch_byte_size": "bytes of the patches of one batch",
    "load_model_latency_milli_secs": "loading one model in one process, milliseconds",
    "model_byte_size": "memory that this process gained while it loaded a model, bytes",
}

# Beam shows counts of a running local job to nobody.
_tally: Counter[str] = Counter()
_lock = Lock()
# Counters of worker processes, as multiprocessing shares numbers, by name.
_elsewhere: dict[str, Any] = {}


def inc(name: str, amount: int = 1) -> None:
    """Add to a counter of COUNTERS; KeyError for any other name."""
    if name not in COUNTERS:
        raise KeyError(f"counter {name!r} is not in COUNTERS")
    Metrics.counter(NAMESPACE, name).inc(amount)
    with _lock:
        _tally[name] += amount


def record(name: str, value: int) -> None:
    """Add a value to a distribution of DISTRIBUTIONS; KeyError for any other name."""
    if name not in DISTRIBUTIONS:
        raise KeyError(f"distribution {name!r} is not in DISTRIBUTIONS")
    Metrics.distribution(NAMESPACE, name).update(value)


@contextmanager
def timed(name: str) -> Iterator[None]:
    """Add the microseconds spent inside to a counter or a distribution."""
    start = time.perf_counter_ns()
    try:
        yield
    finally:
        (record if name in DISTRIBUTIONS else inc)(name, (time.perf_counter_ns() - start) // 1000)


def tally() -> dict[str, int]:
    """What this process has counted so far, and what is being counted elsewhere for it."""
    with _lock:
        counted = Counter(_tally)
    for name, shared in _elsewhere.items():
        # Without its lock, which a process that was killed may hold for ever.
        counted[name] += shared.get_obj().value
    return dict(counted)


@contextmanager
def counted_elsewhere(name: str, shared: Any) -> Iterator[None]:
    """Let other processes count for this one in a shared number; in the end that is this process's own count."""
    _elsewhere[name] = shared
    try:
        yield
    finally:
        del _elsewhere[name]
        with _lock:
            _tally[name] += shared.get_obj().value


def read_totals(result: PipelineResult) -> dict[str, Any]:
    """What a finished job has counted on all its workers, those names that it met, in the order of the tables.

    A counter is a number, a distribution ``{"sum": ..., "count": ..., "min": ..., "max": ...}``.
    """
    found = result.metrics().query(MetricsFilter().with_namespace(NAMESPACE))
    sums: Counter[str] = Counter()
    for counter in found["counters"]:
        sums[counter.key.metric.name] += counter.result
    spreads: dict[str, dict[str, int]] = {}
    for distribution in found["distributions"]:
        value = distribution.result
        if value.count:
            one = {"sum": value.sum, "count": value.count, "min": value.min, "max": value.max}
            other = spreads.get(distribution.key.metric.name)
            spreads[distribution.key.metric.name] = add_spreads(one, other) if other else one
    return in_order(dict(sums) | spreads)


def in_order(totals: dict[str, Any]) -> dict[str, Any]:
    """Totals in the order of the tables."""
    return {name: totals[name] for name in (*COUNTERS, *DISTRIBUTIONS) if name in totals}


def add_totals(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """What two jobs have counted together, as read_totals gives it; ``{}`` changes nothing.

    >>> add_totals({"rows": 2}, {"rows": 3, "patches": 1})
    {'patches': 1, 'rows': 5}
    """
    both = one | other
    for name in one.keys() & other.keys():
        both[name] = one[name] + other[name] if name in COUNTERS else add_spreads(one[name], other[name])
    return in_order(both)


def add_spreads(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    """A distribution that several steps have each a part of."""
    return {
        "sum": one["sum"] + other["sum"],
        "count": one["count"] + other["count"],
        "min": min(one["min"], other["min"]),
        "max": max(one["max"], other["max"]),
    }


def render_totals(totals: dict[str, Any]) -> str:
    """One line of what a job has counted, times left out."""
    counts = {
        name: total for name, total in totals.items() if name in COUNTERS and not name.endswith("_usec") and total
    }
    return ", ".join(f"{name} {total:,}" for name, total in counts.items())
