"""The stress study: its right answers are right, its counts add up, and the command gives an audit's answers."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from hypothesis import given
from hypothesis import strategies as st
from pictures import make_picture
from PIL import Image

from pipelines.cli import main
from pipelines.evaluation.command import evaluate
from pipelines.evaluation.config import EvaluateConfig
from pipelines.evaluation.steps import label, read_label, sample_on_grid
from pipelines.evaluation.stress import CONDITIONS, Sample, crop, draw_finer, levels_of, make_samples, standard
from pipelines.evaluation.stress_results import STRESS_SCHEMA, Outcomes, add_outcomes, describe
from q1net_core.codecs.base import load
from q1net_core.codecs.jpeg import encode_jpeg
from q1net_core.estimator import EstimatorSettings, finish, sample_image
from q1net_core.images.decode import decode
from q1net_core.jpeg.header import read_jpeg_header
from q1net_core.jpeg.tables import PHOTOSHOP_TABLES
from q1net_core.metrics import UNITS
from q1net_core.patches import sample_patches
from q1net_core.records import Estimate, ImageRecord, LatticeEstimate, ListedImage, UInt8Array

PHOTOGRAPH = Path(__file__).parents[2] / "photographs" / "camera" / "airplane.png"
LATTICE = EstimatorSettings(estimators=("lattice",))
ONE_THREAD = PipelineOptions(["--runner=FnApiRunner"])
TWO_THREADS = PipelineOptions(
    ["--runner=FnApiRunner", "--direct_num_workers=2", "--direct_running_mode=multi_threading"]
)


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


def make(condition: str, pixels: UInt8Array, level: int, seed: int = 3) -> Sample:
    return CONDITIONS[condition].make(pixels, level, np.random.default_rng(seed))


@pytest.mark.parametrize("condition", CONDITIONS)
def test_every_condition_makes_files_that_depend_on_picture_and_level_alone(condition: str) -> None:
    pixels = make_picture(1, 80, 96)
    for level in levels_of(condition, (20, 100))[:2]:
        made = make(condition, pixels, level)
        assert decode(made.encoded).pixels.size > 0
        assert made == make(condition, pixels, level)
        assert (made.table is None) == (made.grid is None)
        if condition.startswith(("resize", "rotate", "webp", "avif", "never")) and not condition.endswith("of-jpeg"):
            assert made.table is None
        else:
            assert made.table is not None


@pytest.mark.parametrize("condition", ["full", "jpeg-422", "jpeg-444", "jpeg-grey", "progressive", "twice-coarser"])
def test_the_right_answer_is_the_files_own_level(condition: str) -> None:
    for level in (1, 60, 100):
        made = make(condition, make_picture(2), level)
        header = read_jpeg_header(made.encoded)
        assert header is not None
        assert (header.quality, header.match) == (level, "exact")
        assert made.table == standard(level)
        assert header.progressive == (condition == "progressive")


def test_the_right_answer_for_other_encoders_is_their_level() -> None:
    for level, tables in PHOTOSHOP_TABLES.items():
        made = make("photoshop", make_picture(2), level)
        assert made.table is not None
        assert (made.table.match, made.table.level, made.table.steps) == ("photoshop", level, tables.luma)
    assert levels_of("photoshop", (50,)) == tuple(range(13))
    assert levels_of("mozjpeg", (50,)) == (50,)


@given(
    seed=st.integers(0, 2**32),
    size=st.sampled_from((None, 32, 64, 256)),
    aligned=st.booleans(),
)
def test_cut_windows_lie_on_the_grid_that_is_said(seed: int, size: int | None, aligned: bool) -> None:
    pixels = make_picture(4, 72, 88)
    whole, made = load(encode_jpeg(pixels, 90)), crop(pixels, 90, np.random.default_rng(seed), size, aligned)
    cut = decode(made.encoded).pixels
    height, width = cut.shape[:2]
    assert size is None or (height, width) == (min(size, 72), min(size, 88))
    windows = np.lib.stride_tricks.sliding_window_view(whole, cut.shape)[:, :, 0]
    ((top, left),) = np.argwhere((windows == cut).all(axis=(2, 3, 4)))
    assert made.grid is not None
    x, y = made.grid
    assert ((top + y) % 8, (left + x) % 8) == (0, 0)
    assert max(x, y) < 8
    assert not aligned or (x, y) == (0, 0)


@pytest.mark.parametrize("level", [1, 30, 70, 99, 100])
def test_finer_levels_are_finer(level: int) -> None:
    rng = np.random.default_rng(0)
    drawn = {draw_finer(level, rng) for _ in range(60)}
    half = {draw_finer(level, rng, 2) for _ in range(60)}
    assert min(drawn) > level or level == 100
    assert max(half) <= 100
    steps = np.array(standard(level).steps)
    # Below 30 steps are clipped at 255, at 99 they are hardly above 1.
    for finer in half if 30 <= level < 99 else ():
        assert (np.array(standard(finer).steps) <= steps / 2 + 1).all()


def test_a_second_compression_off_the_grid_hides_the_first() -> None:
    pixels = make_picture(5)
    for condition, coarse_first in (("twice-finer", True), ("twice-finer-shifted", True), ("twice-coarser", False)):
        made = make(condition, pixels, 40)
        header = read_jpeg_header(made.encoded)
        assert header is not None
        assert made.table is not None
        assert header.quality is not None
        assert (header.quality > 40) == coarse_first
        assert made.table.level == (header.quality if condition.endswith("shifted") else 40)


def record_of(facts: dict[str, object], lattice: LatticeEstimate, quality: float | None = None) -> ImageRecord:
    image = label(ListedImage("x"), **facts)
    estimate = None if quality is None else Estimate(quality, 90.0, 1.0, 256, 200)
    return finish(image, lattice=lattice, network=estimate)


JPEG = {"table": ("exact", 70, 70), "grid": (3, 5)}
FOUND = LatticeEstimate(quality=70.0, match="exact", level=70, grid=(3, 5))


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (record_of(JPEG, LatticeEstimate()), Outcomes(1)),
        (record_of(JPEG, FOUND), Outcomes(1, 1, 1, 1, 0, 0, 1, 1)),
        (record_of(JPEG, replace(FOUND, grid=(3, 4))), Outcomes(1, 1, 1, 1, 0, 0, 1, 0)),
        (record_of(JPEG, replace(FOUND, quality=68.0, level=68)), Outcomes(1, 1, 1, 0, 2 * UNITS, 1, 1, 1)),
        (record_of(JPEG, replace(FOUND, match="mozjpeg", level=71)), Outcomes(1, 1, 1, 0, 0, 1, 1, 1)),
        (record_of(JPEG, LatticeEstimate(), 70.25), Outcomes(1, 1, 1, 1, UNITS // 4, 0)),
        (record_of(JPEG, LatticeEstimate(), 71.0), Outcomes(1, 1, 1, 0, UNITS, 1)),
        (record_of({"table": None, "grid": None}, FOUND), Outcomes(1, 1, false_accepts=1)),
        (record_of({"table": None, "grid": None}, LatticeEstimate()), Outcomes(1)),
        (
            record_of({"table": ("photoshop", 6, 77), "grid": (0, 0)}, LatticeEstimate(), 77.0),
            Outcomes(1, 1, 1, 1),
        ),
    ],
)
def test_one_image_counts_as_what_it_is(record: ImageRecord, expected: Outcomes) -> None:
    assert Outcomes.of(record) == expected


outcomes = st.builds(Outcomes, *[st.integers(0, 10**12)] * 8)


@given(a=outcomes, b=outcomes, c=outcomes)
def test_outcomes_are_a_monoid(a: Outcomes, b: Outcomes, c: Outcomes) -> None:
    assert (a + b) + c == a + (b + c) == add_outcomes([c, b, a])
    assert a + Outcomes() == a == add_outcomes([a])


def test_shares_are_of_what_they_say() -> None:
    cases = [(("webp", 5), Outcomes(4, 1, false_accepts=1)), (("full", 5), Outcomes(4, 2, 2, 1, 3 * UNITS, 1, 2, 1))]
    described = describe(cases)
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

    encoded = (lossless / "airplane.png").read_bytes()
    by_hand = dict.fromkeys(conditions, Outcomes())
    for image, made in make_samples((ListedImage("x"), encoded), (40, 85), 256, conditions):
        record = sample_image(image, made, LATTICE)
        assert isinstance(record, ImageRecord)
        by_hand[json.loads(image.group or "")["condition"]] += Outcomes.of(record)
    for row in metrics["conditions"]:
        assert {name: row[name] for name in row if name not in ("condition", "levels")} == by_hand[
            row["condition"]
        ].describe()
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
        results.append(evaluate(config, options) | {"arguments": None})
    assert results[0] == results[1]
    full, resized = results[0]["conditions"]
    assert (full["exact"], full["phase_right"]) == (1, 1)
    # Q1Net answers where the lattice abstains.
    assert resized["false_accepts"] == resized["accepted"] > 0


@pytest.mark.parametrize("condition", ["crop-128-random", "never"])
def test_q1net_alone_is_told_the_grid_where_one_is_left(condition: str, lossless: Path) -> None:
    image = ListedImage(str(lossless / "airplane.png"))
    (encoded,) = make_samples((image, (lossless / "airplane.png").read_bytes()), (40,), 64, (condition,))
    (sampled,) = sample_on_grid(encoded, 64)
    grid = read_label(encoded[0])["grid"]
    assert (grid is None) is (condition == "never")
    x, y = grid or (0, 0)
    assert np.array_equal(sampled.patches, sample_patches(decode(encoded[1]).pixels, 64, (x, y)))
