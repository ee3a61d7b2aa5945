"""train(config): patches in, weights out; checkpoints, resumes by itself, keeps to a time limit."""

import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

import keras
import numpy as np

from q1net_core.errors import ConfigError
from q1net_core.network.predictor import load_model
from q1net_core.network.variants import VARIANTS, Variant
from q1net_core.network.weights import Card, read_card, read_weights, write_card
from q1net_core.patches import DEFAULT_PATCHES
from q1net_core.records import FusionRule
from training.calibration import choose_rules
from training.config import TrainConfig
from training.data.photographs import Data, prefetch
from training.losses import make_loss, make_metrics
from training.optimizers import make_optimizer
from training.progress import Progress, TimeLimit
from training.validation import (
    CHECKPOINT,
    HISTORY,
    Validate,
    describe_rules,
    predict_sets,
    read_history,
    stops_early,
)

# In a training's folder: what was known of its origin when it started.
ORIGIN = "origin.json"
# Dense where levels differ most, at both ends.
CALIBRATION_LEVELS = (1, 2, 3, *range(5, 91, 5), 92, 94, 95, 96, 97, 98, 99, 100)
# With a momentum of 0.9, what batch normalisation had learnt before counts for 1 % after so many batches.
BATCH_NORM_BATCHES = 40


@dataclass(frozen=True, slots=True)
class TrainResult:
    """Where a training stands: ``finished`` is False when the time limit came first; resume by calling again.

    ``best_rule`` is None, and there are no weights, until the first validation.
    """

    steps: int
    finished: bool
    best_mae: float
    best_rule: FusionRule | None


def remove_kernel_means(model: keras.Model) -> None:
    """Start the first convolution blind to brightness, with kernels of zero mean.

    Traces of compression are small beside the picture: with plain Glorot kernels the constant answer held for 600
    steps at best, and in most trials until they were stopped; with these, for less than 200.
    """
    kernel = next(layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)).kernel
    kernel.assign(kernel - keras.ops.mean(kernel, axis=(0, 1), keepdims=True))


def more_classes(start: Variant, variant: Variant) -> bool:
    """Whether both are classifiers that differ in the number of classes alone, ``variant`` having more."""
    few, many = dict(start.architecture.parameters), dict(variant.architecture.parameters)
    alike = replace(start.architecture, parameters=few | {"alpha": many.get("alpha")}) == variant.architecture
    return alike and "classes" in many and few["alpha"] < many["alpha"]


def grow_classes(values: list[np.ndarray], classes: int) -> list[np.ndarray]:
    """Weights of a classifier of few classes -> of many: each class begins as the one that its levels were part of.

    Source: BMVC 2021, section 3.3, which grows the classifier from two classes to 100.
    """
    *body, kernel, bias = values
    parts = np.arange(classes) * len(bias) // classes
    return [*body, kernel[:, parts], bias[parts]]


def new_model(config: TrainConfig) -> keras.Model:
    """Compiled model of the config's variant, seeded: untrained, or with the weights it is to start from."""
    keras.utils.set_random_seed(config.seed)
    variant = VARIANTS[config.variant]
    model = variant.architecture.build()
    if config.start_from is None:
        remove_kernel_means(model)
    else:
        file = read_weights(config.start_from, codecs=None)
        values = load_model(file).get_weights()
        if more_classes(file.network, variant):
            values = grow_classes(values, model.output_shape[-1])
        elif file.network.architecture != variant.architecture:
            raise ConfigError(
                f"start_from is {config.start_from!r}, weights of {file.variant}; expected the architecture of "
                f"{config.variant}"
            )
        model.set_weights(values)
    model.compile(
        optimizer=make_optimizer(
            config.optimizer, config.learning_rate, config.warmup_steps, config.steps, config.ema_momentum
        ),
        loss=make_loss(variant.loss, config.confidence_weight, variant.largest),
        metrics=make_metrics(variant.loss, variant.largest),
    )
    return model


def calibrate_weights(weights: str, data: Data, alterations: Sequence[str] = ()) -> None:
    """Choose the fusion rules of finished weights on whole validation images, sampled as inference samples them.

    Clean ones at levels all over the scale, or, for weights that answer where no compression can be read, those after
    each of ``alterations``. Rewrites the card beside ``weights``, the uri of a .keras file.
    """
    if alterations:
        sets = [data.altered(name, DEFAULT_PATCHES) for name in alterations]
        patch_sets = np.concatenate([patches for patches, _ in sets])
        truth = np.concatenate([levels for _, levels in sets])
    else:
        patch_sets, truth = data.inference_sets(CALIBRATION_LEVELS)
    card = read_card(weights, finished=False)
    model = keras.saving.load_model(weights, compile=False)
    rules = choose_rules(*predict_sets(model, card.variant, patch_sets), truth)
    sampled: dict[str, Any] = {"patches": patch_sets.shape[1], "positions": "uniform"}
    sampled |= {"levels": sorted({int(level) for level in truth})} | (
        {"alterations": list(alterations)} if alterations else {}
    )
    write_card(replace(card, fusions=describe_rules(rules), calibration=sampled), weights)


