"""The evaluation equals encoding, estimating and comparing by hand, and refuses images it cannot judge."""

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from PIL import Image

from pipelines.cli import main
from pipelines.evaluate import EvaluateConfig, evaluate, parse_levels, render_bands
from q1net_core.codecs import encode_jpeg
from q1net_core.errors import ConfigError
from q1net_core.estimator import EstimatorConfig, fuse_predictions, predict_patches, sample_image
from q1net_core.metrics import BANDS, QualityErrors
from q1net_core.records import ImagePatches, ListedImage
from q1net_core.weights import Q1Net, read_weights

PHOTOGRAPHS = Path(__file__).parent / "photographs"
LEVELS = (8, 50, 93)
ONE_THREAD = PipelineOptions(["--runner=FnApiRunner"])


@pytest.fixture(scope="module")
def lossless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two small pictures as PNG files."""
    folder = tmp_path_factory.mktemp("lossless")
    for name in ("camera/airplane.png", "messenger/wreck.png"):
        Image.open(PHOTOGRAPHS / name).crop((200, 100, 296, 180)).save(folder / Path(name).name)
    return folder


def errors_by_hand(folder: Path, weights_uri: str, threshold: float, patches: int) -> QualityErrors:
    model, config = Q1Net(read_weights(weights_uri)), EstimatorConfig(threshold, patches)
    total = QualityErrors()
    for path in sorted(folder.iterdir()):
        pixels = np.asarray(Image.open(path).convert("RGB"))
        for level in LEVELS:
            sampled = sample_image(ListedImage("x"), encode_jpeg(pixels, level), config)
            assert isinstance(sampled, ImagePatches)
            estimate = fuse_predictions(predict_patches(model, [sampled])[0], config).estimate
            assert estimate is not None
            total = total + QualityErrors.of(level, estimate.quality)
    return total


@pytest.mark.parametrize("threshold", [None, 90.0])
def test_metrics_are_those_of_the_plain_computation(
    threshold: float | None, lossless: Path, weights_uri: str, tmp_path: Path
) -> None:
    config = EvaluateConfig(str(lossless), str(tmp_path / "out"), LEVELS, weights_uri, threshold=threshold, patches=16)
    metrics = evaluate(config, ONE_THREAD)
    assert metrics == json.loads((tmp_path / "out" / "metrics.json").read_text())
    errors = errors_by_hand(lossless, weights_uri, threshold or 60.0, 16)
    assert metrics["confusion"] == errors.confusion.tolist()
    assert [band["levels"] for band in metrics["bands"]] == [list(band) for band in BANDS]
    for low, high in BANDS:
        (band,) = (band for band in metrics["bands"] if band["levels"] == [low, high])
        assert {name: value for name, value in band.items() if name != "levels"} == pytest.approx(
            errors.band(low, high), abs=1e-9
        )
    assert [entry["level"] for entry in metrics["levels"]] == list(range(1, 101))
    assert {entry["level"]: entry["images"] for entry in metrics["levels"] if entry["images"]} == dict.fromkeys(
        LEVELS, 2
    )
    assert metrics["levels"][49]["mae"] == pytest.approx(errors.band(50, 50)["mae"])
    assert (metrics["images"], metrics["arguments"]["threshold"]) == (2, threshold or 60.0)
    assert metrics["versions"]["weights_sha256"] == read_weights(weights_uri).sha256
    assert metrics["bands"][-1]["mae"] > 1


def test_the_command_prints_bands_with_images(
    lossless: Path, weights_uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--images", str(lossless), "--output", f"{tmp_path}/out", "--weights", weights_uri, "--patches", "16"]
    assert main(["evaluate", *arguments, "--levels", "93,97"]) == 0
    header, _, *lines = capsys.readouterr().out.splitlines()
    assert header.split("  ")[0] == "levels"
    assert [line.split()[:2] for line in lines] == [["91-95", "2"], ["96-100", "2"], ["1-100", "4"]]


@pytest.mark.parametrize("content", [b"", b"<html>", None])
def test_an_image_that_cannot_be_judged_fails_the_evaluation(
    content: bytes | None, lossless: Path, weights_uri: str, tmp_path: Path
) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "good.png").write_bytes((lossless / "wreck.png").read_bytes())
    if content is None:
        (folder / "bad.png").symlink_to(folder / "gone.png")
    else:
        (folder / "bad.png").write_bytes(content)
    config = EvaluateConfig(str(folder), str(tmp_path / "out"), (50,), weights_uri, patches=16)
    with pytest.raises(Exception, match=r"bad\.png|0 bytes|expected one of"):
        evaluate(config, ONE_THREAD)
    assert not (tmp_path / "out" / "metrics.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--levels", "0-5"], r"levels are \[0, 1, 2, 3, 4, 5\]; expected some of 1\.\.100"),
        (["--levels", "9-5"], r"levels are \[\]; expected some of 1\.\.100"),
        (["--patches", "7"], "patches per image is 7"),
        (["--threshold", "100"], "confidence threshold is 100"),
        (["--weights", "nonsense"], "weights are 'nonsense'"),
        (["--images", "/nonexistent/*.png"], r"no image matches '/nonexistent/\*\.png'"),
    ],
)
def test_mistakes_stop_the_command_before_any_work(
    arguments: list[str],
    message: str,
    lossless: Path,
    weights_uri: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    defaults = ["--images", str(lossless), "--output", f"{tmp_path}/out", "--weights", weights_uri]
    assert main(["evaluate", *defaults, *arguments]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("q1net evaluate: ")
    with pytest.raises(ConfigError, match=message):
        raise ConfigError(printed)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("value", "levels"),
    [
        ("7", (7,)),
        ("1-4", (1, 2, 3, 4)),
        ("10-30:10", (10, 20, 30)),
        ("10-29:10", (10, 20)),
        ("10,50,90-91", (10, 50, 90, 91)),
        ("1-100", tuple(range(1, 101))),
        ("3,1-4,2", (3, 1, 2, 4)),
    ],
)
def test_levels_are_ranges_steps_and_lists_each_level_once(value: str, levels: tuple[int, ...]) -> None:
    assert parse_levels(value) == levels


@pytest.mark.parametrize("value", ["", "x", "1-", "1-5:0", "-5", "1,,2", "1.5"])
def test_levels_that_make_no_sense_are_named(value: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="expected levels such as") as caught:
        parse_levels(value)
    assert repr(value) in str(caught.value)


def test_rendered_bands_show_shares_in_percent_and_dashes_without_answers() -> None:
    errors = QualityErrors.of(50, 51.0) + QualityErrors.of(51, None) + QualityErrors.of(99, None)
    bands = [{"levels": [low, high]} | errors.band(low, high) for low, high in BANDS]
    lines = {line.split()[0]: line.split()[1:] for line in render_bands(bands).splitlines()[2:]}
    assert lines == {
        "11-50": ["1", "1.000", "0.000", "0.000", "0.0", "100.0", "0.0"],
        "51-90": ["1", "-", "-", "-", "-", "-", "100.0"],
        "96-100": ["1", "-", "-", "-", "-", "-", "100.0"],
        "1-100": ["3", "1.000", "0.000", "0.000", "0.0", "100.0", "66.7"],
    }
