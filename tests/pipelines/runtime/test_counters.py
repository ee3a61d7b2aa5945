"""Counters have documented names, and add up."""

import pytest

from pipelines.runtime import counters


def test_counters_have_documented_names_only() -> None:
    with pytest.raises(KeyError, match="counter 'rowz' is not in COUNTERS"):
        counters.inc("rowz")
    assert all(counters.COUNTERS.values())
    before = counters.tally().get("fuse_usec", 0)
    with pytest.raises(ZeroDivisionError), counters.timed("fuse_usec"):
        raise ZeroDivisionError
    assert counters.tally()["fuse_usec"] >= before
