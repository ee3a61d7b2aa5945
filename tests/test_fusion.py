"""Fusion: every rule keeps the same promises, and the paper's rule is the median of the confident patches."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from q1net_core.fusion import FUSIONS, fuse_median
from q1net_core.records import Estimate, Float32Array

Rule = Callable[[Float32Array, Float32Array, float], Estimate]
every_rule = pytest.mark.parametrize("rule", FUSIONS.values(), ids=FUSIONS)
values = st.floats(0, 100, width=32)
predictions = st.lists(st.tuples(values, values), max_size=40)
thresholds = st.floats(0, 99)
bounded = settings(derandomize=True, deadline=None, max_examples=150)


def columns(pairs: list[tuple[float, float]]) -> tuple[Float32Array, Float32Array]:
    quality, confidence = np.array(pairs, np.float32).reshape(-1, 2).T
    return quality, confidence


@every_rule
@bounded
@given(predictions, thresholds, st.randoms(use_true_random=False))
def test_order_of_patches_does_not_matter(
    rule: Rule, pairs: list[tuple[float, float]], threshold: float, random: object
) -> None:
    estimate = rule(*columns(pairs), threshold)
    random.shuffle(pairs)
    assert rule(*columns(pairs), threshold) == estimate


@every_rule
@bounded
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
    # Confident: 10, 20, 30, 40; quartiles 17.5 and 32.5.
    assert fuse_median(quality, confidence, 96.0) == Estimate(25.0, 97.5, 15.0, patches=6, patches_used=4)


@bounded
@given(st.lists(st.tuples(values, values), min_size=1, max_size=40))
def test_median_and_spread_are_numpys(pairs: list[tuple[float, float]]) -> None:
    quality, confidence = columns(pairs)
    estimate = fuse_median(quality, confidence, -1.0)
    wide = np.sort(quality.astype(np.float64))
    assert estimate.quality == pytest.approx(np.median(wide))
    assert estimate.confidence == pytest.approx(np.median(confidence.astype(np.float64)), rel=1e-6)
    assert estimate.spread == pytest.approx(np.quantile(wide, 0.75) - np.quantile(wide, 0.25))
