"""Training: seeded batches at their true levels, the loss by hand, and runs that resume to the same weights."""

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from pictures import make_picture
from PIL import Image

from q1net_core.codecs import compress_jpeg
from q1net_core.errors import ConfigError
from q1net_core.patches import cut_windows, sample_patches
from q1net_core.weights import Q1Net, load_model, read_weights
from training import __main__ as command
from training.config import PRESETS, TrainConfig, preset
from training.dataset import LEVELS, batches, draw_levels, load_corpus, validation_set
from training.losses import ConfidenceAwareLoss, confidence_error, quality_error
from training.optimizers import KernelMuon, make_optimizer
from training.trainer import TrainResult, mae_of, new_model, read_history, train

# Keras hands TensorFlow variables to numpy in a way that numpy 2 deprecates.
NUMPY_COPY = "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
pytestmark = pytest.mark.filterwarnings(NUMPY_COPY)

SMOKE = preset("smoke", variant="q1net-no-bottleneck", optimizer="muon", steps=6, validation_every=3, batch_size=16)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six small lossless training images in train/, two in valid/."""
    folder = tmp_path_factory.mktemp("images")
    for name, seeds in {"train": range(6), "valid": range(6, 8)}.items():
        (folder / name).mkdir()
        for seed in seeds:
            Image.fromarray(make_picture(seed, 64, 64)).save(folder / name / f"{seed}.png")
    return folder


def run(config: TrainConfig, images: Path, folder: Path, time_limit: float | None = None) -> TrainResult:
    return train(config, str(images / "train"), str(images / "valid"), folder, time_limit)


@pytest.fixture(scope="module")
def uninterrupted(images: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainResult]:
    folder = tmp_path_factory.mktemp("uninterrupted")
    return folder, run(SMOKE, images, folder)


def test_smoke_run_leaves_checkpoint_history_and_usable_weights(uninterrupted: tuple[Path, TrainResult]) -> None:
    folder, result = uninterrupted
    assert (result.steps, result.finished) == (6, True)
    lines = (folder / "history.jsonl").read_text().splitlines()
    rows = [json.loads(line, parse_constant=pytest.fail) for line in lines]
    assert [row["step"] for row in rows] == [3, 6]
    assert {"loss", "quality_error", "confidence_error", "val_mae", "val_patch_mae", "threshold"} <= set(rows[0])
    assert all(row["loss"] > 0 and row["val_patch_mae"] > 0 for row in rows)
    # So young a model is confident of nothing, and yet there are weights to go on with.
    assert (rows[0]["val_mae"], rows[0]["val_answered"], result.best_mae) == (None, 0.0, float("inf"))
    weights = read_weights(str(folder / "q1net-no-bottleneck.keras"))
    assert (weights.variant, weights.rule()) == ("q1net-no-bottleneck", result.best_rule)
    quality, _ = Q1Net(weights, patches_per_call=4).predict(np.zeros((1, 16, 16, 3), np.uint8))
    assert 0 <= quality[0] <= 100
    assert int(keras.saving.load_model(folder / "checkpoint.keras").optimizer.iterations) == 6


def test_card_tells_how_the_weights_were_made(uninterrupted: tuple[Path, TrainResult]) -> None:
    folder, result = uninterrupted
    card = json.loads((folder / "q1net-no-bottleneck.json").read_text(), parse_constant=pytest.fail)
    assert card["trained"] == json.loads(json.dumps(asdict(SMOKE))) | {
        "step": card["trained"]["step"],
        "patches": card["trained"]["step"] * 16,
    }
    best = next(row for row in read_history(folder) if row["step"] == card["trained"]["step"])
    assert card["validation"] == {name: best[name] for name in ("val_mae", "val_answered", "val_patch_mae")}
    assert mae_of(best) == result.best_mae
    assert card["made_with"]["backend"] == keras.backend.backend()


def test_resumed_run_equals_an_uninterrupted_one(
    uninterrupted: tuple[Path, TrainResult], images: Path, tmp_path: Path
) -> None:
    folder, expected = uninterrupted
    first = run(SMOKE, images, tmp_path, time_limit=0)
    assert (first.steps, first.finished) == (3, False)
    assert run(SMOKE, images, tmp_path, time_limit=600) == expected
    assert read_history(tmp_path) == read_history(folder)
    models = [keras.saving.load_model(path / "checkpoint.keras") for path in (folder, tmp_path)]
    states = [model.get_weights() + [np.array(v) for v in model.optimizer.variables] for model in models]
    for one, other in zip(*states, strict=True):
        assert np.array_equal(one, other)


def test_finished_run_does_nothing_more(uninterrupted: tuple[Path, TrainResult], images: Path) -> None:
    folder, expected = uninterrupted
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert run(SMOKE, images, folder) == expected
    assert {path: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_folder_of_another_configuration_is_refused(uninterrupted: tuple[Path, TrainResult], images: Path) -> None:
    changed = preset("smoke", variant="q1net-no-bottleneck", seed=2)
    with pytest.raises(ConfigError, match="another configuration"):
        run(changed, images, uninterrupted[0])


def test_folder_of_a_training_from_before_a_setting_existed_is_gone_on_with(images: Path, tmp_path: Path) -> None:
    config = replace(SMOKE, optimizer="adam", steps=3)
    run(config, images, tmp_path)
    stored = json.loads((tmp_path / "config.json").read_text())
    del stored["alterations"]
    (tmp_path / "config.json").write_text(json.dumps(stored))
    assert run(config, images, tmp_path).finished
    with pytest.raises(ConfigError, match="another configuration"):
        run(replace(config, alterations=(("noise", 0.5),)), images, tmp_path)


def test_training_on_altered_places_starts_from_other_weights_and_reports_each_alteration(
    uninterrupted: tuple[Path, TrainResult], images: Path, tmp_path: Path
) -> None:
    start = str(uninterrupted[0] / "q1net-no-bottleneck.keras")
    alterations = PRESETS["robust"].alterations
    config = replace(SMOKE, optimizer="adam", steps=3, start_from=start, alterations=alterations)
    assert np.array_equal(new_model(config).get_weights()[0], load_model(read_weights(start)).get_weights()[0])
    assert run(config, images, tmp_path).finished
    (row,) = read_history(tmp_path)
    names = {f"val_{name}_mae" for name, _ in alterations}
    assert {name for name in row if name.startswith("val_")} == names | {"val_mae", "val_answered", "val_patch_mae"}
    assert all(0 < row[name] < 100 for name in names)


def test_weights_of_another_architecture_are_no_start() -> None:
    with pytest.raises(ConfigError, match="weights of q1net-k8; expected the architecture of q1net-k6"):
        new_model(preset("robust", variant="q1net-k6"))


def test_error_without_answers_is_infinite_and_null_in_the_history() -> None:
    assert mae_of({"val_mae": None}) == float("inf")
    assert mae_of({"val_mae": 2.5}) == 2.5


def test_command_line_reports_what_is_wrong(images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--images", str(tmp_path / "none"), "--validation-images", str(images / "valid")]
    output = ["--output", str(tmp_path / "out"), "--preset", "smoke"]
    assert command.run([*arguments, *output, "--variant", "q1net-k9"]) == 2
    assert "variant is 'q1net-k9'; expected one of q1net-k8" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        command.run([*arguments, *output[:-1], "none"])


def test_batches_depend_on_seed_and_step_alone() -> None:
    corpus = [make_picture(seed, 64, 80) for seed in range(3)]
    first = list(islice(batches(corpus, SMOKE), 4))
    resumed = list(islice(batches(corpus, SMOKE, start=2), 2))
    for (patches, levels), (again, levels_again) in zip(first[2:], resumed, strict=True):
        assert np.array_equal(patches, again)
        assert np.array_equal(levels, levels_again)
    assert not np.array_equal(first[0][0], first[1][0])
    other = next(batches(corpus, preset("smoke", batch_size=16, seed=2)))
    assert not np.array_equal(other[0], first[0][0])


def test_batch_has_patches_of_the_whole_compressed_image() -> None:
    picture = make_picture(5, 96, 72)
    config = preset("smoke", batch_size=64, locations_per_level=4, levels_per_location=2)
    patches, levels = next(batches([picture], config))
    assert (patches.shape, patches.dtype, levels.dtype) == ((64, 16, 16, 3), np.uint8, np.float32)
    assert len(np.unique(levels)) == 16
    tops, lefts = (
        grid.ravel() for grid in np.meshgrid(np.arange(4, 96 - 16, 8), np.arange(4, 72 - 16, 8), indexing="ij")
    )
    found: Counter[int] = Counter()
    for patch, level in zip(patches, levels, strict=True):
        candidates = cut_windows(compress_jpeg(picture, int(level)), tops, lefts, 16)
        matches = np.flatnonzero((candidates == patch).all(axis=(1, 2, 3)))
        assert len(matches) > 0
        found[int(matches[0])] += 1
    # 32 random places among 60, each at two levels.
    assert len(found) > 20
    assert all(count % 2 == 0 for count in found.values())


def test_levels_are_drawn_equally_often() -> None:
    rng = np.random.default_rng(1)
    _, counts = np.unique(draw_levels(rng, 3 * len(LEVELS)), return_counts=True)
    assert counts.tolist() == [3] * len(LEVELS)
    some = draw_levels(rng, 64)
    assert len(set(some.tolist())) == 64
    assert some.tolist() != sorted(some.tolist())


def test_larger_images_are_drawn_more_often() -> None:
    dark, light = np.zeros((128, 128, 3), np.uint8), np.full((64, 64, 3), 255, np.uint8)
    patches, _ = next(
        batches([dark, light], preset("smoke", batch_size=1200, locations_per_level=12, levels_per_location=1))
    )
    share = (patches[:, 0, 0, 0] < 128).mean()
    assert share == pytest.approx(2 / 3, abs=0.05)


def test_images_without_room_for_a_tile_are_refused() -> None:
    with pytest.raises(ConfigError, match="20 x 64 pixels; expected at least 32 x 32"):
        next(batches([make_picture(1, 64, 64), make_picture(1, 64, 64)[:, :20]], SMOKE))


def test_corpus_is_every_image_in_order(images: Path) -> None:
    corpus = load_corpus(str(images / "train"))
    assert len(corpus) == 6
    assert np.array_equal(corpus[4], make_picture(4, 64, 64))
    with pytest.raises(ConfigError, match="no image matches"):
        load_corpus(str(images / "none"))


def test_validation_set_is_every_image_at_every_level_as_the_audit_sees_it() -> None:
    corpus = [make_picture(seed, 64, 64) for seed in (1, 2)]
    patches, truth = validation_set(corpus, (20, 80), 16)
    assert patches.shape == (4, 16, 16, 16, 3)
    assert truth.tolist() == [20, 80, 20, 80]
    assert np.array_equal(patches[3], sample_patches(compress_jpeg(corpus[1], 80), 16))
    with pytest.raises(ConfigError, match="fewer than 64 patches"):
        validation_set([make_picture(1, 64, 64), make_picture(2, 128, 128)], (50,), 64)


TRUTH = np.float32([50, 80, 30])
PREDICTED = np.float32([[60, 70], [80, 90], [25, 99]])


def test_loss_by_hand() -> None:
    # Errors 10, 0, 5 mean confidences of 90, 100, 95, which are off by 20, 10, 4.
    assert np.asarray(quality_error(TRUTH, PREDICTED)).tolist() == [10, 0, 5]
    assert np.asarray(confidence_error(TRUTH, PREDICTED)).tolist() == [20, 10, 4]
    for truth in (TRUTH, TRUTH[:, None]):
        assert np.asarray(ConfidenceAwareLoss(0.5).call(truth, PREDICTED)).tolist() == [20, 5, 7]
    assert float(ConfidenceAwareLoss(0.25)(TRUTH, PREDICTED)) == pytest.approx((15 + 2.5 + 6) / 3)


def test_confidence_error_does_not_move_the_quality() -> None:
    predicted = tf.Variable(PREDICTED)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(ConfidenceAwareLoss(0.5).call(tf.constant(TRUTH), predicted))
    gradient = tape.gradient(loss, predicted).numpy()
    assert gradient[:, 0].tolist() == [1, 0, -1]
    assert gradient[:, 1].tolist() == [-0.5, -0.5, 0.5]


def test_loss_survives_serialisation() -> None:
    loss = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(ConfidenceAwareLoss(0.25)))
    assert isinstance(loss, ConfidenceAwareLoss)
    assert loss.confidence_weight == 0.25


def step_muon(shape: tuple[int, ...], gradient: np.ndarray) -> np.ndarray:
    """Change of a variable by the first step of Muon."""
    variable = keras.Variable(np.zeros(shape, np.float32))
    optimizer = KernelMuon(0.1, weight_decay=0.0, adam_weight_decay=0.0)
    optimizer.apply([tf.constant(gradient, tf.float32)], [variable])
    return np.asarray(variable.value)


def test_muon_evens_out_the_directions_of_a_kernels_gradient() -> None:
    rng = np.random.default_rng(1)
    # Nearly all of one sign, so that Adam's step would have one direction alone.
    gradient = rng.normal(1, 0.3, (3, 3, 4, 8))
    step = step_muon((3, 3, 4, 8), gradient)
    before, after = (np.linalg.svd(matrix.reshape(36, 8), compute_uv=False) for matrix in (gradient, step))
    assert before[0] / before[-1] > 10
    assert after[0] / after[-1] < 2
    assert float((step * gradient).sum()) < 0
    assert step_muon((3, 3, 4, 8), 1000 * gradient) == pytest.approx(step, rel=0.05, abs=1e-3)


@pytest.mark.parametrize("shape", [(8,), (8, 2), (3, 3, 3, 8)])
def test_muon_leaves_all_but_inner_kernels_to_adam(shape: tuple[int, ...]) -> None:
    gradient = np.random.default_rng(1).normal(size=shape)
    step = step_muon(shape, gradient)
    # Adam's first step has one size in every element.
    assert np.array_equal(np.sign(step), -np.sign(gradient))
    assert np.ptp(np.abs(step)) < 1e-2 * np.abs(step).max()


@pytest.mark.parametrize("name", ["adam", "muon"])
def test_optimizer_survives_serialisation_with_its_schedule(name: str) -> None:
    optimizer = make_optimizer(name, 0.01, warmup_steps=10, steps=110)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(optimizer))
    assert type(again) is type(optimizer)
    schedule = again.get_config()["learning_rate"]
    schedule = keras.saving.deserialize_keras_object(schedule)
    rates = [float(schedule(step)) for step in (0, 10, 60, 110)]
    assert rates == pytest.approx([0.0005, 0.01, 0.005, 0.0], abs=1e-6)


def test_new_model_is_seeded() -> None:
    one, same, other = (new_model(preset("smoke", variant="q1net-no-bottleneck", seed=seed)) for seed in (1, 1, 2))
    assert np.array_equal(one.get_weights()[0], same.get_weights()[0])
    assert not np.array_equal(one.get_weights()[0], other.get_weights()[0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"variant": "resnet"}, "variant is 'resnet'; expected one of q1net-k8"),
        ({"optimizer": "sgd"}, "optimizer is 'sgd'; expected adam or muon"),
        ({"batch_size": 30}, "batch_size is 30; expected a positive multiple"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"steps": 2}, "steps is 2; expected more than the 2 warm-up steps"),
        ({"validation_every": 0}, "validation_every is 0"),
        ({"validation_every": 5}, "validation_every is 5 and steps is 12; expected a multiple"),
        ({"levels_per_location": 0}, "batch_size is 32; expected a positive multiple of 0"),
        ({"variant": "q1net-regressor"}, "no confidence output"),
    ],
)
def test_impossible_configuration_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        preset("smoke", **changes)


def test_unknown_preset_lists_the_presets() -> None:
    with pytest.raises(ConfigError, match=f"'huge'; expected one of {', '.join(PRESETS)}"):
        preset("huge")


@pytest.mark.slow
def test_training_runs_on_jax(images: Path, tmp_path: Path) -> None:
    arguments = [sys.executable, "-m", "training", "--preset", "smoke", "--variant", "q1net-no-bottleneck"]
    folders = ["--images", images / "train", "--validation-images", images / "valid", "--output", tmp_path]
    environment = os.environ | {"KERAS_BACKEND": "jax"}
    result = subprocess.run([*arguments, *folders], env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "finished: step 12 of 12" in result.stdout
    assert json.loads((tmp_path / "q1net-no-bottleneck.json").read_text())["made_with"]["backend"] == "jax"
