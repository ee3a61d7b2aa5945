"""The stress study: its counts add up, and the command gives an audit's answers."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from evaluations import ONE_THREAD, TWO_THREADS, run
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipelines.cli import main
from pipelines.evaluation.config import EvaluateConfig
from pipelines.evaluation.steps import add_up
from pipelines.evaluation.studies.conditions import standard
from pipelines.evaluation.studies.stress import (
    STRESS_SCHEMA,
    Outcomes,
    StressTruth,
    list_cases,
    make_samples,
    sample_on_grid,
    summarise,
)
from q1net_core.arrays import UInt8Array
from q1net_core.estimator import finish, sample_image
from q1net_core.images.decode import decode
from q1net_core.lattice.dictionary import KnownTable, known_tables
from q1net_core.metrics import UNITS
from q1net_core.patches import sample_patches
from q1net_core.records import Estimate, ImagePatches, ImageRecord, LatticeEstimate, ListedImage
from q1net_core.sampling import PATCHES
from q1net_core.settings import EstimatorSettings

PHOTOGRAPH = Path(__file__).parents[3] / "photographs" / "camera" / "airplane.png"
LATTICE = EstimatorSettings(estimators=("lattice",))


@pytest.fixture(scope="module")
def photograph() -> UInt8Array:
    """Part of a photograph that was never compressed."""
    return np.asarray(Image.open(PHOTOGRAPH).convert("RGB").crop((120, 100, 312, 260)))


@pytest.fixture(scope="module")
def lossless(photograph: UInt8Array, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as a file in a folder."""
    folder = tmp_path_factory.mktemp("lossless")
    Image.fromarray(photograph).save(folder / "airplane.png")
    return folder


def record_of(lattice: LatticeEstimate, quality: float | None = None) -> ImageRecord:
    estimate = None if quality is None else Estimate(quality, 90.0, 1.0, 256, 200)
    return finish(ListedImage("x"), lattice=lattice, network=estimate)


def photoshop(level: int) -> KnownTable:
    return next(table for table in known_tables() if (table.family, table.level) == ("photoshop", level))


JPEG = StressTruth(70, "full", standard(70), (3, 5))
NOTHING = StressTruth(70, "never")
PHOTOSHOP = StressTruth(6, "photoshop", photoshop(6), (0, 0))
FOUND = LatticeEstimate(quality=70.0, match="exact", level=70, grid=(3, 5))


