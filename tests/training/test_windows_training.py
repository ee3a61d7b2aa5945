"""Networks that see a window are trained by `q1net train` and judged by `q1net evaluate`."""

import json
from pathlib import Path

import numpy as np
import pytest
from networks import TINY
from pictures import make_picture
from PIL import Image

from pipelines.cli import main
from q1net_core.network.variants import NEVER_COMPRESSED, VARIANTS
from q1net_core.network.weights import read_weights
from training.config import preset
from training.losses import make_loss
from training.trainer import new_model


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for seed in range(3):
        Image.fromarray(make_picture(seed, 80, 96)).save(folder / f"{seed}.png")
    return folder


def test_a_network_of_windows_is_trained_and_judged(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(VARIANTS, "tiny-crop", TINY["tiny-crop"])
    where = ["--images", str(images), "--validation-images", str(images), "--output", str(tmp_path / "out")]
    assert main(["train", *where, "--preset", "smoke", "--variant", "tiny-crop"]) == 0
    weights = str(tmp_path / "out" / "tiny-crop.keras")
    card = read_weights(weights).card
    assert list(card.fusions) == ["paper"]
    assert (card.rules[0].threshold, card.rules[0].calibration) == (0, ())
    assert card.calibration["patches"] == 1
    output = tmp_path / "evaluation"
    arguments = ["--images", str(images), "--output", str(output), "--levels", "20,80", "--weights", weights]
    assert main(["evaluate", *arguments]) == 0
    overall = json.loads((output / "metrics.json").read_text())["bands"][-1]
    assert (overall["images"], overall["missing"]) == (6, 0)


def test_shards_hold_patches_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--shards", "s", "--variant", "q-est", "--output", str(tmp_path)]) == 2
    assert "shards hold patches; this network sees a centre crop: use --images" in capsys.readouterr().err


def test_jqes_loss_is_of_both_maps() -> None:
    maps = np.zeros((3, 4, 4, 2), np.float32)
    maps[1, :, :, 0] = 0.3
    maps[2, :, :, 1] = 1
    loss = make_loss("quality maps", 0.5)
    values = np.asarray(loss.call(np.float32([[100], [70], [NEVER_COMPRESSED]]), maps))
    assert values == pytest.approx([0, 0, 0], abs=1e-6)
    wrong = np.asarray(loss.call(np.float32([[NEVER_COMPRESSED], [20], [100]]), maps))
    assert wrong == pytest.approx([0.5, 0.125, 0.5], abs=1e-6)


def test_steps_of_jqe_lower_its_loss() -> None:
    model = new_model(preset("window", variant="jqe", steps=500, warmup_steps=0))
    windows = np.random.default_rng(1).integers(0, 256, (4, 24, 24, 3), np.uint8)
    losses = [model.train_on_batch(windows, np.float32([10, 50, 90, 101]))[0] for _ in range(4)]
    assert losses[-1] < losses[0]
