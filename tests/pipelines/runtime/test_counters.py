"""Counters and distributions have documented names, add up, and are told of a finished job."""

from multiprocessing import Value
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from hypothesis import given
from hypothesis import strategies as st

from pipelines.runtime import counters
from pipelines.runtime.local import make_runner
from q1net_core.records import Status


def test_counters_and_distributions_have_documented_names_only() -> None:
    with pytest.raises(KeyError, match="counter 'rowz' is not in COUNTERS"):
        counters.inc("rowz")
    with pytest.raises(KeyError, match="distribution 'rows' is not in DISTRIBUTIONS"):
        counters.record("rows", 1)
    assert not counters.COUNTERS.keys() & counters.DISTRIBUTIONS.keys()
    assert {f"rows_{status.value}" for status in Status} <= counters.COUNTERS.keys()


def test_time_is_counted_even_where_a_step_fails() -> None:
    before = counters.tally().get("fuse_usec", 0)
    with pytest.raises(ZeroDivisionError), counters.timed("fuse_usec"):
        raise ZeroDivisionError
    assert counters.tally()["fuse_usec"] >= before


def count(number: int) -> int:
    counters.inc("rows", number)
    counters.record("lattice_usec", 10 * number)
    with counters.timed("decode_usec"):
        return number


def test_the_totals_of_a_job_add_up_over_its_steps_and_workers() -> None:
    options = PipelineOptions(["--direct_num_workers=2", "--direct_running_mode=multi_threading"])
    pipeline = beam.Pipeline(make_runner(options), options=options)
    pipeline | beam.Create([1, 2, 3]) | beam.Map(count) | "Again" >> beam.Map(count)
    result = pipeline.run()
    result.wait_until_finish()
    totals = counters.read_totals(result)
    assert list(totals) == ["rows", "decode_usec", "lattice_usec"]
    assert totals["rows"] == 12
    assert totals["lattice_usec"] == {"sum": 120, "count": 6, "min": 10, "max": 30}
    assert totals["decode_usec"]["count"] == 6
    assert counters.render_totals(totals | {"rows": 1234, "read_usec": 9}) == "rows 1,234"


SPREADS = st.builds(
    lambda values: {"sum": sum(values), "count": len(values), "min": min(values), "max": max(values)},
    st.lists(st.integers(0, 1000), min_size=1),
)
TOTALS = st.fixed_dictionaries(
    {}, optional={"rows": st.integers(0), "patches": st.integers(0), "decode_usec": SPREADS, "lattice_usec": SPREADS}
)


@given(TOTALS, TOTALS, TOTALS)
def test_totals_of_several_jobs_add_up_in_any_order(
    one: dict[str, Any], other: dict[str, Any], third: dict[str, Any]
) -> None:
    assert counters.add_totals(one, other) == counters.add_totals(other, one)
    left = counters.add_totals(counters.add_totals(one, other), third)
    assert left == counters.add_totals(one, counters.add_totals(other, third))
    assert counters.add_totals(one, {}) == one
    assert left.get("rows", 0) == sum(totals.get("rows", 0) for totals in (one, other, third))


def test_what_others_count_is_counted_here() -> None:
    before = counters.tally().get("rows", 0)
    shared = Value("q", 0)
    with counters.counted_elsewhere("rows", shared):
        shared.value = 5
        assert counters.tally()["rows"] - before == 5
    assert counters.tally()["rows"] - before == 5
