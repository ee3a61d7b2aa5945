"""Patch predictions -> one estimate per image. FUSIONS names the rules.

Layer: numpy only; no keras, no beam, no pyarrow.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from q1net_core.records import Calibration, Estimate, Float32Array

# Below this expected error, in levels, a patch's confidence says no more.
LEAST_ERROR = 0.5
QUARTILES = (0.25, 0.5, 0.75)


def weighted_quantiles(
    values: npt.NDArray[np.float64], weights: npt.NDArray[np.float64], shares: tuple[float, ...]
) -> npt.NDArray[np.float64]:
    """Quantiles of values [N] by weight [N], interpolated between the values' middles; equal weights change nothing.

    For equal weights these are Hazen's quantiles (Hyndman and Fan 1996, type 5), whose median is the ordinary one.
    """
    order = np.lexsort((weights, values))
    values, weights = values[order], weights[order]
    middles = (np.cumsum(weights) - weights / 2) / weights.sum()
    return np.interp(shares, middles, values)


def fuse_weighted_median(quality: Float32Array, confidence: Float32Array, threshold: float) -> Estimate:
    """Median of the patches above the threshold, each weighted by the inverse of its predicted error, 100 - confidence.

    A fixed threshold alone prefers levels at which all patches are confident; weights compare patches of one image.
    Arguments as of fuse_median.
    """
    confident = confidence > threshold
    chosen, sure = quality[confident].astype(np.float64), confidence[confident].astype(np.float64)
    weights = 1 / np.maximum(100 - sure, LEAST_ERROR)
    return _estimate(chosen, sure, weights, len(quality))


def fuse_median(quality: Float32Array, confidence: Float32Array, threshold: float) -> Estimate:
    """Median of the patches whose confidence is above the threshold; no such patch, no estimate.

    Args:
        quality: float [N], 0-100, one per patch.
        confidence: float [N], 0-100, in the same order.
        threshold: confidence that a patch must exceed, 0-100.

    Source: BMVC 2021, section 2.3.
    """
    confident = confidence > threshold
    chosen, sure = quality[confident].astype(np.float64), confidence[confident].astype(np.float64)
    return _estimate(chosen, sure, np.ones(len(chosen)), len(quality))


def _estimate(
    quality: npt.NDArray[np.float64],
    confidence: npt.NDArray[np.float64],
    weights: npt.NDArray[np.float64],
    patches: int,
) -> Estimate:
    if len(quality) == 0:
        return Estimate(None, None, None, patches=patches, patches_used=0)
    low, middle, high = map(float, weighted_quantiles(quality, weights, QUARTILES))
    return Estimate(middle, float(np.median(confidence)), high - low, patches=patches, patches_used=len(quality))


FUSIONS: dict[str, Callable[[Float32Array, Float32Array, float], Estimate]] = {
    "weighted": fuse_weighted_median,
    "paper": fuse_median,
}


def calibrate(quality: float, calibration: Calibration) -> float:
    """Correct a fused quality by (fused, true) pairs, ascending in both, learnt on validation images; none, no change.

    Uncertain patches answer towards the middle of the scale, and their median inherits that.
    """
    if not calibration:
        return quality
    fused, true = zip(*calibration, strict=True)
    return float(np.interp(quality, fused, true))
