"""After each epoch: validate, record, keep the best weights, checkpoint, stop early."""

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from q1net_core import __version__
from q1net_core.fusion import fuse_weighted_median
from q1net_core.network.variants import VARIANTS
from q1net_core.network.weights import Card, write_weights
from q1net_core.records import Float32Array, UInt8Array
from training.calibration import MIN_ANSWERED, ChosenRule, choose_rules
from training.config import TrainConfig
from training.data.photographs import Labelled
from training.plots import plot_history

# So many bytes of samples are predicted at a time.
PREDICT_BYTES = 1024 * 16 * 16 * 3
CHECKPOINT = "checkpoint.keras"
HISTORY = "history.jsonl"
PLOT = "history.png"


def predict_sets(model: keras.Model, variant: str, patch_sets: UInt8Array) -> tuple[Float32Array, Float32Array]:
    """Quality and confidence of the patches of each image, float32 [images, N] each.

    Args:
        model: of the variant, trained or in training.
        variant: a name in VARIANTS, which says what the outputs mean.
        patch_sets: uint8 [images, N, h, w, 3].
    """
    flat = patch_sets.reshape(-1, *patch_sets.shape[2:])
    together = max(PREDICT_BYTES // flat[0].nbytes, 1)
    read = VARIANTS[variant].read_outputs
    answers = [
        read(np.asarray(model.predict_on_batch(flat[start : start + together])))
        for start in range(0, len(flat), together)
    ]
    quality, confidence = (np.concatenate(values) for values in zip(*answers, strict=True))
    return quality.reshape(patch_sets.shape[:2]), confidence.reshape(patch_sets.shape[:2])


def error_of(model: keras.Model, variant: str, patch_sets: UInt8Array, truth: Float32Array) -> float:
    """Mean error of images' weighted medians over all their patches: no threshold, no calibration."""
    fused = [
        fuse_weighted_median(*image, threshold=-1.0).quality
        for image in zip(*predict_sets(model, variant, patch_sets), strict=True)
    ]
    return float(np.mean([abs(value - true) for value, true in zip(fused, truth, strict=True) if value is not None]))


@contextmanager
def averaged(model: keras.Model, batches: Sequence[UInt8Array]) -> Iterator[None]:
    """The model with its optimizer's averages for weights, where it keeps any; afterwards it is as it was.

    Averaged weights have activations of their own: batch normalisation re-estimates its statistics from ``batches``.
    """
    if not model.optimizer.use_ema:
        yield
        return
    before = copy_weights(model)
    model.optimizer.finalize_variable_values(model.trainable_variables)
    model.set_weights(copy_weights(model))
    for patches in batches:
        model(patches, training=True)
    yield
    model.set_weights(before)


def copy_weights(model: keras.Model) -> list[np.ndarray]:
    """All weights. Copies, for JAX gives an array's memory away with the next call, whoever else holds the array."""
    return [np.array(value) for value in model.get_weights()]


class Validate(keras.callbacks.Callback):
    """After each epoch: error of the fused estimates on the validation images; checkpoint; keep the best weights.

    After an epoch that was stopped before its last step there is a checkpoint alone: the rest of it comes first.

    Args:
        config: of the training.
        folder: gets history, plot, checkpoint and the best weights.
        card: where the training comes from.
        clean: the validation images, which choose.
        altered: for each alteration of the config images that it happened to; reported, they choose nothing.
        batches: patches that batch normalisation is re-estimated from, for averaged weights.
    """

    def __init__(
        self,
        config: TrainConfig,
        folder: Path,
        card: Card,
        clean: Labelled,
        altered: dict[str, Labelled],
        batches: Sequence[UInt8Array],
    ) -> None:
        super().__init__()
        self.config, self.folder, self.card, self.altered, self.batches = config, folder, card, altered, batches
        self.patch_sets, self.truth = clean

    def validate(self) -> tuple[list[ChosenRule], dict[str, float]]:
        """Fusion rules chosen on the validation images, the best first, and all figures."""
        quality, confidence = predict_sets(self.model, self.config.variant, self.patch_sets)
        rules = choose_rules(quality, confidence, self.truth)
        patch_mae = float(np.abs(quality - self.truth[:, None]).mean())
        figures = {"val_mae": rules[0].mae, "val_answered": rules[0].answered, "val_patch_mae": patch_mae}
        figures |= {
            f"val_{name}_mae": error_of(self.model, self.config.variant, *images)
            for name, images in self.altered.items()
        }
        return rules, figures

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Validate, record, keep the best, checkpoint; stop if nothing became better for long."""
        step = int(self.model.optimizer.iterations)
        if step % self.config.validation_every:
            save_atomically(self.model, self.folder / CHECKPOINT)
            return
        rows = read_history(self.folder)
        with averaged(self.model, self.batches):
            rules, figures = self.validate()
            choice = rules[0]
            values = {name: float(value) for name, value in (logs or {}).items()} | figures
            # JSON knows no infinity, the error while no patch is confident.
            row = {"step": step, "fusion": choice.rule.fusion, "threshold": choice.rule.threshold} | {
                name: value if math.isfinite(value) else None for name, value in values.items()
            }
            best = min(map(mae_of, rows), default=math.inf)
            if mae_of(row) < best or math.isinf(best):
                card = replace(complete_card(self.card, self.config, row), fusions=describe_rules(rules))
                write_weights(self.model, str(self.folder / f"{self.config.variant}.keras"), card)
        if logs is not None:
            logs.update(figures)
        rows.append(row)
        with (self.folder / HISTORY).open("a") as file:
            file.write(json.dumps(row) + "\n")
        (self.folder / PLOT).write_bytes(plot_history(rows))
        save_atomically(self.model, self.folder / CHECKPOINT)
        if stops_early(rows, self.config.patience):
            self.model.stop_training = True


def save_atomically(model: keras.Model, path: Path) -> None:
    """Save model and optimizer so that a kill at any moment leaves either the old file or the new one."""
    unfinished = path.with_name(f"unfinished-{path.name}")
    model.save(unfinished)
    unfinished.replace(path)


def read_history(folder: Path) -> list[dict[str, Any]]:
    """One dict per validation so far, oldest first; values that are not finite are None."""
    path = folder / HISTORY
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def mae_of(row: dict[str, Any]) -> float:
    """Validation error of a row of the history; infinite where too few images were answered for to compare it."""
    return float(row["val_mae"]) if row["val_answered"] >= MIN_ANSWERED else math.inf


def stops_early(rows: Sequence[dict[str, Any]], patience: int | None) -> bool:
    """Whether the last ``patience`` validations all came after the best one; never while too few are answered for."""
    if patience is None or not rows:
        return False
    errors = [mae_of(row) for row in rows]
    best = min(errors)
    return math.isfinite(best) and len(errors) - 1 - errors.index(best) >= patience


def complete_card(card: Card, config: TrainConfig, row: dict[str, Any]) -> Card:
    """A card with what a validation tells of its weights: figures, and everything that made them."""
    step = int(row["step"])
    return replace(
        card,
        validation={name: value for name, value in row.items() if name.startswith("val_")},
        trained=asdict(config) | {"step": step, "patches": config.patches_until(step)},
        made_with={"q1net": __version__, "keras": keras.version(), "backend": keras.backend.backend()},
    )


def describe_rules(rules: list[ChosenRule]) -> dict[str, dict[str, Any]]:
    """What a weights card says of fusion: each rule, the best first, with its validation error."""
    return {
        choice.rule.fusion: {
            "threshold": choice.rule.threshold,
            "calibration": choice.rule.calibration,
            "val_mae": choice.mae if math.isfinite(choice.mae) else None,
            "val_answered": choice.answered,
        }
        for choice in rules
    }
