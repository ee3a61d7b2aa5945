"""Fine-tuning on a CPU: folded weights answer as the model does, unfolded ones too; training lowers the loss."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
import torch
from pictures import make_picture
from PIL import Image

from q1net_core.network.variants import q1net
from q1net_core.network.weights import read_weights
from training import finetune
from training.config import preset


@pytest.fixture(scope="module")
def patches() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (32, 16, 16, 3), np.uint8)


@pytest.fixture
def model() -> keras.Model:
    """A small one whose normalisation is not that of a new one."""
    keras.utils.set_random_seed(1)
    model = q1net(k=4).build()
    rng = np.random.default_rng(2)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, weight.shape).astype(np.float32) for weight in layer.weights])
    return model


def answers(model: keras.Model, patches: np.ndarray) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(model(patches, training=False)))


def test_folded_weights_answer_as_the_model_does(model: keras.Model, patches: np.ndarray) -> None:
    with torch.no_grad():
        folded = finetune.Folded(finetune.fold(model))(torch.from_numpy(patches)).numpy()
    assert np.allclose(folded, answers(model, patches), atol=1e-3)


def test_unfolded_weights_answer_alike_with_stored_and_with_measured_statistics(
    model: keras.Model, patches: np.ndarray
) -> None:
    before, layers = answers(model, patches), finetune.fold(model)
    finetune.unfold(model, layers, finetune.measure_statistics(finetune.Folded(layers), patches))
    assert np.allclose(answers(model, patches), before, atol=1e-3)
    measured = np.asarray(keras.ops.convert_to_numpy(model(patches, training=True)))
    assert np.allclose(measured, before, atol=1e-2)


def test_loss_is_worked_out_by_hand() -> None:
    outputs, levels = torch.tensor([[50.0, 90.0], [80.0, 99.0]]), torch.tensor([60.0, 80.0])
    loss, error = finetune.losses_of(outputs, levels, 0.5)
    # Errors 10 and 0; the confidence should be 90 and 100.
    assert (loss.item(), error.item()) == (5.25, 5.0)


def test_rate_warms_up_and_ends_at_zero() -> None:
    config = preset("smoke", learning_rate=0.8)
    assert finetune.rate_at(config, 0, 0.0) == pytest.approx(0.4)
    assert finetune.rate_at(config, 5, 0.5) == pytest.approx(0.4)
    assert finetune.rate_at(config, 9, 1.0) == pytest.approx(0.0)


def test_command_trains_writes_a_card_and_chooses_rules(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for split in ("train", "valid"):
        (tmp_path / split).mkdir()
        Image.fromarray(make_picture(len(split), 256, 256)).save(tmp_path / split / "picture.png")
    flags = {"images": "train", "validation-images": "valid", "output": "out"}
    arguments = [part for name, folder in flags.items() for part in (f"--{name}", str(tmp_path / folder))]
    settings = ["--preset", "smoke", "--start-from", "q1net-k8"]
    assert finetune.run([*arguments, *settings]) == 0
    assert "step 12, validation MAE" in capsys.readouterr().out
    weights = read_weights(str(tmp_path / "out" / "q1net-k8.keras"))
    assert {rule.fusion for rule in weights.rules} == {"trimmed", "weighted", "paper"}
    card = json.loads((tmp_path / "out" / "q1net-k8.json").read_text())
    assert card["start_sha256"] == read_weights("q1net-k8").sha256
    assert card["pictures"]["training"]["files"] == 1
    assert card["trained"]["patches"] == 12 * 32
    rows = [json.loads(line) for line in (tmp_path / "out" / "history.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [4, 8, 12]


def test_weights_to_start_from_must_be_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(tmp_path)
    arguments = ["--images", folder, "--validation-images", folder, "--output", folder, "--preset", "smoke"]
    assert finetune.run(arguments) == 2
    assert "preset 'smoke' starts untrained; name the weights to go on from" in capsys.readouterr().err


def test_a_network_of_video_starts_from_one_of_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for split in ("train", "valid"):
        (tmp_path / split).mkdir()
        Image.fromarray(make_picture(len(split), 96, 96)).save(tmp_path / split / "picture.png")
    folders = [
        "--images",
        f"{tmp_path}/train",
        "--validation-images",
        f"{tmp_path}/valid",
        "--output",
        f"{tmp_path}/out",
    ]
    settings = ["--preset", "smoke", "--variant", "q1net-h264", "--start-from", "q1net-k8"]
    assert finetune.run([*folders, *settings]) == 0
    weights = read_weights(f"{tmp_path}/out/q1net-h264.keras", codecs=("h264",))
    assert weights.card.codec == "h264"
    assert weights.card.more["largest_level"] == 51
    outputs = answers(
        keras.saving.load_model(tmp_path / "out" / "q1net-h264.keras", compile=False),
        np.zeros((1, 24, 24, 3), np.uint8),
    )
    assert 0 < outputs.min() <= outputs.max() < 51


@pytest.mark.parametrize("variant", ["q1net-no-bottleneck", "q1net-classifier"])
def test_other_networks_are_refused(variant: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = ["--images", f"{tmp_path}/a", "--validation-images", f"{tmp_path}/b", "--output", f"{tmp_path}/out"]
    assert finetune.run([*folders, "--variant", variant]) == 2
    assert f"variant is {variant!r}; expected two of Q1Net with bottlenecks" in capsys.readouterr().err