@pytest.mark.parametrize(
    ("truth", "record", "expected"),
    [
        (JPEG, record_of(LatticeEstimate()), Outcomes(1)),
        (JPEG, record_of(FOUND), Outcomes(1, 1, 1, 1, 0, 0, 1, 1)),
        (JPEG, record_of(replace(FOUND, grid=(3, 4))), Outcomes(1, 1, 1, 1, 0, 0, 1, 0)),
        (JPEG, record_of(replace(FOUND, quality=68.0, level=68)), Outcomes(1, 1, 1, 0, 2 * UNITS, 1, 1, 1)),
        (JPEG, record_of(replace(FOUND, match="mozjpeg", level=71)), Outcomes(1, 1, 1, 0, 0, 1, 1, 1)),
        (JPEG, record_of(LatticeEstimate(), 70.25), Outcomes(1, 1, 1, 1, UNITS // 4, 0)),
        (JPEG, record_of(LatticeEstimate(), 71.0), Outcomes(1, 1, 1, 0, UNITS, 1)),
        (NOTHING, record_of(FOUND), Outcomes(1, 1, false_accepts=1)),
        (NOTHING, record_of(LatticeEstimate()), Outcomes(1)),
        (PHOTOSHOP, record_of(LatticeEstimate(), float(PHOTOSHOP.table.quality)), Outcomes(1, 1, 1, 1)),
    ],
)
def test_one_image_counts_as_what_it_is(truth: StressTruth, record: ImageRecord, expected: Outcomes) -> None:
    assert Outcomes.of(truth, record) == expected


outcomes = st.builds(Outcomes, *[st.integers(0, 10**12)] * 8)


@given(a=outcomes, b=outcomes, c=outcomes)
def test_outcomes_are_a_monoid(a: Outcomes, b: Outcomes, c: Outcomes) -> None:
    assert (a + b) + c == a + (b + c) == add_up([c, b, a])
    assert a + Outcomes() == a == add_up([a])


def test_shares_are_of_what_they_say() -> None:
    full = Outcomes(4, 2, 2, 1, 3 * UNITS, 1, 2, 1)
    described = summarise({(0, ("webp", 5)): Outcomes(4, 1, false_accepts=1), (0, ("full", 5)): full}, [{}])
    assert [row["condition"] for row in described["conditions"]] == ["full", "webp"]
    full, webp = described["conditions"]
    assert {name: full[name] for name in ("accepted", "exact", "mae", "abstained", "false_accepts", "phase_right")} == {
        "accepted": 0.5, "exact": 0.5, "mae": 1.5, "abstained": 0.5, "false_accepts": 0.25, "phase_right": 0.5,
    }  # fmt: skip
    assert (webp["exact"], webp["mae"], webp["phase_right"], webp["false_accepts"]) == (None, None, None, 0.25)
    assert (described["overall"]["images"], described["overall"]["exact"]) == (8, 0.5)
    assert full["levels"][0] == {"level": 5, "images": 4, "accepted": 2, "judged": 2, "exact": 1} | {
        "absolute": 3 * UNITS, "false_accepts": 1, "placed": 2, "phase_right": 1,
    }  # fmt: skip


def test_the_command_gives_the_answers_of_the_plain_computation(
    lossless: Path, photograph: UInt8Array, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    conditions = ("full", "crop-64-random", "photoshop", "resize-0.9", "never")
    arguments = ["--images", str(lossless), "--output", str(tmp_path), "--levels", "40,85"]
    assert main(["evaluate", "--study", "stress", *arguments, "--conditions", ",".join(conditions)]) == 0
    metrics = json.loads((tmp_path / "stress.json").read_text())
    assert metrics["variant"] is None
    assert metrics["arguments"]["estimator"] == "lattice"

    by_hand = dict.fromkeys(conditions, Outcomes())
    for truth, made in make_samples(photograph, list_cases((40, 85), conditions)):
        record = sample_image(ListedImage("x"), made, LATTICE)
        assert isinstance(record, ImageRecord)
        by_hand[truth.condition] += Outcomes.of(truth, record)
    for row in metrics["conditions"]:
        assert {name: row[name] for name in row if name not in ("condition", "levels")} == by_hand[
            row["condition"]
        ].shares()
    assert [row["images"] for row in metrics["conditions"]] == [2, 2, 13, 2, 1]
    exact, placed = by_hand["full"], by_hand["crop-64-random"]
    assert (exact.accepted, exact.exact, exact.phase_right) == (2, 2, 2)
    assert placed.phase_right == placed.accepted > 0
    assert by_hand["photoshop"].exact > 10
    assert by_hand["resize-0.9"].accepted == by_hand["never"].accepted == 0

    table = pq.read_table(tmp_path / "stress.parquet")
    assert table.schema == STRESS_SCHEMA
    assert table["condition"].to_pylist() == [*conditions, "overall"]
    assert table["images"].to_pylist()[-1] == 20
    lines = (tmp_path / "stress.md").read_text().splitlines()
    assert lines[0].startswith("lattice, 1 lossless images, q1net 0.1.0. Exact, MAE")
    printed = capsys.readouterr().out.splitlines()
    assert [line.strip("|").replace(" ", "") for line in lines[4:]] == ["|".join(line.split()) for line in printed[2:]]


def test_any_number_of_threads_and_both_estimators_give_one_result(
    lossless: Path, weights_uri: str, tmp_path: Path
) -> None:
    results = []
    for name, options in (("one", ONE_THREAD), ("two", TWO_THREADS)):
        config = EvaluateConfig(
            str(lossless),
            str(tmp_path / name),
            (40, 85),
            (weights_uri,),
            patches=16,
            study="stress",
            estimator="combined",
            conditions=("full", "resize-0.9"),
        )
        results.append(run(config, options) | {"arguments": None})
    assert results[0] == results[1]
    full, resized = results[0]["conditions"]
    assert (full["exact"], full["phase_right"]) == (1, 1)
    # Q1Net answers where the lattice abstains.
    assert resized["false_accepts"] == resized["accepted"] > 0


@pytest.mark.parametrize("condition", ["crop-128-random", "never"])
def test_q1net_alone_is_told_the_grid_where_one_is_left(condition: str, photograph: UInt8Array) -> None:
    ((truth, made),) = make_samples(photograph, [(condition, 40)])
    ((_, sampled),) = sample_on_grid(
        truth, (ListedImage("x"), made), EstimatorSettings(patches=64, estimators=("q1net",)), PATCHES
    )
    assert isinstance(sampled, ImagePatches)
    assert (truth.grid is None) is (condition == "never")
    assert np.array_equal(sampled.patches, sample_patches(decode(made).pixels, 64, truth.grid or (0, 0)))
