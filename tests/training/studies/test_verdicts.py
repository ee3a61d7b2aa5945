"""The study of verdicts: figures by hand, intervals without the picture itself, and cards that get intervals."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pictures import make_picture
from PIL import Image

from q1net_core.estimator import estimate_image
from q1net_core.network.weights import read_weights
from q1net_core.records import Estimate, FusionRule, LatticeEstimate, ListedImage, Verdict
from q1net_core.settings import EstimatorSettings
from training.conditions import CLEAN, Example
from training.studies.verdicts import (
    HEADER,
    VERDICTS,
    Observation,
    cross_judge,
    describe,
    fit_rule,
    is_asked,
    judge,
    observe,
    run,
    tabulate,
)

RULE = FusionRule("paper", 50.0)
FOUND = LatticeEstimate(quality=50.0, evidence=1.0, grid=(0, 0), busy_blocks=256)
NOT_FOUND = LatticeEstimate(evidence=-2.5, busy_blocks=256)
NOTHING = np.zeros((0, 1, 3), np.uint8)


class Constant:
    """Stands for a network that takes every patch for 70."""

    def predict(self, patches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.full(len(patches), 70, np.float32), np.full(len(patches), 90, np.float32)


def observation(
    picture: int, level: int, error: float, condition: str = "blur", lattice: LatticeEstimate = NOT_FOUND
) -> Observation:
    """A network that is off by ``error`` on every patch."""
    example = Example(condition, picture, level, level < 100, NOTHING)
    quality = np.full(16, np.clip(level + error, 0, 100), np.float32)
    return Observation(example, lattice, quality, np.full(16, 90, np.float32))


def cells(row: list[str]) -> dict[str, str]:
    return dict(zip(HEADER, row, strict=True))


def test_an_observation_is_what_an_audit_sees() -> None:
    pixels = make_picture(2, 128, 144)
    seen = observe(Constant(), Example("blur", 7, 40, True, pixels))
    assert (seen.example.picture, seen.example.pixels.size) == (7, 0)
    assert len(seen.quality) == len(seen.confidence) > 16
    assert seen.lattice.quality is None


@pytest.mark.parametrize(
    ("condition", "lattice", "clean", "expected"),
    [
        ("blur", NOT_FOUND, False, True),
        ("blur", FOUND, False, False),
        ("clean", NOT_FOUND, False, True),
        ("clean", FOUND, True, True),
        ("blur", NOT_FOUND, True, False),
    ],
)
def test_weights_are_calibrated_on_what_they_are_asked(
    condition: str, lattice: LatticeEstimate, clean: bool, expected: bool
) -> None:
    assert is_asked(observation(0, 50, 0, condition, lattice), clean) is expected


def test_intervals_are_those_of_the_errors() -> None:
    observations = [observation(number, 50, float(number % 5)) for number in range(100)]
    (table,) = [table for table in fit_rule(observations, RULE, clean=False).intervals if table.patches == 16]
    assert min(end for row in table.low for end in row if end > -99) == -4
    record = judge(observations[0], replace(RULE, intervals=(table,)))
    assert record.network is not None
    assert record.answer.low <= 50 <= record.answer.high


def test_a_picture_is_judged_without_itself() -> None:
    """Only picture 0 is answered wrong: its own interval must not know that."""
    observations = [observation(number % 9 + 1, 50, 0.0) for number in range(360)]
    observations += [observation(0, 50, -30.0) for _ in range(60)]
    alone = cross_judge(observations, RULE, clean=False)[-1]
    together = judge(observations[-1], fit_rule(observations, RULE, clean=False))
    assert alone.answer.high < 50 <= together.answer.high


def test_figures_by_hand() -> None:
    unanswered = Estimate(None, None, None, 16, 0)
    cases = [
        (40, Estimate(45.0, 90.0, 1.0, 16, 9, 35.0, 55.0), NOT_FOUND, Verdict.ALTERED),
        (40, Estimate(60.0, 90.0, 1.0, 16, 9, 45.0, 70.0), NOT_FOUND, Verdict.ALTERED),
        (40, Estimate(60.0, 90.0, 1.0, 16, 9, 5.0, 95.0), NOT_FOUND, Verdict.UNSURE),
        (40, unanswered, NOT_FOUND, Verdict.UNSURE),
        (50, Estimate(90.0, 90.0, 1.0, 16, 9, 85.0, 100.0), FOUND, Verdict.STRIPPED),
        (85, Estimate(95.0, 90.0, 1.0, 16, 9, 81.0, 100.0), NOT_FOUND, Verdict.PRISTINE),
    ]
    pairs = []
    for level, network, lattice, verdict in cases:
        seen = observation(0, level, 0.0, lattice=lattice)
        pairs.append((seen, replace(judge(seen, RULE), network=network, verdict=verdict)))
    found = cells(describe("blur", pairs, clean=False))
    assert (found["condition"], found["pictures"], found["lattice %"]) == ("blur", "6", "16.7")
    # Of five pictures without lattice three are answered, errors 5, 20 and 10; of four intervals three hold the truth.
    assert (found["answered %"], found["within 10 %"], found["MAE"]) == ("60.0", "66.7", "11.7")
    assert (found["inside %"], found["width"]) == ("75.0", "22")
    assert [found[f"{verdict} %"] for verdict in VERDICTS] == ["16.7", "33.3", "16.7", "33.3"]


def test_pictures_that_were_never_compressed_have_a_table_of_their_own() -> None:
    observations = [observation(number, level, 0.0) for number in range(10) for level in (30, 90, 100)]
    records = cross_judge(observations, RULE, clean=False)
    compressed, never = tabulate(list(zip(observations, records, strict=True)), clean=False).split("\n\n")
    assert [row.split("|")[1].strip() for row in compressed.splitlines()[2:]] == ["blur", "all", "altered, up to 85"]
    assert [row.split("|")[1].strip() for row in never.splitlines()[2:]] == ["blur", "all, never compressed"]
    assert [row.split("|")[2].strip() for row in compressed.splitlines()[2:]] == ["20", "20", "10"]


def test_the_command_prints_tables_and_writes_intervals_into_the_card(
    weights_uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "w.keras"
    for suffix in (".keras", ".json"):
        shutil.copy(Path(weights_uri).with_suffix(suffix), weights.with_suffix(suffix))
    images = tmp_path / "images"
    images.mkdir()
    for seed in range(5):
        Image.fromarray(make_picture(seed, 280, 288)).save(images / f"{seed}.png")
    before = read_weights(str(weights))
    assert before.rule().intervals == ()
    arguments = ["--images", str(images), "--weights", str(weights)]
    assert run([*arguments, "--clean", "--write"]) == 0
    printed = capsys.readouterr().out
    assert [line.split("|")[1].strip() for line in printed.splitlines() if "|" in line][2:4] == list(CLEAN)
    after = read_weights(str(weights))
    assert after.sha256 == before.sha256
    assert [table.patches for table in after.rule().intervals] == [256, 64, 16, 4]
    assert json.loads(weights.with_suffix(".json").read_text())["intervals"].keys() == {"paper"}
    settings = EstimatorSettings(str(weights))
    record = estimate_image(ListedImage(str(images / "0.png")), settings, settings.pin_all(settings.read_weights()))
    assert record.network is not None
    assert record.network.low is not None


def test_too_few_pictures_are_refused(weights_uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(make_picture(0, 64, 64)).save(tmp_path / "a.png")
    assert run(["--images", str(tmp_path), "--weights", weights_uri]) == 2
    assert "--images matches 1 pictures; expected 5 or more" in capsys.readouterr().err
