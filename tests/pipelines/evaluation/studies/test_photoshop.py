"""The Photoshop study: files carry Photoshop's tables, and level 7 looks worse than level 6 where chroma is kept."""

import json
import re
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipelines.cli import main
from pipelines.evaluation.render import Row
from pipelines.evaluation.studies import photoshop
from q1net_core.estimator import fuse_predictions, predict_patches, sample_image
from q1net_core.jpeg.header import read_jpeg_header
from q1net_core.jpeg.tables import PHOTOSHOP_TABLES
from q1net_core.network.predictor import Predictor
from q1net_core.network.weights import read_weights
from q1net_core.records import ImagePatches, ListedImage
from q1net_core.settings import EstimatorSettings

PHOTOGRAPH = Path(__file__).parents[3] / "photographs/camera/airplane.png"


@pytest.mark.parametrize("level", photoshop.PHOTOSHOP_LEVELS)
def test_files_carry_photoshops_tables_and_subsampling(level: int) -> None:
    pixels = np.random.default_rng(level).integers(0, 256, (24, 40, 3), np.uint8)
    ((truth, encoded),) = photoshop.compress_by_photoshop(pixels, [level])
    header = read_jpeg_header(encoded)
    pair = PHOTOSHOP_TABLES[level]
    assert header is not None
    assert (header.tables, header.subsampling) == ((pair.luma, pair.chroma), pair.subsampling)
    assert header.match == "photoshop"
    assert truth.level == level
    assert truth.psnr == photoshop.measure_psnr(pixels, np.asarray(Image.open(BytesIO(encoded))))


def test_psnr_is_of_the_mean_square_error() -> None:
    black = np.zeros((2, 2, 3), np.uint8)
    assert photoshop.measure_psnr(black, black) == float("inf")
    assert photoshop.measure_psnr(black, black + 255) == 0
    # Differences of 3 upwards and downwards alike, which uint8 arithmetic would not survive.
    assert photoshop.measure_psnr(black + 10, black + 7) == photoshop.measure_psnr(black + 7, black + 10)
    assert photoshop.measure_psnr(black + 10, black + 7) == pytest.approx(20 * np.log10(255 / 3))


def rows_of(*triples: tuple[str, int, float | None, float]) -> list[Row]:
    return [dict(zip(photoshop.PHOTOSHOP_SCHEMA.names, triple, strict=True)) for triple in triples]


def test_levels_have_medians_of_the_answers() -> None:
    rows = rows_of(("a", 0, 10.0, 30.0), ("b", 0, None, 31.0), ("c", 0, 12.0, 35.0), ("a", 7, None, 40.0))
    assert list(photoshop.take_medians(rows)) == [
        {"level": 0, "subsampling": "4:2:0", "images": 3, "answered": 2, "quality": 11.0, "psnr": 31.0},
        {"level": 7, "subsampling": "4:4:4", "images": 1, "answered": 0, "quality": None, "psnr": 40.0},
    ]


def test_inversions_are_counted_by_image() -> None:
    rows = rows_of(
        ("a", 6, 90.0, 37.0), ("a", 7, 89.0, 36.0), ("b", 6, 90.0, 37.0), ("b", 7, 91.0, 36.5),
        ("c", 6, None, 37.0), ("c", 7, 80.0, 38.0), ("d", 6, 95.0, 37.0),
    )  # fmt: skip
    assert photoshop.count_inversions(rows) == (1, 2)


def test_the_study_is_that_of_the_plain_computation(
    weights_uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, output = tmp_path / "images", tmp_path / "out"
    images.mkdir()
    Image.open(PHOTOGRAPH).crop((0, 0, 400, 400)).save(images / "airplane.png")
    arguments = ["--images", str(images), "--output", str(output), "--study", "photoshop", "--levels", "5-8"]
    assert main(["evaluate", *arguments, "--patches", "16", "--weights", weights_uri]) == 0
    rows = pq.read_table(output / "photoshop.parquet").to_pylist()
    assert rows == json.loads((output / "photoshop.json").read_text())["rows"]
    file, settings = read_weights(weights_uri), EstimatorSettings(weights_uri, patches=16)
    model, weights = Predictor(file), settings.pin(weights_uri, file)
    pixels = np.asarray(Image.open(images / "airplane.png"))
    for (truth, encoded), row in zip(photoshop.compress_by_photoshop(pixels, (5, 6, 7, 8)), rows, strict=True):
        sampled = sample_image(ListedImage("x"), encoded, settings)
        assert isinstance(sampled, ImagePatches)
        estimate = fuse_predictions(predict_patches(model, [sampled])[0], weights).network
        assert estimate is not None
        expected = {"level": truth.level, "quality": estimate.quality, "psnr": truth.psnr}
        assert row == pytest.approx(expected | {"image": f"{images}/airplane.png"})
    five, six, seven, eight = (row["psnr"] for row in rows)
    assert five < seven < six < eight
    finding = capsys.readouterr().out.splitlines()[-1]
    assert re.fullmatch(
        r"Level 7 is estimated below level 6 for [01] of 1 images, and its PSNR is lower for 1.", finding
    )
    assert (output / "photoshop.md").read_text().splitlines()[-1] == finding
    with Image.open(output / "photoshop.png") as picture:
        assert picture.format == "PNG"
