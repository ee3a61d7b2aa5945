"""Choose the confidence threshold on validation images, never on test images."""

from dataclasses import dataclass

import numpy as np

from q1net_core.fusion import fuse_median
from q1net_core.records import Float32Array

THRESHOLDS = tuple(float(value) for value in np.arange(80.0, 99.0, 0.5))
MIN_ANSWERED = 0.995


@dataclass(frozen=True, slots=True)
class ThresholdChoice:
    """A confidence threshold with what it gives on the validation images: ``mae`` of those ``answered`` (share)."""

    threshold: float
    mae: float
    answered: float


def evaluate_threshold(
    threshold: float, quality: Float32Array, confidence: Float32Array, truth: Float32Array
) -> ThresholdChoice:
    """The paper's fusion at one threshold; ``quality`` and ``confidence`` are [images, N], ``truth`` [images]."""
    fused = [fuse_median(q, c, threshold).quality for q, c in zip(quality, confidence, strict=True)]
    errors = [abs(value - true) for value, true in zip(fused, truth, strict=True) if value is not None]
    return ThresholdChoice(threshold, float(np.mean(errors)) if errors else float("inf"), len(errors) / len(truth))


def choose_threshold(quality: Float32Array, confidence: Float32Array, truth: Float32Array) -> ThresholdChoice:
    """The threshold with the least error among those that answer for at least 99.5 % of the images.

    While a model is young no threshold answers that often; then the one that answers most. Source: BMVC 2021, section
    2.3 (grid search on validation images); the demand for answers is ours.
    """
    choices = [evaluate_threshold(threshold, quality, confidence, truth) for threshold in THRESHOLDS]
    enough = [choice for choice in choices if choice.answered >= MIN_ANSWERED]
    if enough:
        return min(enough, key=lambda choice: choice.mae)
    return max(choices, key=lambda choice: choice.answered)
