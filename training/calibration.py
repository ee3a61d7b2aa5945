"""Choose how predictions become estimates on validation images, never on test images."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from q1net_core.fusion import FUSIONS, calibrate
from q1net_core.records import Calibration, Float32Array, FusionRule

THRESHOLDS = tuple(float(value) for value in np.arange(80.0, 99.0, 0.5))
MIN_ANSWERED = 0.995
# The paper's rule is kept as the paper has it.
UNCALIBRATED = ("paper",)


@dataclass(frozen=True, slots=True)
class ChosenRule:
    """A fusion rule with what it gives on the validation images: ``mae`` of those ``answered`` (share)."""

    rule: FusionRule
    mae: float
    answered: float


def fuse_all(fusion: str, threshold: float, quality: Float32Array, confidence: Float32Array) -> npt.NDArray[np.float64]:
    """Fused quality of each image, NaN without answer; ``quality`` and ``confidence`` are [images, N]."""
    estimates = (FUSIONS[fusion](q, c, threshold).quality for q, c in zip(quality, confidence, strict=True))
    return np.array([np.nan if estimate is None else estimate for estimate in estimates])


def calibrate_all(fused: npt.NDArray[np.float64], calibration: Calibration) -> npt.NDArray[np.float64]:
    """Corrected quality of each image; without answer, NaN, it stays so."""
    return np.array([calibrate(value, calibration) for value in fused])


def fit_calibration(fused: npt.NDArray[np.float64], truth: Float32Array) -> Calibration:
    """Pairs of (median fused quality, level) for each level of the validation images, ascending.

    The ends of the scale are added where the images do not reach them, so that nothing beyond is cut off.
    """
    pairs = [(0.0, 0.0)] if truth.min() > 1 else []
    for level in np.unique(truth):
        answers = fused[(truth == level) & ~np.isnan(fused)]
        if len(answers) and (not pairs or np.median(answers) > pairs[-1][0]):
            pairs.append((round(float(np.median(answers)), 3), float(level)))
    if truth.max() < 100 and (not pairs or pairs[-1][0] < 100):
        pairs.append((100.0, 100.0))
    return tuple(pairs)


def evaluate_rule(
    fusion: str, threshold: float, quality: Float32Array, confidence: Float32Array, truth: Float32Array
) -> ChosenRule:
    """A fusion at one threshold, calibrated unless it is the paper's; ``truth`` are the levels [images]."""
    fused = fuse_all(fusion, threshold, quality, confidence)
    rule = FusionRule(fusion, threshold, () if fusion in UNCALIBRATED else fit_calibration(fused, truth))
    errors = np.abs(calibrate_all(fused, rule.calibration) - truth)
    answered = ~np.isnan(errors)
    mae = float(errors[answered].mean()) if answered.any() else float("inf")
    return ChosenRule(rule, mae, float(answered.mean()))


def choose_rule(
    fusion: str,
    quality: Float32Array,
    confidence: Float32Array,
    truth: Float32Array,
    thresholds: Sequence[float] = THRESHOLDS,
) -> ChosenRule:
    """The threshold with the least error among those that answer for at least 99.5 % of the images.

    While a model is young no threshold answers that often; then the one that answers most. Source: BMVC 2021, section
    2.3 (grid search on validation images); the demand for answers is ours.
    """
    choices = [evaluate_rule(fusion, threshold, quality, confidence, truth) for threshold in thresholds]
    enough = [choice for choice in choices if choice.answered >= MIN_ANSWERED]
    if enough:
        return min(enough, key=lambda choice: choice.mae)
    return max(choices, key=lambda choice: choice.answered)


def choose_rules(quality: Float32Array, confidence: Float32Array, truth: Float32Array) -> list[ChosenRule]:
    """All rules of FUSIONS, the best first; of images of one sample, where nothing is fused, only the plain answer."""
    if quality.shape[1] == 1:
        return [evaluate_rule("paper", 0.0, quality, confidence, truth)]
    chosen = [choose_rule(fusion, quality, confidence, truth) for fusion in FUSIONS]
    return sorted(chosen, key=lambda choice: choice.mae)
