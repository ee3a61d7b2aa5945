"""Calibration: what each fusion rule gets on validation images, and how the rules compare."""

from pathlib import Path

import numpy as np
import pytest
from pictures import make_picture
from PIL import Image

from q1net_core.fusion import FUSIONS, calibrate
from training.calibration import choose_rule, choose_rules, evaluate_rule, fit_calibration
from training.studies import fusions as compare_fusions
from training.studies.fusions import (
    Predictions,
    compare_rules,
    cross_validate,
    describe_confidence,
    run,
)


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


def made_up_predictions(images: int, levels: tuple[int, ...], patches: int, seed: int = 1) -> Predictions:
    """Patches whose errors are normal, and whose confidence follows the error that is to be expected of them."""
    rng = np.random.default_rng(seed)
    truth = np.tile(np.float32(levels), images)
    expected = rng.uniform(2, 12, (len(truth), patches))
    quality = np.clip(truth[:, None] + rng.normal(0, expected), 0, 100).astype(np.float32)
    return Predictions(quality, (100 - expected).astype(np.float32), truth)


def test_every_image_is_judged_by_the_others() -> None:
    levels = (20, 40, 60)
    many = made_up_predictions(4, levels, 25)
    # Two images answer 7 levels too low: what is learnt on them raises the others, and the other way round.
    many.quality[np.repeat([True, False, True, False], 3)] -= 7
    errors, again = cross_validate("weighted", many, (many,), images=4)
    assert np.array_equal(errors, again)
    assert np.median(errors.reshape(4, 3), axis=1) == pytest.approx([-7, 7, -7, 7], abs=4)
    uncalibrated, _ = cross_validate("paper", many, (many,), images=4)
    assert np.median(uncalibrated.reshape(4, 3), axis=1) == pytest.approx([-7, 0, -7, 0], abs=4)


def test_comparison_has_a_row_for_each_rule() -> None:
    many, few = (made_up_predictions(4, (20, 40, 60), patches) for patches in (100, 16))
    header, _, *rows = compare_rules(many, few, images=4).splitlines()
    cells = {row.split("|")[1].strip(" `"): [float(cell) for cell in row.split("|")[2:-1]] for row in rows}
    assert list(cells) == list(FUSIONS)
    assert header.count("|") == 8
    for mae, _, answered, mae_few, ratio, _ in cells.values():
        assert 0 < mae < mae_few < 6
        assert ratio == pytest.approx(mae_few / mae, rel=0.02)
        assert answered == 100
    errors, errors_few = cross_validate("weighted", many, (few,), images=4)
    assert cells["weighted"][0] == pytest.approx(np.abs(errors).mean(), abs=1e-3)
    assert cells["weighted"][1] == pytest.approx(np.abs(errors).std(), abs=1e-3)
    assert cells["weighted"][3] == pytest.approx(np.abs(errors_few).mean(), abs=1e-3)


def test_preference_for_one_side_shows_in_the_description() -> None:
    many = made_up_predictions(4, (20, 80), 50)
    # Confidence that follows the prediction, low in the middle of the scale.
    sure = Predictions(many.quality, 90 + np.abs(many.quality - 50) / 5, many.truth)
    lines = describe_confidence(sure).splitlines()[2:]
    rows = {cells[0]: cells for cells in ([cell.strip() for cell in line.split("|")[1:-1]] for line in lines)}
    low, high = rows["11-50"], rows["51-90"]
    assert abs(float(low[3])) < 1.5
    assert float(low[4]) < -8
    assert float(low[5]) < -0.9
    assert float(high[4]) > 8
    assert float(high[5]) > 0.9


def test_command_prints_both_tables_or_says_what_is_wrong(
    tmp_path: Path, weights_uri: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compare_fusions, "CALIBRATION_LEVELS", (30, 70))
    Image.fromarray(make_picture(1, 160, 160)).save(tmp_path / "one.png")
    assert run(["--images", str(tmp_path)]) == 2
    assert "matches one image; expected two or more" in capsys.readouterr().err
    assert run(["--images", str(tmp_path / "none")]) == 2
    assert "no image matches" in capsys.readouterr().err
    Image.fromarray(make_picture(2, 160, 160)).save(tmp_path / "two.png")
    assert run(["--images", str(tmp_path), "--weights", weights_uri]) == 0
    printed = capsys.readouterr().out
    assert [f"| `{fusion}` " in printed for fusion in FUSIONS] == [True] * len(FUSIONS)
    assert "| 51-90 " in printed
