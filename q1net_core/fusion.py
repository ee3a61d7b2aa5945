"""Patch predictions -> one estimate per image. FUSIONS names the rules.

Layer: numpy only; no keras, no beam, no pyarrow.
"""

from collections.abc import Callable

import numpy as np

from q1net_core.records import Estimate, Float32Array


def fuse_median(quality: Float32Array, confidence: Float32Array, threshold: float) -> Estimate:
    """Median of the patches whose confidence is above the threshold; no such patch, no estimate.

    Args:
        quality: float [N], 0-100, one per patch.
        confidence: float [N], 0-100, in the same order.
        threshold: confidence that a patch must exceed, 0-100.

    Source: BMVC 2021, section 2.3.
    """
    confident = confidence > threshold
    used = int(np.count_nonzero(confident))
    if used == 0:
        return Estimate(None, None, None, patches=len(quality), patches_used=0)
    low, middle, high = np.percentile(quality[confident].astype(np.float64), [25, 50, 75])
    return Estimate(
        quality=float(middle),
        confidence=float(np.median(confidence[confident])),
        spread=float(high - low),
        patches=len(quality),
        patches_used=used,
    )


FUSIONS: dict[str, Callable[[Float32Array, Float32Array, float], Estimate]] = {"paper": fuse_median}
