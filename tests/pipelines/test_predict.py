"""`q1net predict`: one line per image, the audit's rows as JSON, and an exit status that tells of failures."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.audit.table import AUDIT_SCHEMA, Stamp, to_row
from pipelines.cli import main
from pipelines.predict import to_line
from q1net_core.errors import ImageError
from q1net_core.estimator import EstimatorSettings, estimate_image, finish
from q1net_core.images.decode import decode
from q1net_core.network.predictor import Predictor
from q1net_core.network.weights import read_weights
from q1net_core.overlay import LEGEND_HEIGHT, draw_overlay
from q1net_core.patches import sample_blocks, sample_patches
from q1net_core.records import Estimate, ImageInfo, LatticeEstimate, ListedImage, Status
from q1net_core.storage import list_images

PHOTOGRAPHS = Path(__file__).parents[1] / "photographs"
STAMP = Stamp("v", "s")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, quality in (("a.jpg", 40), ("b.jpg", 90)):
        Image.open(PHOTOGRAPHS / "camera" / "airplane.png").crop((200, 100, 280, 180)).save(
            tmp_path / name, quality=quality
        )
    return tmp_path


def test_json_lines_are_the_rows_of_an_audit(
    folder: Path, weights_uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", f"{folder}/b.jpg", str(folder), "--json", "--weights", weights_uri]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [list(row) for row in rows] == [AUDIT_SCHEMA.names] * 2
    weights = read_weights(weights_uri)
    model, settings, rule = Predictor(weights), EstimatorSettings(), weights.rule()
    for row, name in zip(rows, ("b.jpg", "a.jpg"), strict=True):
        (image,) = list_images(f"{folder}/{name}")
        expected = to_row(estimate_image(image, model, settings, rule), Stamp(weights.variant, weights.sha256))
        assert image.modified is not None
        assert row.pop("modified") == image.modified.isoformat()
        del row["processed_at"]
        assert row == {name: expected[name] for name in row}
        assert row["quality"] is not None


def test_failures_are_lines_and_an_exit_status(
    folder: Path, weights_uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "c.jpg").write_bytes(b"")
    assert main(["predict", str(folder), "--weights", weights_uri]) == 1
    first, second, third = capsys.readouterr().out.splitlines()
    assert first == f"{folder}/a.jpg: single, quality 40.0 (lattice, header says 40)"
    assert second == f"{folder}/b.jpg: single, quality 90.0 (lattice, header says 90)"
    assert third.startswith(f"{folder}/c.jpg: empty: ")


def test_mistakes_are_one_line_and_status_2(folder: Path, weights_uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, message in (
        ([f"{folder}/*.png", "--weights", weights_uri], "no image matches"),
        ([str(folder), "--weights", "nonsense"], "weights are 'nonsense'"),
        ([str(folder), "--weights", f"{folder}/gone.keras"], "cannot be used"),
    ):
        assert main(["predict", *arguments]) == 2
        printed = capsys.readouterr()
        assert (printed.out, len(printed.err.splitlines())) == ("", 1)
        assert printed.err.startswith("q1net predict: ")
        assert message in printed.err


def test_lines_tell_answers_from_missing_ones() -> None:
    image, info = ListedImage("a.png"), ImageInfo(64, 64, "PNG", "RGB")
    answered = to_row(finish(image, info, network=Estimate(39.62, 98.04, 1.0, 256, 200)), STAMP)
    assert to_line(answered) == "a.png: unsure, quality 39.6 (q1net, confidence 98.0)"
    with_header = to_line(answered | {"header_quality": 95.0})
    assert with_header == "a.png: unsure, quality 39.6 (q1net, confidence 98.0, header says 95)"
    found = LatticeEstimate(40.0, match="exact", level=40, last_quality=40.0, grid=(1, 0))
    for estimate in (Estimate(39.62, 98.04, 1.0, 256, 200), Estimate(None, None, None, 256, 0), None):
        row = to_row(finish(image, info, found, estimate), STAMP)
        assert to_line(row) == "a.png: stripped, quality 40.0 (lattice)"
    unsure = to_row(finish(image, info, network=Estimate(None, None, None, 256, 0)), STAMP)
    assert to_line(unsure) == "a.png: unsure, no estimate: no lattice, none of 256 patches is confident"
    assert to_line(unsure | {"header_quality": 95.0}).endswith("is confident, header says 95")
    failed = to_row(finish(image, info, error=ImageError(Status.CORRUPT, "cut short")), STAMP)
    assert to_line(failed) == "a.png: corrupt: cut short"


def test_the_overlay_is_a_png_of_the_image_and_its_scale(folder: Path, weights_uri: str) -> None:
    out = folder / "drawn" / "overlay.png"
    assert main(["predict", f"{folder}/a.jpg", "--overlay", str(out), "--weights", weights_uri]) == 0
    with Image.open(out) as drawn:
        assert drawn.format == "PNG"
        assert drawn.size == (80, 80 + LEGEND_HEIGHT)


def test_the_overlay_shows_the_patches_on_the_grid_that_was_found(folder: Path, weights_uri: str) -> None:
    path, out = PHOTOGRAPHS / "messenger" / "chalet.png", folder / "overlay.png"
    assert main(["predict", str(path), "--overlay", str(out), "--weights", weights_uri]) == 0
    pixels, weights = decode(path.read_bytes()).pixels, read_weights(weights_uri)
    rule = weights.rule()
    quality, confidence = Predictor(weights).predict(sample_patches(pixels, grid=(5, 3)))
    blocks = sample_blocks(*pixels.shape[:2], grid=(5, 3))
    expected = draw_overlay(pixels, blocks, quality, confidence, rule.threshold)
    assert np.array_equal(np.asarray(Image.open(out)), expected)


def test_an_overlay_of_several_images_is_refused_before_any_is_read(
    folder: Path, weights_uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", str(folder), "--overlay", f"{folder}/o.png", "--weights", weights_uri]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "--overlay draws one image; 2 were given" in captured.err
