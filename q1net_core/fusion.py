"""Patch predictions -> one estimate per image. FUSIONS names the rules.

Layer: numpy only; no keras, no beam, no pyarrow.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from q1net_core.records import Calibration, Estimate, Float32Array, FusionRule

FloatArray = npt.NDArray[np.float64]

# Below this expected error, in levels, a patch's confidence says no more.
LEAST_ERROR = 0.5
# Outside these qualities the room for error is taken as it is there, so that no patch has the weight 0.
ROOM_ENDS = (4.0, 96.0)
QUARTILES = (0.25, 0.75)
# Share of the weight that a trimmed mean leaves out at each end.
TRIMMED = 0.1


def weighted_quantiles(values: FloatArray, weights: FloatArray, shares: tuple[float, ...]) -> FloatArray:
    """Quantiles of values [N] by weight [N], interpolated between the values' middles; equal weights change nothing.

    For equal weights these are Hazen's quantiles (Hyndman and Fan 1996, type 5), whose median is the ordinary one.
    """
    order = np.lexsort((weights, values))
    values, weights = values[order], weights[order]
    middles = (np.cumsum(weights) - weights / 2) / weights.sum()
    return np.interp(shares, middles, values)


def weighted_median(values: FloatArray, weights: FloatArray) -> float:
    """Median of values [N] by weight [N]."""
    return float(weighted_quantiles(values, weights, (0.5,))[0])


def trimmed_mean(values: FloatArray, weights: FloatArray) -> float:
    """Mean of values [N] by weight [N] without the least and the greatest, a tenth of the weight each.

    A value on the border counts with the part of its weight that lies inside.
    """
    order = np.lexsort((weights, values))
    values, weights = values[order], weights[order]
    ends = np.cumsum(weights)
    left_out = TRIMMED * ends[-1]
    kept = np.clip(np.minimum(ends, ends[-1] - left_out) - np.maximum(ends - weights, left_out), 0, None)
    return float(np.clip((kept * values).sum() / kept.sum(), values[0], values[-1]))


def expected_error(confidence: FloatArray) -> FloatArray:
    """What a confidence says, in levels: the confidence-aware loss teaches it 100 - |error|."""
    return np.maximum(100 - confidence, LEAST_ERROR)


def equal_weights(quality: FloatArray, confidence: FloatArray) -> FloatArray:
    """All patches the same."""
    return np.ones(len(quality))


def inverse_error(quality: FloatArray, confidence: FloatArray) -> FloatArray:
    """The inverse of the expected error."""
    return 1 / expected_error(confidence)


def relative_precision(quality: FloatArray, confidence: FloatArray) -> FloatArray:
    """The inverse square of the expected error, relative to the room for error at the predicted quality.

    Confidence follows the prediction: one in the middle of the scale may be 50 levels off, one at its ends is sure. Of
    patches of one image those that err towards the nearer end are therefore the more confident. The room is the
    standard deviation of two-valued answers, 0 and 100, with that mean: the most there can be.
    """
    within = np.clip(quality, *ROOM_ENDS)
    return within * (100 - within) / expected_error(confidence) ** 2


def _fuse(
    quality: Float32Array,
    confidence: Float32Array,
    threshold: float,
    weigh: Callable[[FloatArray, FloatArray], FloatArray],
    middle: Callable[[FloatArray, FloatArray], float],
) -> Estimate:
    confident = confidence > threshold
    values, sure = quality[confident].astype(np.float64), confidence[confident].astype(np.float64)
    if len(values) == 0:
        return Estimate(None, None, None, patches=len(quality), patches_used=0)
    weights = weigh(values, sure)
    low, high = map(float, weighted_quantiles(values, weights, QUARTILES))
    return Estimate(middle(values, weights), float(np.median(sure)), high - low, len(quality), len(values))


def fuse_median(quality: Float32Array, confidence: Float32Array, threshold: float) -> Estimate:
    """Median of the patches whose confidence is above the threshold; no such patch, no estimate.

    Args:
        quality: float [N], 0-100, one per patch.
        confidence: float [N], 0-100, in the same order.
        threshold: confidence that a patch must exceed, 0-100.

    Source: BMVC 2021, section 2.3.
    """
    return _fuse(quality, confidence, threshold, equal_weights, weighted_median)


def fuse_weighted_median(quality: Float32Array, confidence: Float32Array, threshold: float) -> Estimate:
    """Median of the patches above the threshold, each weighted by the inverse of its expected error.

    Arguments as of fuse_median.
    """
    return _fuse(quality, confidence, threshold, inverse_error, weighted_median)


def fuse_trimmed_mean(quality: Float32Array, confidence: Float32Array, threshold: float) -> Estimate:
    """Trimmed mean of the patches above the threshold, each weighted by its relative precision.

    Where most patches agree a mean uses them better than a median does, above all few of them. Arguments as of
    fuse_median.
    """
    return _fuse(quality, confidence, threshold, relative_precision, trimmed_mean)


FUSIONS: dict[str, Callable[[Float32Array, Float32Array, float], Estimate]] = {
    "trimmed": fuse_trimmed_mean,
    "weighted": fuse_weighted_median,
    "paper": fuse_median,
}


def estimate_quality(quality: Float32Array, confidence: Float32Array, rule: FusionRule) -> Estimate:
    """Patches of one image, float [N] each, -> its calibrated estimate by a rule, without interval."""
    fused = FUSIONS[rule.fusion](quality, confidence, rule.threshold)
    return fused if fused.quality is None else replace(fused, quality=calibrate(fused.quality, rule.calibration))


def calibrate(quality: float, calibration: Calibration) -> float:
    """Correct a fused quality by (fused, true) pairs, ascending in both, learnt on validation images; none, no change.

    Uncertain patches answer towards the middle of the scale, and what is fused of them inherits that.
    """
    if not calibration:
        return quality
    fused, true = zip(*calibration, strict=True)
    return float(np.interp(quality, fused, true))