def describe_scale(variant: Variant) -> dict[str, Any]:
    """What a card says of levels that are no JPEG quality: what they are called, the largest, the side of a patch."""
    if variant.codec == "jpeg":
        return {}
    return {"scale": variant.scale, "largest_level": variant.largest, "patch": variant.input.size}


def describe_origin(config: TrainConfig, data: Data, folder: Path) -> Card:
    """What the card of this training's weights says of their origin: pictures, codec, the weights it started from.

    Raises:
        ConfigError: the folder holds a training on other pictures.
    """
    stored = folder / ORIGIN
    provenance = data.provenance()
    if stored.exists():
        card = Card.from_json(stored.read_text())
        if (card.pictures, card.codec) != (provenance.pictures, provenance.codec):
            raise ConfigError(
                f"{folder} holds a training on other pictures or of another codec ({stored}); choose another --output, "
                "or give the pictures it began with"
            )
        return card
    start = config.start_from
    if (folder / CHECKPOINT).exists():
        # It began before origins were kept: nobody knows what these weights were then.
        start = None
    card = Card(
        config.variant,
        codec=provenance.codec,
        codec_versions=provenance.codec_versions,
        pictures=provenance.pictures,
        start_sha256=None if start is None else read_weights(start, codecs=None).sha256,
        more=describe_scale(VARIANTS[config.variant]),
    )
    stored.write_text(card.to_json())
    return card


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
    checkpoint = folder / CHECKPOINT
    model = keras.saving.load_model(checkpoint) if checkpoint.exists() else new_model(config)
    stored.write_text(text)
    # A kill between the two files leaves a validation that is about to be done again.
    rows = [row for row in read_history(folder) if row["step"] <= int(model.optimizer.iterations)]
    (folder / HISTORY).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return model


def make_callbacks(
    config: TrainConfig, data: Data, folder: Path, card: Card, limit: TimeLimit
) -> list[keras.callbacks.Callback]:
    """What happens while the training runs: validation, curves, lines of progress, its end in time."""
    altered = {name: data.altered(name, config.validation_patches) for name, _ in config.alterations}
    clean = data.patch_sets(config.validation_levels, config.validation_patches)
    first = islice(data.batches(config, 0), 0 if config.ema_momentum is None else BATCH_NORM_BATCHES)
    batches = [patches for patches, _ in first]
    callbacks: list[keras.callbacks.Callback] = [Validate(config, folder, card, clean, altered, batches)]
    if find_spec("tensorboard") and find_spec("tensorflow"):
        callbacks.append(keras.callbacks.TensorBoard(folder / "tensorboard", write_graph=False))
    # On a terminal, Keras draws a bar.
    return [*callbacks, limit] if os.isatty(1) else [*callbacks, Progress(config), limit]


def fit(model: keras.Model, config: TrainConfig, data: Data, callbacks: list[keras.callbacks.Callback]) -> None:
    """Train from the model's step to the last one, or to the end of the epoch that a time limit ended it in.

    Callbacks may end it before. The model is of no more use then, for Keras leaves it with averages for weights.
    """
    step = int(model.optimizer.iterations)
    epoch, rest = step // config.validation_every, -step % config.validation_every
    model.fit(
        prefetch(data.batches(config, step)),
        initial_epoch=epoch,
        epochs=epoch + 1 if rest else config.steps // config.validation_every,
        steps_per_epoch=rest or config.validation_every,
        callbacks=callbacks,
        shuffle=False,
        verbose="auto" if os.isatty(1) else 2,
    )


def is_finished(model: keras.Model, config: TrainConfig, folder: Path) -> bool:
    """Whether all steps are done, or nothing has become better for long."""
    return int(model.optimizer.iterations) >= config.steps or stops_early(read_history(folder), config.patience)


def train(config: TrainConfig, data: Data, folder: Path, time_limit: float | None = None) -> TrainResult:
    """Train a variant, or go on where the folder's checkpoint stands.

    Args:
        config: everything that decides the outcome.
        data: where patches and validation images come from.
        folder: gets checkpoint.keras, origin.json, history.jsonl, history.png, tensorboard/, the best weights and
            their card.
        time_limit: seconds, which the last step or validation may exceed; None trains all steps.

    Raises:
        ConfigError: no images, an impossible configuration, or a folder of another configuration or other pictures.
    """
    limit = TimeLimit(time_limit)
    folder.mkdir(parents=True, exist_ok=True)
    model = start_or_resume(config, folder)
    card = describe_origin(config, data, folder)
    if not is_finished(model, config, folder):
        callbacks = make_callbacks(config, data, folder, card, limit)
        while not (is_finished(model, config, folder) or limit.reached):
            fit(model, config, data, callbacks)
            model = keras.saving.load_model(folder / CHECKPOINT)
    steps, finished = int(model.optimizer.iterations), is_finished(model, config, folder)
    if not read_history(folder):
        return TrainResult(steps, finished, math.inf, None)
    weights = str(folder / f"{config.variant}.keras")
    if finished and not read_card(weights).calibration:
        calibrate_weights(weights, data, [name for name, _ in config.alterations])
    card = read_card(weights)
    best = card.rules[0]
    mae = card.fusions[best.fusion]["val_mae"]
    return TrainResult(steps, finished, math.inf if mae is None else mae, best)
