"""A network that is no Q1Net, known by one line in VARIANTS: evaluated, audited and exported by the same commands."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from networks import CROP, TINY, write_tiny
from PIL import Image

from pipelines import export
from pipelines.audit.run import read_run
from pipelines.cli import main
from q1net_core.codecs.jpeg import compress_jpeg
from q1net_core.metrics import QualityErrors
from q1net_core.network.predictor import Predictor
from q1net_core.network.weights import read_weights
from q1net_core.sampling import sample

PHOTOGRAPHS = Path(__file__).parents[1] / "photographs"
LEVELS = (8, 50, 93)


@pytest.fixture(scope="module")
def lossless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two small pictures as PNG files, of different sizes."""
    folder = tmp_path_factory.mktemp("lossless")
    for name, width in (("camera/airplane.png", 96), ("messenger/wreck.png", 120)):
        Image.open(PHOTOGRAPHS / name).crop((200, 100, 200 + width, 180)).save(folder / Path(name).name)
    return folder


@pytest.fixture(params=TINY)
def weights(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    return write_tiny(request.param, tmp_path, monkeypatch)


def errors_by_hand(folder: Path, weights: str) -> QualityErrors:
    file = read_weights(weights)
    model, total = Predictor(file), QualityErrors()
    for path in sorted(folder.iterdir()):
        pixels = np.asarray(Image.open(path).convert("RGB"))
        for level in LEVELS:
            ((quality,), _) = model.predict(sample(compress_jpeg(pixels, level), file.network.input))
            total = total + QualityErrors.of(level, float(quality))
    return total


def test_errors_are_those_of_the_plain_computation(weights: str, lossless: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    arguments = ["--images", str(lossless), "--output", str(output), "--weights", weights, "--levels", "8,50,93"]
    assert main(["evaluate", *arguments]) == 0
    metrics = json.loads((output / "metrics.json").read_text())
    errors = errors_by_hand(lossless, weights)
    assert metrics["variant"] == Path(weights).stem
    assert metrics["confusion"] == errors.confusion.tolist()
    found, expected = metrics["bands"][-1], errors.band(1, 100)
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-3)


def test_it_stands_beside_q1net_in_one_table(weights: str, lossless: Path, tmp_path: Path, weights_uri: str) -> None:
    output = tmp_path / "out"
    arguments = ["--images", str(lossless), "--output", str(output), "--levels", "8,50,93", "--patches", "16"]
    assert main(["evaluate", "--study", "table2", *arguments, "--weights", weights_uri, "--weights", weights]) == 0
    rows = pq.read_table(output / "table2.parquet").to_pylist()[:2]
    assert [row["method"] for row in rows] == ["q1net-no-bottleneck", Path(weights).stem]
    assert rows[1]["parameters"] == 4 * 3 * 9 + 4 + 4 + 1
    assert all(row["milliseconds"] > 0 for row in rows)
    assert rows[1]["mae"] == pytest.approx(errors_by_hand(lossless, weights).band(1, 100)["mae"], abs=1e-3)


def test_an_audit_says_which_images_are_too_small_for_it(
    lossless: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = write_tiny("tiny-crop", tmp_path, monkeypatch)
    images = tmp_path / "images"
    images.mkdir()
    picture = Image.open(lossless / "airplane.png")
    picture.save(images / "enough.jpg")
    picture.crop((0, 0, CROP - 1, 80)).save(images / "small.jpg")
    assert main(["audit", str(images), "--output", str(tmp_path / "runs"), "--weights", weights]) == 0
    (run,) = (tmp_path / "runs").glob("run_id=*")
    enough, small = sorted(read_run(str(run)).to_pylist(), key=lambda row: row["uri"])
    assert (enough["status"], enough["patches"], enough["q1net_confidence"]) == ("ok", 1, 100)
    assert small["status"] == "too_small"
    assert f"is {CROP - 1} x 80 pixels; the network sees {CROP} x {CROP} of it" in small["error"]


def test_what_is_about_patches_alone_is_refused(
    weights: str, lossless: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = ["--images", str(lossless), "--output", str(tmp_path / "out"), "--weights", weights]
    assert main(["evaluate", "--study", "table4", *folder]) == 2
    assert "table4 is about the number of patches; tiny-" in capsys.readouterr().err
    picture = str(lossless / "airplane.png")
    assert main(["predict", picture, "--weights", weights]) == 0
    assert main(["predict", picture, "--weights", weights, "--overlay", str(tmp_path / "a.png")]) == 2
    assert "--overlay draws patches; tiny-" in capsys.readouterr().err


def test_an_export_predicts_like_its_original(weights: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "model.tflite"
    assert main(["export", "--variant", weights, "--format", "tflite", "--output", str(output)]) == 0
    assert "over 3 images, at most 0.01 allowed" in capsys.readouterr().out
    samples = export.read_samples(read_weights(weights).network.input)
    assert len({call.tobytes() for call in samples[1][:, None]} | {samples[0].tobytes()}) == 3
    with export.keep_quiet():
        predict = export.FORMATS["tflite"][1](output)
    quality, _ = Predictor(read_weights(weights)).predict(samples[0])
    assert predict(samples[0])[:, 0] == pytest.approx(quality, abs=export.TOLERANCE)
