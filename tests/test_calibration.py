"""Calibration: the threshold and the correction that each fusion rule gets on validation images."""

import numpy as np
import pytest

from q1net_core.fusion import calibrate
from training.calibration import choose_rule, choose_rules, evaluate_rule, fit_calibration


def test_threshold_with_the_least_error_is_chosen() -> None:
    # Patches above 94 are right, those up to 94 are 10 off; above 93 the right ones are the majority.
    truth = np.full(4, 50, np.float32)
    quality = np.tile(np.float32([60, 60, 60, 50, 50]), (4, 1))
    confidence = np.tile(np.float32([94, 93, 90, 97, 96]), (4, 1))
    choice = choose_rule("paper", quality, confidence, truth)
    assert (choice.rule.threshold, choice.mae, choice.answered) == (93.0, 0.0, 1.0)
    assert evaluate_rule("paper", 92.5, quality, confidence, truth).mae == 5.0


def test_threshold_must_answer_for_nearly_all_images() -> None:
    truth = np.full(4, 50, np.float32)
    quality = np.float32([[50], [50], [50], [70]])
    confidence = np.float32([[98], [98], [98], [85]])
    # Above 85 the bad image would be left out.
    assert choose_rule("paper", quality, confidence, truth).rule.threshold < 85
    confidence[3] = 10
    assert choose_rule("paper", quality, confidence, truth).answered == 0.75
    assert choose_rule("paper", quality, np.zeros_like(confidence), truth).mae == float("inf")


def test_calibration_undoes_a_bias_that_grows_with_the_level() -> None:
    # Answers are drawn towards 50 by a fifth, as uncertain patches draw them.
    truth = np.repeat(np.float32([1, 20, 50, 80, 100]), 3)
    quality = np.repeat(truth + 0.2 * (50 - truth), 4).reshape(15, 4).astype(np.float32)
    confidence = np.full_like(quality, 95)
    *calibrated, other = choose_rules(quality, confidence, truth)
    assert ({choice.rule.fusion for choice in calibrated}, other.rule.fusion) == ({"trimmed", "weighted"}, "paper")
    assert [choice.mae for choice in calibrated] == pytest.approx([0, 0], abs=1e-3)
    assert other.mae == pytest.approx(0.2 * np.abs(50 - truth).mean(), rel=1e-5)
    assert other.rule.calibration == ()
    for choice in calibrated:
        assert calibrate(0.8 * 65 + 10, choice.rule.calibration) == pytest.approx(65, abs=0.01)


def test_calibration_ascends_and_reaches_both_ends() -> None:
    fused = np.array([10.0, 30.0, 29.0, 60.0, np.nan])
    truth = np.float32([10, 20, 30, 40, 50])
    pairs = fit_calibration(fused, truth)
    assert pairs == ((0.0, 0.0), (10.0, 10.0), (30.0, 20.0), (60.0, 40.0), (100.0, 100.0))
