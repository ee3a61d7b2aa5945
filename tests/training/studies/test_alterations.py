"""The table of variants on altered pictures: every alteration, each variant's own error."""

from pathlib import Path

import pytest
from pictures import make_picture
from PIL import Image

from q1net_core.network.predictor import load_model
from q1net_core.network.weights import read_weights
from training.alterations import ALTERATIONS
from training.data.photographs import altered_set, load_corpus
from training.studies.alterations import PATCHES, run
from training.validation import error_of


def test_every_alteration_has_each_variants_error(
    tmp_path: Path, weights_uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(make_picture(1, 160, 192)).save(tmp_path / "a.png")
    assert run(["--images", str(tmp_path), "--weights", weights_uri, "q1net-k8"]) == 0
    lines = capsys.readouterr().out.splitlines()
    header, _, *cells = ([cell.strip() for cell in line.split("|")[1:-1]] for line in lines)
    assert header == ["alteration", f"`{weights_uri}`", "`q1net-k8`"]
    rows = {name: errors for name, *errors in cells}
    assert list(rows) == list(ALTERATIONS)
    stacks, truth = altered_set(load_corpus(str(tmp_path)), "noise", PATCHES)
    files = [read_weights(source) for source in (weights_uri, "q1net-k8")]
    expected = [error_of(load_model(file), file.variant, stacks, truth) for file in files]
    assert [float(cell) for cell in rows["noise"]] == pytest.approx(expected, abs=0.01)
    assert rows["noise"][0] != rows["noise"][1]


def test_unknown_weights_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(make_picture(1, 160, 192)).save(tmp_path / "a.png")
    assert run(["--images", str(tmp_path), "--weights", "resnet"]) == 2
    assert "weights are 'resnet'" in capsys.readouterr().err
