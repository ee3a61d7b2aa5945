"""train(config): photographs in, weights out; checkpoints, resumes by itself, keeps to a time limit."""

import json
import math
import os
import time
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import keras
import numpy as np

from q1net_core import __version__
from q1net_core.errors import ConfigError
from q1net_core.fusion import fuse_weighted_median
from q1net_core.model import VARIANTS, build_model
from q1net_core.patches import DEFAULT_PATCHES
from q1net_core.records import Float32Array, FusionRule, UInt8Array
from q1net_core.storage import write_bytes
from q1net_core.weights import load_model, read_weights, write_weights
from training.calibration import ChosenRule, choose_rules
from training.config import TrainConfig
from training.dataset import altered_set, batches, check_sizes, load_corpus, validation_set
from training.losses import ConfidenceAwareLoss, confidence_error, quality_error
from training.optimizers import make_optimizer

PREDICT_BATCH = 1024
# Dense where levels differ most, at both ends.
CALIBRATION_LEVELS = (1, 2, 3, *range(5, 91, 5), 92, 94, 95, 96, 97, 98, 99, 100)
CHECKPOINT = "checkpoint.keras"
HISTORY = "history.jsonl"

# Patches of images uint8 [images, N, 16, 16, 3], and the images' levels float32.
Labelled = tuple[UInt8Array, Float32Array]


@dataclass(frozen=True, slots=True)
class TrainResult:
    """Where a training stands: ``finished`` is False when the time limit came first; resume by calling again."""

    steps: int
    finished: bool
    best_mae: float
    best_rule: FusionRule


def remove_kernel_means(model: keras.Model) -> None:
    """Start the first convolution blind to brightness, with kernels of zero mean.

    Traces of compression are small beside the picture: with plain Glorot kernels the constant answer held for 600
    steps at best, and in most trials until they were stopped; with these, for less than 200.
    """
    kernel = next(layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)).kernel
    kernel.assign(kernel - keras.ops.mean(kernel, axis=(0, 1), keepdims=True))


def new_model(config: TrainConfig) -> keras.Model:
    """Compiled model of the config's variant, seeded: untrained, or with the weights it is to start from."""
    keras.utils.set_random_seed(config.seed)
    model = build_model(VARIANTS[config.variant])
    if config.start_from is None:
        remove_kernel_means(model)
    else:
        file = read_weights(config.start_from)
        if VARIANTS[file.variant] != VARIANTS[config.variant]:
            raise ConfigError(
                f"start_from is {config.start_from!r}, weights of {file.variant}; expected the architecture of "
                f"{config.variant}"
            )
        model.set_weights(load_model(file).get_weights())
    model.compile(
        optimizer=make_optimizer(config.optimizer, config.learning_rate, config.warmup_steps, config.steps),
        loss=ConfidenceAwareLoss(config.confidence_weight),
        metrics=[quality_error, confidence_error],
    )
    return model


def save_atomically(model: keras.Model, path: Path) -> None:
    """Save model and optimizer so that a kill at any moment leaves either the old file or the new one."""
    unfinished = path.with_name(f"unfinished-{path.name}")
    model.save(unfinished)
    unfinished.replace(path)


def predict_stacks(model: keras.Model, stacks: UInt8Array) -> tuple[Float32Array, Float32Array]:
    """Patches uint8 [images, N, 16, 16, 3] -> quality and confidence, float32 [images, N] each."""
    flat = stacks.reshape(-1, *stacks.shape[2:])
    outputs = [
        np.asarray(model.predict_on_batch(flat[start : start + PREDICT_BATCH]))
        for start in range(0, len(flat), PREDICT_BATCH)
    ]
    quality, confidence = np.moveaxis(np.concatenate(outputs).reshape(*stacks.shape[:2], 2), -1, 0)
    return quality, confidence


