"""Errors of single patches of shards, by level."""

from pathlib import Path

import numpy as np
import pytest
from pictures import make_picture
from PIL import Image

from pipelines.shards import command as shards
from q1net_core.network.predictor import Predictor
from q1net_core.network.weights import read_weights
from training.data.shards import open_dataset, patches_of, read_shard
from training.studies import shards as study
from training.studies.shards import describe_errors


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    images = tmp_path_factory.mktemp("images")
    for seed in range(12):
        Image.fromarray(make_picture(seed, 96, 128)).save(images / f"{seed:02d}.png")
    output = str(tmp_path_factory.mktemp("out") / "shards")
    arguments = ["--images", str(images), "--output", output, "--levels", "20,80", "--patches-per-image", "9"]
    assert shards.run(arguments) == 0
    return output


def test_a_line_for_each_level(folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "table.md"
    assert study.run(["--shards", folder, "--split", "valid", "--output", str(output)]) == 0
    printed = capsys.readouterr().out
    assert output.read_text() == printed
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in printed.splitlines()[2:]]
    dataset = open_dataset(folder)
    tables = [read_shard(dataset, file) for file in dataset.files["valid"]]
    levels = np.concatenate([table["level"].to_numpy() for table in tables])
    model = Predictor(read_weights("q1net-k8"))
    quality = np.concatenate([model.predict(patches_of(table))[0] for table in tables])
    assert [row[0] for row in rows] == ["20", "80", "all"]
    for row, chosen in zip(rows, (levels == 20, levels == 80, levels > 0), strict=True):
        errors = (quality - levels)[chosen]
        assert int(row[1]) == len(errors) > 0
        expected = (np.abs(errors).mean(), errors.mean(), np.abs(errors).std())
        assert [float(cell) for cell in row[2:]] == pytest.approx(expected, abs=2e-3)


def test_figures_by_hand() -> None:
    assert describe_errors("7", np.float32([1, -3])) == ("7", "2", "2.000", "-1.000", "1.000")


def test_what_does_not_fit_is_refused(folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert study.run(["--shards", folder, "--split", "none"]) == 2
    assert "have no rows in the split 'none'; choose another --split" in capsys.readouterr().err
    assert study.run(["--shards", folder, "--weights", "q1net-k9"]) == 2
    assert "weights are 'q1net-k9'" in capsys.readouterr().err
