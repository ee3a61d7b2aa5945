"""Intervals: what is promised of them holds for any exchangeable residuals, and tables find the right cell."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from q1net_core.fusion import estimate_quality
from q1net_core.intervals import (
    PATCHES,
    SCALE_ENDS,
    SHARE,
    add_interval,
    borders,
    fit_cell,
    fit_intervals,
    fit_table,
    tables_from_json,
    tables_to_json,
)
from q1net_core.records import Estimate, FusionRule, IntervalTable

RULE = FusionRule("trimmed", 50.0, ((0.0, 0.0), (50.0, 52.0), (100.0, 100.0)))
TABLE = IntervalTable(64, (50.0,), ((2.0, 5.0), ()), ((-1.0, -2.0, -3.0), (-9.0,)), ((1.0, 2.0, 3.0), (8.0,)))
FEW = IntervalTable(16, (), ((),), ((-30.0,),), ((30.0,),))
NOTHING = (-(SCALE_ENDS[1] - SCALE_ENDS[0]), SCALE_ENDS[1] - SCALE_ENDS[0])


def make_estimate(quality: float | None, spread: float | None = 1.0, patches: int = 64) -> Estimate:
    return Estimate(quality, None if quality is None else 97.0, spread, patches, patches)


@given(st.lists(st.floats(-99, 99), min_size=1, max_size=120), st.sampled_from([0.5, 0.8, SHARE, 0.95]))
def test_of_any_residuals_the_promised_share_lies_in_the_interval_of_the_others(
    values: list[float], share: float
) -> None:
    """That this holds leaving out each in turn is why it holds, on average, for the next of exchangeable ones."""
    residuals = np.array(values)
    inside = 0
    for number, value in enumerate(values):
        low, high = fit_cell(np.delete(residuals, number), share)
        inside += low <= value <= high
    assert inside >= share * len(values) - 1e-9


@given(st.lists(st.floats(-99, 99), min_size=19, max_size=200, unique=True))
def test_an_interval_is_no_wider_than_it_needs_to_be(values: list[float]) -> None:
    low, high = fit_cell(np.array(values))
    # All but the tails of 5 %, and the residual at each end; 0 may lie outside of all.
    left_out = sum(not low <= value <= high for value in values)
    if low < 0 < high:
        assert left_out >= 2 * (int(0.05 * (len(values) + 1) + 1e-9) - 1)


@pytest.mark.parametrize("count", [0, 1, 18])
def test_of_too_few_residuals_nothing_is_concluded(count: int) -> None:
    assert fit_cell(np.zeros(count)) == NOTHING


def test_an_interval_holds_its_estimate() -> None:
    assert fit_cell(np.linspace(2, 4, 100)) == (0.0, pytest.approx(4, abs=0.2))
    assert fit_cell(np.linspace(-4, -2, 100)) == (pytest.approx(-4, abs=0.2), 0.0)


def test_borders_cut_into_parts_of_equal_numbers() -> None:
    assert borders(np.arange(101.0), 4) == (25.0, 50.0, 75.0)
    assert borders(np.full(9, 3.0), 4) == (3.0,)
    assert borders(np.zeros(0), 4) == ()


@settings(derandomize=True, max_examples=20)
@given(st.integers(0, 1000))
def test_cells_cover_where_errors_differ_from_cell_to_cell(seed: int) -> None:
    rng = np.random.default_rng(seed)
    spread = rng.uniform(0, 20, 3000)
    quality = rng.uniform(5, 95, 3000)
    truth = np.clip(quality + rng.normal(0, 0.2 + spread / 4), 1, 100)
    table = fit_table(quality[:1500], spread[:1500], truth[:1500], 64)
    found = [add_interval(make_estimate(q, s), [table]) for q, s in zip(quality[1500:], spread[1500:], strict=True)]
    low, high = (np.array([getattr(estimate, name) for estimate in found]) for name in ("low", "high"))
    inside = (low <= truth[1500:]) & (truth[1500:] <= high)
    assert inside.mean() == pytest.approx(SHARE, abs=0.04)
    calm = spread[1500:] < 5
    assert inside[calm].mean() > SHARE - 0.06
    assert (high - low)[calm].mean() < 0.5 * (high - low)[~calm].mean()


@pytest.mark.parametrize(
    ("estimate", "expected"),
    [
        (make_estimate(40.0, 1.0), (39.0, 41.0)),
        (make_estimate(40.0, 3.0), (38.0, 42.0)),
        (make_estimate(40.0, 50.0), (37.0, 43.0)),
        (make_estimate(80.0, 50.0), (71.0, 88.0)),
        (make_estimate(96.0, 1.0), (87.0, 100.0)),
        (make_estimate(1.5, 1.0), (1.0, 2.5)),
        (make_estimate(40.0, 1.0, patches=256), (39.0, 41.0)),
        (make_estimate(40.0, 1.0, patches=63), (10.0, 70.0)),
        (make_estimate(40.0, 1.0, patches=15), (None, None)),
        (make_estimate(None, None), (None, None)),
    ],
)
def test_an_estimate_gets_the_interval_of_its_cell(
    estimate: Estimate, expected: tuple[float | None, float | None]
) -> None:
    found = add_interval(estimate, (TABLE, FEW))
    assert (found.low, found.high) == expected
    assert (found.quality, found.spread) == (estimate.quality, estimate.spread)


def test_without_tables_there_is_no_interval() -> None:
    estimate = make_estimate(40.0)
    assert add_interval(estimate, ()) == estimate


def test_tables_are_fitted_for_fewer_and_fewer_patches() -> None:
    rng = np.random.default_rng(3)
    truth = rng.uniform(10, 90, 400).astype(np.float32)
    quality = (truth[:, None] + rng.normal(0, 12, (400, 64))).clip(0, 100).astype(np.float32)
    confidence = np.full(quality.shape, 95, np.float32)
    tables = fit_intervals(quality, confidence, truth, RULE)
    assert [table.patches for table in tables] == [count for count in PATCHES if count <= 64]
    widths = [np.mean(np.concatenate(table.high)) - np.mean(np.concatenate(table.low)) for table in tables]
    assert widths == sorted(widths)
    for image in range(5):
        estimate = add_interval(estimate_quality(quality[image], confidence[image], RULE), tables)
        assert estimate.low <= estimate.quality <= estimate.high


def test_images_without_estimate_are_left_out_of_a_table() -> None:
    quality = np.full((40, 16), 50, np.float32)
    confidence = np.where(np.arange(40)[:, None] < 25, 95, 20) * np.ones((40, 16), np.float32)
    truth = np.where(np.arange(40) < 25, 53, 99).astype(np.float32)
    (table, *_) = fit_intervals(quality, confidence.astype(np.float32), truth, RULE)
    ends = [end for row in table.high for end in row if end != NOTHING[1]]
    assert ends == [1.0]


def test_tables_survive_json() -> None:
    tables = (TABLE, FEW)
    assert tables_from_json(json.loads(json.dumps(tables_to_json(tables)))) == tables


@pytest.mark.parametrize("changes", [{"low": [[-1.0]]}, {"spreads": [[1.0], [2.0], [3.0]]}, {"high": [["a"], [1.0]]}])
def test_tables_that_do_not_fit_together_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"fit together|could not convert"):
        tables_from_json([tables_to_json([TABLE])[0] | changes])
