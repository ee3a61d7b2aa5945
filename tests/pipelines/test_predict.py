"""`q1net predict`: one line per image, the audit's rows as JSON, and an exit status that tells of failures."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.audit.table import AUDIT_SCHEMA, to_row
from pipelines.cli import main
from pipelines.predict import to_line
from q1net_core.errors import ImageError
from q1net_core.estimator import estimate_image, finish, load_network
from q1net_core.images.decode import decode
from q1net_core.listing import list_images
from q1net_core.overlay import PatchView, draw_gallery, draw_overlay
from q1net_core.patches import sample_blocks, sample_patches
from q1net_core.records import Estimate, ImageInfo, LatticeEstimate, ListedImage, Status
from q1net_core.settings import EstimatorSettings

PHOTOGRAPHS = Path(__file__).parents[1] / "photographs"


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
    settings = EstimatorSettings(weights=weights_uri)
    weights = settings.pin_all(settings.read_weights())
    for row, name in zip(rows, ("b.jpg", "a.jpg"), strict=True):
        (image,) = list_images(f"{folder}/{name}")
        expected = to_row(estimate_image(image, settings, weights))
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
    printed = capsys.readouterr()
    assert re.fullmatch(r"3 images in \d+\.\d\d s\n", printed.err)
    first, second, third = printed.out.splitlines()
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
    network = Estimate(39.62, 98.04, 1.0, 256, 200)
    answered = to_row(finish(image, info, network=network))
    assert to_line(answered) == "a.png: unsure, quality 39.6 (q1net, confidence 98.0)"
    with_header = to_line(answered | {"header_quality": 95.0})
    assert with_header == "a.png: unsure, quality 39.6 (q1net, confidence 98.0, header says 95)"
    sure = replace(network, low=35.2, high=47.9)
    assert to_line(to_row(finish(image, info, network=sure))) == "a.png: unsure, quality 39.6 (q1net, 35 to 48)"
    found = LatticeEstimate(40.0, match="exact", level=40, last_quality=40.0, grid=(1, 0))
    for estimate in (sure, Estimate(None, None, None, 256, 0), None):
        assert to_line(to_row(finish(image, info, found, estimate))) == "a.png: stripped, quality 40.0 (lattice)"
    unsure = to_row(finish(image, info, network=replace(network, low=10.0, high=90.4)))
    assert to_line(unsure) == "a.png: unsure, no estimate: q1net says no more than 10 to 90"
    silent = to_row(finish(image, info, network=Estimate(None, None, None, 256, 0)))
    assert to_line(silent) == "a.png: unsure, no estimate: no lattice, none of 256 patches is confident"
    assert to_line(silent | {"header_quality": 95.0}).endswith("is confident, header says 95")
    assert to_line(to_row(finish(image, info))) == "a.png: unsure, no estimate: no lattice"
    failed = to_row(finish(image, info, error=ImageError(Status.CORRUPT, "cut short")))
    assert to_line(failed) == "a.png: corrupt: cut short"


def test_the_pictures_are_png_files_of_the_patches_that_were_judged(folder: Path, weights_uri: str) -> None:
    path, overlay, gallery = PHOTOGRAPHS / "messenger" / "chalet.png", folder / "drawn" / "o.png", folder / "g.png"
    arguments = [str(path), "--overlay", str(overlay), "--gallery", str(gallery), "--patches", "64"]
    assert main(["predict", *arguments, "--weights", weights_uri]) == 0
    pixels, settings = decode(path.read_bytes()).pixels, EstimatorSettings(weights=weights_uri, patches=64)
    weights = settings.pin_all(settings.read_weights())
    # On the grid that the lattice finds.
    patches, blocks = sample_patches(pixels, 64, grid=(5, 3)), sample_blocks(*pixels.shape[:2], 64, grid=(5, 3))
    quality, confidence = load_network(weights[weights_uri]).predict(patches)
    record = estimate_image(ListedImage(str(path)), settings, weights)
    view = PatchView(quality, confidence, 60.0, record.network.quality)
    title = (
        f"quality 50.0 (lattice); q1net-no-bottleneck: {record.network.quality:.1f} from {record.network.patches_used} "
        "of 64 patches"
    )
    for out, expected in (
        (overlay, draw_overlay(pixels, blocks, view, title)),
        (gallery, draw_gallery(patches, view, f"{title}. Below each its quality (confidence)")),
    ):
        with Image.open(out) as drawn:
            assert drawn.format == "PNG"
            assert np.array_equal(np.asarray(drawn), expected)


@pytest.mark.parametrize("flag", ["--overlay", "--gallery"])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{0}"], "draws one image; 2 were given"),
        (["{0}/a.jpg", "--cascade"], "draws what the network says, which may not be asked; leave --cascade"),
        (["{0}/a.jpg", "--estimators", "lattice"], "draws what the network says, which may not be asked"),
    ],
)
def test_pictures_that_cannot_be_drawn_are_refused_before_any_image_is_read(
    flag: str, arguments: list[str], message: str, folder: Path, weights_uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [argument.format(folder) for argument in arguments]
    assert main(["predict", *given, flag, f"{folder}/o.png", "--weights", weights_uri]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"{flag} {message}" in captured.err
