"""After each epoch: validate, record, keep the best weights, checkpoint, stop early."""

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import keras
import numpy as np

from q1net_core import __version__
from q1net_core.fusion import fuse_weighted_median
from q1net_core.network.weights import write_weights
from q1net_core.records import Float32Array, UInt8Array
from training.calibration import MIN_ANSWERED, ChosenRule, choose_rules
from training.config import TrainConfig
from training.data.photographs import Labelled
from training.losses import read_outputs
from training.plots import plot_history

PREDICT_BATCH = 1024
CHECKPOINT = "checkpoint.keras"
HISTORY = "history.jsonl"
PLOT = "history.png"


def predict_stacks(model: keras.Model, stacks: UInt8Array) -> tuple[Float32Array, Float32Array]:
    """Patches uint8 [images, N, 16, 16, 3] -> quality and confidence, float32 [images, N] each."""
    flat = stacks.reshape(-1, *stacks.shape[2:])
    outputs = [
        np.asarray(model.predict_on_batch(flat[start : start + PREDICT_BATCH]))
        for start in range(0, len(flat), PREDICT_BATCH)
    ]
    quality, confidence = read_outputs(np.concatenate(outputs))
    return quality.reshape(stacks.shape[:2]), confidence.reshape(stacks.shape[:2])


def error_of(model: keras.Model, stacks: UInt8Array, truth: Float32Array) -> float:
    """Mean error of images' weighted medians over all their patches: no threshold, no calibration."""
    fused = [
        fuse_weighted_median(*image, threshold=-1.0).quality
        for image in zip(*predict_stacks(model, stacks), strict=True)
    ]
    return float(np.mean([abs(value - true) for value, true in zip(fused, truth, strict=True) if value is not None]))


@contextmanager
def averaged(model: keras.Model, settling: Sequence[UInt8Array]) -> Iterator[None]:
    """The model with its optimizer's averages for weights, where it keeps any; as it was afterwards.

    Averaged weights have their own statistics of activations: batch normalisation learns them from ``settling``.
    """
    if not model.optimizer.use_ema:
        yield
        return
    # Copies: JAX gives an array's memory away with the next call, and others that share it lose theirs.
    before = [np.array(value) for value in model.get_weights()]
    for variable, average in zip(
        model.trainable_variables, model.optimizer._model_variables_moving_average, strict=True
    ):
        variable.assign(np.array(keras.ops.convert_to_numpy(average)))
    for patches in settling:
        model(patches, training=True)
    yield
    model.set_weights(before)


class Validate(keras.callbacks.Callback):
    """After each epoch: error of the fused estimates on the validation images; checkpoint; keep the best weights.

    Args:
        config: of the training.
        folder: gets history, plot, checkpoint and the best weights.
        clean: the validation images, which choose.
        altered: for each alteration of the config images that it happened to; reported, they choose nothing.
        settling: patches of some batches, for averaged weights.
    """

    def __init__(
        self,
        config: TrainConfig,
        folder: Path,
        clean: Labelled,
        altered: dict[str, Labelled],
        settling: Sequence[UInt8Array],
    ) -> None:
        super().__init__()
        self.config, self.folder, self.altered, self.settling = config, folder, altered, settling
        self.patches, self.truth = clean

    def validate(self) -> tuple[list[ChosenRule], dict[str, float]]:
        """Fusion rules chosen on the validation images, the best first, and all figures."""
        quality, confidence = predict_stacks(self.model, self.patches)
        rules = choose_rules(quality, confidence, self.truth)
        patch_mae = float(np.abs(quality - self.truth[:, None]).mean())
        figures = {"val_mae": rules[0].mae, "val_answered": rules[0].answered, "val_patch_mae": patch_mae}
        figures |= {f"val_{name}_mae": error_of(self.model, *images) for name, images in self.altered.items()}
        return rules, figures

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Validate, record, keep the best, checkpoint; stop if nothing became better for long."""
        step = int(self.model.optimizer.iterations)
        rows = read_history(self.folder)
        with averaged(self.model, self.settling):
            rules, figures = self.validate()
            choice = rules[0]
            values = {name: float(value) for name, value in (logs or {}).items()} | figures
            # JSON knows no infinity, the error while no patch is confident.
            row = {"step": step, "fusion": choice.rule.fusion, "threshold": choice.rule.threshold} | {
                name: value if math.isfinite(value) else None for name, value in values.items()
            }
            best = min(map(mae_of, rows), default=math.inf)
            if mae_of(row) < best or math.isinf(best):
                card = make_card(self.config, row) | describe_rules(rules)
                write_weights(self.model, str(self.folder / f"{self.config.variant}.keras"), card)
        if logs is not None:
            logs.update(figures)
        rows.append(row)
        with (self.folder / HISTORY).open("a") as file:
            file.write(json.dumps(row) + "\n")
        if find_spec("matplotlib"):
            (self.folder / PLOT).write_bytes(plot_history(rows))
        save_atomically(self.model, self.folder / CHECKPOINT)
        if is_stale(rows, self.config.patience):
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


def is_stale(rows: Sequence[dict[str, Any]], patience: int | None) -> bool:
    """Whether the last ``patience`` validations all came after the best one; never while too few are answered for."""
    if patience is None or not rows:
        return False
    errors = [mae_of(row) for row in rows]
    best = min(errors)
    return math.isfinite(best) and len(errors) - 1 - errors.index(best) >= patience


def make_card(config: TrainConfig, row: dict[str, Any]) -> dict[str, object]:
    """What a weights card says of its weights: variant, validation figures and everything that made them."""
    step = int(row["step"])
    return {
        "variant": config.variant,
        "validation": {name: value for name, value in row.items() if name.startswith("val_")},
        "trained": asdict(config) | {"step": step, "patches": config.patches_until(step)},
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
