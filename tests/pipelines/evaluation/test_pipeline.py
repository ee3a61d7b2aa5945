"""The evaluation equals encoding, estimating and comparing by hand, and refuses images it cannot judge."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from evaluations import LEVELS, ONE_THREAD, TWO_THREADS, errors_by_hand, run
from PIL import Image

from pipelines.cli import main
from pipelines.evaluation.command import parse
from pipelines.evaluation.config import EvaluateConfig
from pipelines.evaluation.pipeline import read_candidates
from pipelines.evaluation.study import EVALUATED
from q1net_core.codecs.jpeg import encode_jpeg
from q1net_core.estimator import estimate_image
from q1net_core.metrics import BANDS, QualityErrors
from q1net_core.network.weights import read_weights
from q1net_core.records import ListedImage
from q1net_core.settings import EstimatorSettings

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("threshold", [None, 90.0])
def test_metrics_are_those_of_the_plain_computation(
    threshold: float | None, lossless: Path, weights_uri: str, tmp_path: Path
) -> None:
    config = EvaluateConfig(
        str(lossless), str(tmp_path / "out"), LEVELS, (weights_uri,), threshold=threshold, patches=16
    )
    metrics = run(config)
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
    assert (metrics["images"], metrics["threshold"], metrics["fusion"]) == (2, threshold or 60.0, "paper")
    assert metrics["weights_sha256"] == read_weights(weights_uri).sha256
    assert metrics["bands"][-1]["mae"] > 1


@pytest.mark.parametrize("estimator", ["lattice", "combined"])
def test_other_estimators_answer_as_an_audit(estimator: str, lossless: Path, weights_uri: str, tmp_path: Path) -> None:
    total = QualityErrors()
    settings = EstimatorSettings(
        weights_uri, patches=16, estimators=EVALUATED[estimator], cascade=estimator == "combined"
    )
    weights = settings.pin_all(settings.read_weights())
    sources = set()
    for path in sorted(lossless.iterdir()):
        pixels = np.asarray(Image.open(path).convert("RGB"))
        for level in LEVELS:
            file = tmp_path / "one.jpg"
            file.write_bytes(encode_jpeg(pixels, level))
            answer = estimate_image(ListedImage(str(file)), settings, weights).answer
            total, sources = total + QualityErrors.of(level, answer.quality), sources | {answer.source}
    arguments = ["--images", str(lossless), "--output", f"{tmp_path}/out", "--levels", "8,50,93"]
    if estimator == "combined":
        arguments += ["--weights", weights_uri, "--patches", "16"]
    assert main(["evaluate", "--estimator", estimator, *arguments]) == 0
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["confusion"] == total.confusion.tolist()
    assert metrics["bands"][-1]["missing"] == total.band(1, 100)["missing"]
    assert "lattice" in sources
    first = (tmp_path / "out" / "table.md").read_text().splitlines()[0]
    if estimator == "lattice":
        assert first == "lattice, 2 lossless images, q1net 0.1.0."
        assert metrics["variant"] is metrics["weights_sha256"] is None
    else:
        assert first.startswith("lattice, else q1net-no-bottleneck (")


def test_the_lattice_alone_loads_no_framework(lossless: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from pipelines.cli import main; status = main(sys.argv[1:]);"
        "print('loaded', sorted({'keras', 'tensorflow', 'jax', 'torch'} & set(sys.modules)), status)"
    )
    arguments = ["--images", str(lossless), "--output", str(tmp_path), "--levels", "50", "--direct_num_workers=1"]
    command = [sys.executable, "-c", code, "evaluate", "--estimator", "lattice", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1:] == ["loaded [] 0"], done.stderr


def test_q1net_alone_does_not_look_at_the_lattice(lossless: Path) -> None:
    config, _ = parse(["--images", str(lossless), "--output", "out"])
    assert [candidate.settings.estimators for candidate in read_candidates(config)] == [("q1net",)]


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
    config = EvaluateConfig(str(folder), str(tmp_path / "out"), (50,), (weights_uri,), patches=16)
    with pytest.raises(Exception, match=r"bad\.png|0 bytes|expected one of"):
        run(config)
    assert not (tmp_path / "out" / "metrics.json").exists()


def test_two_threads_give_the_same_file_to_the_last_bit(lossless: Path, weights_uri: str, tmp_path: Path) -> None:
    results = []
    for name, options in (("one", ONE_THREAD), ("two", TWO_THREADS)):
        config = EvaluateConfig(str(lossless), str(tmp_path / name), LEVELS, (weights_uri,), patches=16)
        results.append(run(config, options) | {"arguments": None})
    assert results[0] == results[1]
