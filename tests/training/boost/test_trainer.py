from pathlib import Path

import numpy as np
import pytest
from boosted import draw_picture
from PIL import Image

from q1net_core.boost.model import read_boost_model
from q1net_core.boost.picture import boost, show
from q1net_core.errors import ConfigError
from training.boost.command import run
from training.boost.filter import FilterRecipe
from training.boost.trainer import PRESETS, train_boost


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    for seed in range(3):
        Image.fromarray(draw_picture(64, 80, seed)).save(folder / f"{seed}.png")
    return folder


def test_a_smoke_training_gives_a_model_that_boosts(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--images", str(photographs), "--base", "jpeg", "--output", str(tmp_path), "--preset", "smoke"]
    assert run([*command, "--steps", "2"]) == 0
    assert "finished" in capsys.readouterr().out
    model = read_boost_model(str(tmp_path / "boost-jpeg.npz"))
    pixels = draw_picture(40, 56)
    assert show(boost(pixels, 10, model).file, model).shape == pixels.shape


def test_a_training_goes_on_where_it_stopped_and_seeds_give_the_same_model(photographs: Path, tmp_path: Path) -> None:
    recipe = PRESETS["smoke"](base="jpeg")
    assert "call again" in train_boost(str(photographs), recipe, tmp_path / "parts", seconds=0)
    lines = [train_boost(str(photographs), recipe, tmp_path / name) for name in ("parts", "whole")]
    assert all("finished" in line for line in lines)
    models = [read_boost_model(str(tmp_path / name / "boost-jpeg.npz")) for name in ("parts", "whole")]
    np.testing.assert_array_equal(models[0].codebook, models[1].codebook)
    assert models[0].sha256 == models[1].sha256


@pytest.mark.parametrize(("flags", "problem"), [(["--patterns", "1"], "2 to 1024"), (["--steps", "0"], "1 or more")])
def test_recipes_that_cannot_be_are_refused(
    photographs: Path, tmp_path: Path, flags: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--images", str(photographs), "--base", "jpeg", "--output", str(tmp_path), *flags]
    assert run(command) == 2
    assert problem in capsys.readouterr().err


def test_photographs_that_are_missing_or_small_are_refused(photographs: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no image matches"):
        train_boost(str(tmp_path / "none"), PRESETS["smoke"](base="jpeg"), tmp_path)
    with pytest.raises(ConfigError, match="less than"):
        train_boost(str(photographs), PRESETS["smoke"](base="jpeg", filter=FilterRecipe(crop=96)), tmp_path)