def error_of(model: keras.Model, stacks: UInt8Array, truth: Float32Array) -> float:
    """Mean error of images' weighted medians over all their patches: no threshold, no calibration."""
    fused = [
        fuse_weighted_median(*image, threshold=-1.0).quality
        for image in zip(*predict_stacks(model, stacks), strict=True)
    ]
    return float(np.mean([abs(value - true) for value, true in zip(fused, truth, strict=True) if value is not None]))


class Validate(keras.callbacks.Callback):
    """After each epoch: error of the fused estimates on the validation images; checkpoint; keep the best weights.

    ``altered`` has for each alteration of the config images that it happened to; they are reported and choose nothing.
    """

    def __init__(self, config: TrainConfig, folder: Path, clean: Labelled, altered: dict[str, Labelled]) -> None:
        super().__init__()
        self.config, self.folder, self.altered = config, folder, altered
        self.patches, self.truth = clean
        self.history = folder / HISTORY
        self.best_mae = min(map(mae_of, read_history(folder)), default=None)

    def validate(self) -> tuple[list[ChosenRule], float]:
        """Fusion rules chosen on the validation images, the best first, and the mean error of single patches."""
        quality, confidence = predict_stacks(self.model, self.patches)
        patch_mae = float(np.abs(quality - self.truth[:, None]).mean())
        return choose_rules(quality, confidence, self.truth), patch_mae

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Validate, record, keep the best, checkpoint."""
        rules, patch_mae = self.validate()
        choice = rules[0]
        values = {name: float(value) for name, value in (logs or {}).items()}
        values |= {"val_mae": choice.mae, "val_answered": choice.answered, "val_patch_mae": patch_mae}
        values |= {f"val_{name}_mae": error_of(self.model, *images) for name, images in self.altered.items()}
        if logs is not None:
            logs.update(values)
        step = int(self.model.optimizer.iterations)
        # JSON knows no infinity, the error while no patch is confident.
        row = {"step": step, "fusion": choice.rule.fusion, "threshold": choice.rule.threshold} | {
            name: value if math.isfinite(value) else None for name, value in values.items()
        }
        if self.best_mae is None or choice.mae < self.best_mae:
            self.best_mae = choice.mae
            card = make_card(self.config, row) | describe_rules(rules)
            write_weights(self.model, str(self.folder / f"{self.config.variant}.keras"), card)
        with self.history.open("a") as file:
            file.write(json.dumps(row) + "\n")
        save_atomically(self.model, self.folder / CHECKPOINT)


class TimeLimit(keras.callbacks.Callback):
    """Ends the training after the epoch in which ``seconds`` have passed, leaving time for none beyond it."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.deadline = time.monotonic() + seconds
        self.slowest = 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Start the epoch's clock."""
        self.begun = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Stop when another epoch would not fit."""
        self.slowest = max(self.slowest, time.monotonic() - self.begun)
        if time.monotonic() + self.slowest > self.deadline:
            self.model.stop_training = True


def make_card(config: TrainConfig, row: dict[str, Any]) -> dict[str, object]:
    """What a weights card says of its weights: variant, validation figures and everything that made them."""
    return {
        "variant": config.variant,
        "validation": {name: value for name, value in row.items() if name.startswith("val_")},
        "trained": asdict(config) | {"step": row["step"], "patches": int(row["step"]) * config.batch_size},
        "made_with": {"q1net": __version__, "keras": keras.version(), "backend": keras.backend.backend()},
    }


def describe_rules(rules: list[ChosenRule]) -> dict[str, object]:
    """What a weights card says of fusion: each rule, the best first, with its validation error."""
    return {
        "fusions": {
            choice.rule.fusion: {
                "threshold": choice.rule.threshold,
                "calibration": choice.rule.calibration,
                "val_mae": choice.mae if math.isfinite(choice.mae) else None,
                "val_answered": choice.answered,
            }
            for choice in rules
        }
    }


def calibrate_weights(weights: Path, corpus: list[UInt8Array]) -> list[ChosenRule]:
    """Choose the fusion rules of finished weights on whole validation images at levels all over the scale.

    Rewrites the card beside the weights; returns the rules, the best first.
    """
    file = read_weights(str(weights))
    stacks, truth = validation_set(corpus, CALIBRATION_LEVELS, DEFAULT_PATCHES)
    rules = choose_rules(*predict_stacks(load_model(file), stacks), truth)
    card_path = weights.with_suffix(".json")
    card = json.loads(card_path.read_text()) | describe_rules(rules)
    write_bytes(str(card_path), (json.dumps(card, indent=2) + "\n").encode())
    return rules


def read_history(folder: Path) -> list[dict[str, Any]]:
    """One dict per validation so far, oldest first; values that are not finite are None."""
    path = folder / HISTORY
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def mae_of(row: dict[str, Any]) -> float:
    """Validation error of a row of the history; infinite where the model answered for no image."""
    return math.inf if row["val_mae"] is None else float(row["val_mae"])


def to_json(config: TrainConfig) -> str:
    """A config as the training's folder keeps it."""
    return json.dumps(asdict(config), indent=2) + "\n"


