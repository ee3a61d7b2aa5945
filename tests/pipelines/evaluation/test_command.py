"""The evaluation equals encoding, estimating and comparing by hand, and refuses images it cannot judge."""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from PIL import Image

from pipelines.cli import main
from pipelines.evaluation.command import evaluate, parse, read_estimators
from pipelines.evaluation.config import ESTIMATORS, SIZES, EvaluateConfig
from pipelines.evaluation.render import (
    BANDS_SCHEMA,
    COMPARISON_SCHEMA,
    LEVELS_SCHEMA,
    PUBLISHED_METHODS,
    PUBLISHED_SIZES,
    add_relative_times,
    band_cells,
)
from pipelines.evaluation.steps import describe
from pipelines.runtime.options import parse_levels
from q1net_core import storage
from q1net_core.codecs.jpeg import encode_jpeg
from q1net_core.errors import ConfigError
from q1net_core.estimator import EstimatorSettings, estimate_image, fuse_predictions, predict_patches, sample_image
from q1net_core.metrics import BANDS, QualityErrors
from q1net_core.network.predictor import Predictor
from q1net_core.network.weights import packaged_variants, read_weights
from q1net_core.records import FusionRule, ImagePatches, ListedImage

PHOTOGRAPHS = Path(__file__).parents[2] / "photographs"
LEVELS = (8, 50, 93)
ONE_THREAD = PipelineOptions(["--runner=FnApiRunner"])
TWO_THREADS = PipelineOptions(
    ["--runner=FnApiRunner", "--direct_num_workers=2", "--direct_running_mode=multi_threading"]
)


