"""Fusion: every rule keeps the same promises; what each adds to them is computed by hand."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from q1net_core.fusion import (
    FUSIONS,
    calibrate,
    fuse_median,
    fuse_trimmed_mean,
    fuse_weighted_median,
    relative_precision,
    trimmed_mean,
)
from q1net_core.records import Estimate, Float32Array

Rule = Callable[[Float32Array, Float32Array, float], Estimate]
every_rule = pytest.mark.parametrize("rule", FUSIONS.values(), ids=FUSIONS)
values = st.floats(0, 100, width=32)
predictions = st.lists(st.tuples(values, values), max_size=40)
thresholds = st.floats(0, 99)


def columns(pairs: list[tuple[float, float]]) -> tuple[Float32Array, Float32Array]:
    quality, confidence = np.array(pairs, np.float32).reshape(-1, 2).T
    return quality, confidence


@every_rule
@given(predictions, thresholds, st.randoms(use_true_random=False))
def test_order_of_patches_does_not_matter(
    rule: Rule, pairs: list[tuple[float, float]], threshold: float, random: object
) -> None:
    estimate = rule(*columns(pairs), threshold)
    random.shuffle(pairs)
    assert rule(*columns(pairs), threshold) == estimate


@every_rule
@given(predictions, thresholds)
def test_estimate_stays_within_the_patches_that_count(
    rule: Rule, pairs: list[tuple[float, float]], threshold: float
) -> None:
    quality, confidence = columns(pairs)
    estimate = rule(quality, confidence, threshold)
    used = confidence > threshold
    assert (estimate.patches, estimate.patches_used) == (len(pairs), used.sum())
    if used.any():
        assert quality[used].min() <= estimate.quality <= quality[used].max()
        assert threshold < estimate.confidence <= 100
        assert 0 <= estimate.spread <= quality[used].max() - quality[used].min()
    else:
        assert (estimate.quality, estimate.confidence, estimate.spread) == (None, None, None)


@every_rule
def test_nothing_confident_is_no_estimate(rule: Rule) -> None:
    low = np.full(9, 96, np.float32)
    assert rule(low, low, 96.0) == Estimate(None, None, None, patches=9, patches_used=0)
    none = np.empty(0, np.float32)
    assert rule(none, none, 0.0) == Estimate(None, None, None, patches=0, patches_used=0)


@every_rule
def test_estimate_is_plain_numbers(rule: Rule) -> None:
    estimate = rule(np.float32([50]), np.float32([99]), 90.0)
    assert [type(value) for value in (estimate.quality, estimate.confidence, estimate.spread)] == [float] * 3


def test_median_confidence_and_spread_by_hand() -> None:
    quality = np.float32([10, 90, 20, 40, 30, 99])
    confidence = np.float32([97, 96, 99, 98, 96.5, 12])
    # Confident: 10, 20, 30, 40; Hazen's quartiles 15 and 35.
    assert fuse_median(quality, confidence, 96.0) == Estimate(25.0, 97.5, 20.0, patches=6, patches_used=4)


def test_weights_are_the_inverse_of_the_predicted_error() -> None:
    # Weights 1, 1/2, 1/4 and, since errors below half a level are not believed, 2: in order of quality 2, 1, 1/2, 1/4.
    quality = np.float32([20, 40, 60, 10, 99])
    confidence = np.float32([99, 98, 96, 99.9, 80])
    estimate = fuse_weighted_median(quality, confidence, 90.0)
    middles = np.array([1, 2.5, 3.25, 3.625]) / 3.75
    assert estimate.quality == pytest.approx(np.interp(0.5, middles, [10, 20, 40, 60]))
    assert estimate.patches_used == 4
    assert 10 < estimate.quality < fuse_median(quality, confidence, 90.0).quality


@given(st.lists(values, min_size=1, max_size=40))
def test_equally_sure_patches_are_fused_as_in_the_paper(qualities: list[float]) -> None:
    quality, confidence = np.float32(qualities), np.full(len(qualities), 97, np.float32)
    weighted, plain = fuse_weighted_median(quality, confidence, 90.0), fuse_median(quality, confidence, 90.0)
    assert weighted.quality == pytest.approx(plain.quality)
    assert weighted.spread == pytest.approx(plain.spread, abs=1e-6)


def test_trimmed_mean_leaves_out_a_tenth_of_the_weight_at_each_end() -> None:
    values = np.array([50.0, 0, 30, 40, 20, 60, 70, 100, 80, 10])
    assert trimmed_mean(values, np.ones(10)) == pytest.approx(np.sort(values)[1:-1].mean())
    # Of weights 1, 5, 3, 1 in all 10 the outer values go; of 2, 4, 2 in all 8 their parts beyond 0.8 stay.
    assert trimmed_mean(np.array([0.0, 20, 40, 90]), np.array([1.0, 5, 3, 1])) == pytest.approx((5 * 20 + 3 * 40) / 8)
    assert trimmed_mean(np.array([10.0, 20, 60]), np.array([2.0, 4, 2])) == pytest.approx((12 + 80 + 72) / 6.4)


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0.01, 100)), min_size=1, max_size=30), st.integers(2, 5))
def test_trimmed_mean_counts_weights_as_copies(pairs: list[tuple[float, float]], copies: int) -> None:
    values, weights = np.array(pairs).T
    split = trimmed_mean(np.repeat(values, copies), np.repeat(weights, copies))
    assert split == pytest.approx(trimmed_mean(values, weights), abs=1e-6)
    assert trimmed_mean(values, 7 * weights) == pytest.approx(trimmed_mean(values, weights), abs=1e-6)


def test_relative_precision_by_hand() -> None:
    quality = np.array([50.0, 50, 20, 90, 96, 100, 0])
    confidence = np.array([90.0, 95, 92, 97, 98, 98, 99.9])
    expected = [2500 / 100, 2500 / 25, 1600 / 64, 900 / 9, 384 / 4, 384 / 4, 384 / 0.25]
    assert relative_precision(quality, confidence) == pytest.approx(expected)


@given(st.lists(st.floats(4, 96, width=32), min_size=1, max_size=40), st.floats(0.05, 0.5))
def test_confidence_that_only_follows_the_prediction_prefers_no_patch(qualities: list[float], share: float) -> None:
    quality = np.float32(qualities)
    room = np.sqrt(quality.astype(np.float64) * (100 - quality.astype(np.float64)))
    confidence = (100 - np.maximum(share * room, 0.5)).astype(np.float32)
    if share * room.min() >= 0.5:
        expected = trimmed_mean(quality.astype(np.float64), np.ones(len(quality)))
        assert fuse_trimmed_mean(quality, confidence, -1.0).quality == pytest.approx(expected, abs=1e-2)


@given(
    st.floats(0, 100), st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100)), min_size=1, unique_by=lambda p: p[0])
)
def test_calibration_is_monotone_within_its_range_and_nothing_changes_nothing(
    quality: float, pairs: list[tuple[float, float]]
) -> None:
    fused, true = sorted(pair[0] for pair in pairs), sorted(pair[1] for pair in pairs)
    calibration = tuple(zip(fused, true, strict=True))
    assert calibrate(quality, ()) == quality
    assert true[0] <= calibrate(quality, calibration) <= true[-1]
    assert calibrate(quality, calibration) <= calibrate(min(quality + 1, 100), calibration) + 1e-9
    assert calibrate(fused[0], calibration) == pytest.approx(true[0])


@given(st.lists(st.tuples(values, values), min_size=1, max_size=40))
def test_median_and_spread_are_numpys(pairs: list[tuple[float, float]]) -> None:
    quality, confidence = columns(pairs)
    estimate = fuse_median(quality, confidence, -1.0)
    wide = np.sort(quality.astype(np.float64))
    assert estimate.quality == pytest.approx(np.median(wide))
    assert estimate.confidence == pytest.approx(np.median(confidence.astype(np.float64)), rel=1e-6)
    low, high = np.quantile(wide, (0.25, 0.75), method="hazen")
    assert estimate.spread == pytest.approx(high - low, abs=1e-6)