def start_or_resume(config: TrainConfig, folder: Path) -> keras.Model:
    """The model of the checkpoint in ``folder``, or a new one; raises ConfigError if the folder is another config's."""
    stored = folder / "config.json"
    text = to_json(config)
    # A training that began before a setting existed had its default.
    if stored.exists() and json.loads(to_json(TrainConfig())) | json.loads(stored.read_text()) != json.loads(text):
        raise ConfigError(
            f"{folder} holds a training with another configuration ({stored}); choose another --output, or delete it"
        )
    stored.write_text(text)
    checkpoint = folder / CHECKPOINT
    model = keras.saving.load_model(checkpoint) if checkpoint.exists() else new_model(config)
    # A kill between the two files leaves a validation that is about to be done again.
    rows = [row for row in read_history(folder) if row["step"] <= int(model.optimizer.iterations)]
    (folder / HISTORY).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return model


def train(
    config: TrainConfig, images: str, validation_images: str, folder: Path, time_limit: float | None = None
) -> TrainResult:
    """Train a variant, or go on where the folder's checkpoint stands.

    Args:
        config: everything that decides the outcome.
        images: file, folder or glob of lossless training images.
        validation_images: the same for the images that choose the threshold and the best weights.
        folder: gets checkpoint.keras, history.jsonl, tensorboard/, and the best weights with their card.
        time_limit: seconds; None trains all steps.

    Raises:
        ConfigError: no images, an impossible configuration, or a folder of another configuration.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model = start_or_resume(config, folder)
    step = int(model.optimizer.iterations)
    validation_corpus = load_corpus(validation_images)
    check_sizes(validation_corpus, config)
    validate = Validate(
        config,
        folder,
        validation_set(validation_corpus, config.validation_levels, config.validation_patches),
        {name: altered_set(validation_corpus, name, config.validation_patches) for name, _ in config.alterations},
    )
    callbacks: list[keras.callbacks.Callback] = [validate]
    if find_spec("tensorboard") and find_spec("tensorflow"):
        callbacks.append(keras.callbacks.TensorBoard(folder / "tensorboard", write_graph=False))
    if time_limit is not None:
        callbacks.append(TimeLimit(time_limit))
    if step < config.steps:
        model.fit(
            batches(load_corpus(images), config, start=step),
            initial_epoch=step // config.validation_every,
            epochs=-(-config.steps // config.validation_every),
            steps_per_epoch=config.validation_every,
            callbacks=callbacks,
            shuffle=False,
            verbose="auto" if os.isatty(1) else 2,
        )
    step = int(model.optimizer.iterations)
    weights = folder / f"{config.variant}.keras"
    if step >= config.steps:
        best = calibrate_weights(weights, validation_corpus)[0]
        return TrainResult(step, True, best.mae, best.rule)
    row = min(read_history(folder), key=mae_of)
    return TrainResult(step, False, mae_of(row), read_weights(str(weights)).rule())