@pytest.fixture(scope="module")
def lossless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two small pictures as PNG files."""
    folder = tmp_path_factory.mktemp("lossless")
    for name in ("camera/airplane.png", "messenger/wreck.png"):
        Image.open(PHOTOGRAPHS / name).crop((200, 100, 296, 180)).save(folder / Path(name).name)
    return folder


def errors_by_hand(folder: Path, weights_uri: str, threshold: float, patches: int) -> QualityErrors:
    model, settings = Predictor(read_weights(weights_uri)), EstimatorSettings(patches=patches)
    rule = FusionRule("paper", threshold)
    total = QualityErrors()
    for path in sorted(folder.iterdir()):
        pixels = np.asarray(Image.open(path).convert("RGB"))
        for level in LEVELS:
            sampled = sample_image(ListedImage("x"), encode_jpeg(pixels, level), settings)
            assert isinstance(sampled, ImagePatches)
            estimate = fuse_predictions(predict_patches(model, [sampled])[0], rule).network
            assert estimate is not None
            total = total + QualityErrors.of(level, estimate.quality)
    return total


@pytest.mark.parametrize("threshold", [None, 90.0])
def test_metrics_are_those_of_the_plain_computation(
    threshold: float | None, lossless: Path, weights_uri: str, tmp_path: Path
) -> None:
    config = EvaluateConfig(
        str(lossless), str(tmp_path / "out"), LEVELS, (weights_uri,), threshold=threshold, patches=16
    )
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
    assert (metrics["images"], metrics["threshold"], metrics["fusion"]) == (2, threshold or 60.0, "paper")
    assert metrics["weights_sha256"] == read_weights(weights_uri).sha256
    assert metrics["bands"][-1]["mae"] > 1


@pytest.mark.parametrize("estimator", ["lattice", "combined"])
def test_other_estimators_answer_as_an_audit(estimator: str, lossless: Path, weights_uri: str, tmp_path: Path) -> None:
    model, total = Predictor(read_weights(weights_uri)), QualityErrors()
    settings = EstimatorSettings(patches=16, estimators=ESTIMATORS[estimator], cascade=estimator == "combined")
    sources = set()
    for path in sorted(lossless.iterdir()):
        pixels = np.asarray(Image.open(path).convert("RGB"))
        for level in LEVELS:
            file = tmp_path / "one.jpg"
            file.write_bytes(encode_jpeg(pixels, level))
            answer = estimate_image(ListedImage(str(file)), model, settings, FusionRule("paper", 60)).answer
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
    done = subprocess.run(command, cwd=PHOTOGRAPHS.parents[1], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1:] == ["loaded [] 0"], done.stderr


def test_q1net_alone_does_not_look_at_the_lattice(lossless: Path) -> None:
    config, _ = parse(["--images", str(lossless), "--output", "out"])
    assert [rule.estimators for _, rule in read_estimators(config)] == [("q1net",)]


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
    config = EvaluateConfig(str(folder), str(tmp_path / "out"), (50,), (weights_uri,), patches=16)
    with pytest.raises(Exception, match=r"bad\.png|0 bytes|expected one of"):
        evaluate(config, ONE_THREAD)
    assert not (tmp_path / "out" / "metrics.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--levels", "0-5"], r"levels are \[0, 1, 2, 3, 4, 5\]; expected some of 1\.\.100"),
        (["--patches", "7"], "patches per image is 7"),
        (["--threshold", "100"], "confidence threshold is 100"),
        (["--weights", "nonsense"], "variants are .*/untrained.keras, nonsense; expected one, or --study table2"),
        (["--weights", "nonsense", "--study", "table2"], "weights are 'nonsense'"),
        (["--study", "table4", "--patches", "64"], "patches per image is 64; table4 takes .16, 64, 144"),
        (["--study", "photoshop", "--levels", "12-13"], r"levels are \[12, 13\]; expected some of 0\.\.12"),
        (["--estimator", "lattice"], "variants are .*untrained.keras, fusion None, .*; the lattice has no such thing"),
        (["--estimator", "combined", "--study", "table4"], "estimator is combined; table4 is about Q1Net"),
        (["--estimator", "lattice", "--study", "table2"], "estimator is lattice; table2 is about Q1Net"),
        (["--conditions", "full"], "conditions are full; expected --study stress with some of full, full-random"),
        (["--study", "stress", "--estimator", "q1net", "--conditions", "a,b"], "conditions are a, b; expected --study"),
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
    assert {name: cells for name, *cells in band_cells(bands)} == {
        "11-50": ["1", "1.000", "0.000", "0.000", "0.0", "100.0", "0.0"],
        "51-90": ["1", "-", "-", "-", "-", "-", "100.0"],
        "96-100": ["1", "-", "-", "-", "-", "-", "100.0"],
        "1-100": ["3", "1.000", "0.000", "0.000", "0.0", "100.0", "66.7"],
    }


def run_study(lossless: Path, weights_uri: str, output: Path, *arguments: str) -> Path:
    defaults = ["--images", str(lossless), "--output", str(output), "--variant", weights_uri]
    assert main(["evaluate", *defaults, *arguments]) == 0
    return output


def test_two_threads_give_the_same_file_to_the_last_bit(lossless: Path, weights_uri: str, tmp_path: Path) -> None:
    results = []
    for name, options in (("one", ONE_THREAD), ("two", TWO_THREADS)):
        config = EvaluateConfig(str(lossless), str(tmp_path / name), LEVELS, (weights_uri,), patches=16)
        results.append(evaluate(config, options) | {"arguments": None})
    assert results[0] == results[1]


def test_results_are_written_as_tables_and_pictures(
    lossless: Path, weights_uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = run_study(lossless, weights_uri, tmp_path / "out", "--levels", "50,93", "--patches", "16")
    names = {path.name for path in output.iterdir()}
    assert names == {"metrics.json", "table.md", "bands.parquet", "levels.parquet", "confusion.png", "errors.png"}
    metrics = json.loads((output / "metrics.json").read_text())
    bands, levels = pq.read_table(output / "bands.parquet"), pq.read_table(output / "levels.parquet")
    assert (bands.schema, levels.schema) == (BANDS_SCHEMA, LEVELS_SCHEMA)
    assert [(row["low"], row["high"]) for row in bands.to_pylist()] == list(BANDS)
    assert bands["mae"].to_pylist() == [band["mae"] for band in metrics["bands"]]
    assert levels.to_pylist() == [metrics["levels"][49], metrics["levels"][92]]
    lines = (output / "table.md").read_text().splitlines()
    assert lines[0].startswith("q1net-no-bottleneck (")
    assert lines[0].endswith("2 lossless images, q1net 0.1.0, 16 patches.")
    printed = capsys.readouterr().out.splitlines()[-3:]
    assert [line.strip("|").replace(" ", "") for line in lines[4:7]] == ["|".join(line.split()) for line in printed]
    for name in ("confusion.png", "errors.png"):
        with Image.open(output / name) as picture:
            assert (picture.format, min(picture.size) > 400) == ("PNG", True)


def test_results_go_to_any_store(lossless: Path, weights_uri: str) -> None:
    memory = "memory://evaluation/out"
    main(["evaluate", "--images", str(lossless), "--output", memory, "--weights", weights_uri, "--levels", "50"])
    assert storage.read_bytes(f"{memory}/table.md", 10_000)
    assert storage.read_bytes(f"{memory}/confusion.png", 1_000_000)[:4] == b"\x89PNG"


def test_table_4_has_the_figures_of_each_number_of_patches(lossless: Path, weights_uri: str, tmp_path: Path) -> None:
    arguments = ("--study", "table4", "--levels", "8,50,93", "--direct_num_workers=1")
    output = run_study(lossless, weights_uri, tmp_path / "out", *arguments)
    table = pq.read_table(output / "table4.parquet")
    assert table.schema == COMPARISON_SCHEMA
    rows = table.to_pylist()
    measured, published = rows[:6], rows[6:]
    assert [row["patches"] for row in measured] == list(SIZES) == [16, 64, 144, 256, 400, 576]
    for row in measured[:2]:
        band = errors_by_hand(lossless, weights_uri, 60, row["patches"]).band(1, 100)
        assert {name: row[name] for name in ("images", "mae", "sde", "exact", "missing")} == pytest.approx(
            {name: band[name] for name in ("images", "mae", "sde", "exact", "missing")}, abs=1e-9
        )
    assert {row["source"] for row in measured} == {"measured"}
    assert {row["source"] for row in published} == {"published"}
    assert [row["relative_time"] for row in published] == [0.2, 0.4, 0.6, 1.0, 1.5, 2.1]
    assert measured[0]["relative_time"] < measured[3]["relative_time"] == 1 < measured[5]["relative_time"]
    assert (
        "| Q1Net (baseline, k=8) | published | 256 | 10000 | 0.40 | 0.39 | - | - | 10.0 | 1.00 | - |"
        in (output / "table4.md").read_text().splitlines()
    )


def test_table_2_compares_several_weights_with_published_methods(
    lossless: Path, weights_uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--study", "table2", "--variant", "q1net-k8", "--levels", "50", "--patches", "16")
    output = run_study(lossless, weights_uri, tmp_path / "out", *arguments)
    rows = pq.read_table(output / "table2.parquet").to_pylist()
    assert [(row["method"], row["parameters"]) for row in rows[:2]] == [
        ("q1net-no-bottleneck", 49_298),
        ("q1net-k8", 125_234),
    ]
    assert [row["source"] for row in rows] == ["measured"] * 2 + ["published"] * len(PUBLISHED_METHODS)
    assert rows[0]["mae"] > 10 > rows[1]["mae"]
    assert all(row["milliseconds"] > 0 for row in rows)
    assert len((output / "table2.md").read_text().splitlines()) == 4 + len(rows)
    printed = capsys.readouterr().out
    assert printed.splitlines()[2].startswith("q1net-no-bottleneck")


def test_table_2_takes_all_packaged_variants_by_default() -> None:
    config, _ = parse(["--images", "a", "--output", "b", "--study", "table2"])
    assert config.weights == tuple(packaged_variants())
    assert parse(["--images", "a", "--output", "b"])[0].weights == ("q1net-k8",)
    stressed, _ = parse(["--images", "a", "--output", "b", "--study", "stress"])
    assert (stressed.weights, stressed.estimator, stressed.levels) == ((), "lattice", tuple(range(5, 101, 5)))
    assert parse(["--images", "a", "--output", "b", "--estimator", "combined"])[0].weights == ("q1net-k8",)


def test_published_figures_are_the_papers() -> None:
    # Sums over the columns of tables 2 and 4, so that a slip of a digit shows.
    totals = [round(sum(column), 2) for column in zip(*(row[1:] for row in PUBLISHED_METHODS), strict=True)]
    assert totals == [14.48, 13.3, 3264, 12_373_000]
    assert [round(sum(column), 2) for column in zip(*PUBLISHED_SIZES, strict=True)] == [1456, 2.87, 2.89, 58]


def test_times_are_relative_to_the_same_source() -> None:
    rows = [
        {"source": source, "patches": patches, "milliseconds": milliseconds}
        for source, patches, milliseconds in (("a", 16, 1.0), ("b", 16, 30.0), ("a", 256, 4.0), ("b", 256, 60.0))
    ]
    assert [row["relative_time"] for row in add_relative_times(rows)] == [0.25, 0.5, 1, 1]


def test_descriptions_have_all_bands_and_levels() -> None:
    described = describe(QualityErrors.of(50, 51.0))
    assert [band["levels"] for band in described["bands"]] == [list(band) for band in BANDS]
    assert [level["level"] for level in described["levels"]] == list(range(1, 101))
    assert described["confusion"][49][51] == 1
