"""Errors by level: metrics, tables and pictures agree."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from evaluations import run_study
from PIL import Image

from pipelines.cli import main
from pipelines.evaluation.studies.levels import BANDS_SCHEMA, LEVELS_SCHEMA, band_cells, metrics_of
from q1net_core.metrics import BANDS, QualityErrors


def test_the_command_prints_bands_with_images(
    lossless: Path, weights_uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--images", str(lossless), "--output", f"{tmp_path}/out", "--weights", weights_uri, "--patches", "16"]
    assert main(["evaluate", *arguments, "--levels", "93,97"]) == 0
    header, _, *lines = capsys.readouterr().out.splitlines()
    assert header.split("  ")[0] == "levels"
    assert [line.split()[:2] for line in lines] == [["91-95", "2"], ["96-100", "2"], ["1-100", "4"]]


def test_rendered_bands_show_shares_in_percent_and_dashes_without_answers() -> None:
    errors = QualityErrors.of(50, 51.0) + QualityErrors.of(51, None) + QualityErrors.of(99, None)
    bands = [{"levels": [low, high]} | errors.band(low, high) for low, high in BANDS]
    assert {name: cells for name, *cells in band_cells(bands)} == {
        "11-50": ["1", "1.000", "0.000", "0.000", "0.0", "100.0", "0.0"],
        "51-90": ["1", "-", "-", "-", "-", "-", "100.0"],
        "96-100": ["1", "-", "-", "-", "-", "-", "100.0"],
        "1-100": ["3", "1.000", "0.000", "0.000", "0.0", "100.0", "66.7"],
    }


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


def test_metrics_have_all_bands_and_levels() -> None:
    described = metrics_of(QualityErrors.of(50, 51.0))
    assert [band["levels"] for band in described["bands"]] == [list(band) for band in BANDS]
    assert [level["level"] for level in described["levels"]] == list(range(1, 101))
    assert described["confusion"][49][51] == 1
