"""The rows of the paper's Table 3 as data, each trained and evaluated by one command: `q1net train --ablation ROW`."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from io import BytesIO
from operator import add
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from q1net_core.errors import ConfigError
from q1net_core.markdown import to_markdown
from q1net_core.metrics import QualityErrors
from q1net_core.network.variants import VARIANTS
from q1net_core.records import Float32Array, UInt8Array
from q1net_core.storage import write_bytes
from training.calibration import choose_rule, fuse_all
from training.config import TrainConfig
from training.data.photographs import LEVELS, Data, Labelled
from training.trainer import CALIBRATION_LEVELS, train
from training.validation import predict_sets

# Candidates for a threshold: the values that 0 %, 2 %, 4 % ... 98 % of the validation patches do not exceed.
QUANTILES = np.linspace(0, 0.98, 50)
COLUMNS = {
    "row": "row", "alpha": "alpha", "lambda": "lambda", "k": "k", "bottlenecks": "bottlenecks", "selection": "patches",
    "parameters": "parameters", "mae": "MAE", "sde": "SDE", "answered": "answered", "paper_mae": "paper's MAE",
    "paper_sde": "paper's SDE",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Ablation:
    """One row of the table.

    Args:
        paper: MAE and SDE that the paper gives.
        changes: fields of TrainConfig that differ from the baseline.
        selection: by which value patches are selected, a name in SELECTIONS.
    """

    paper: tuple[float, float]
    changes: dict[str, Any] = field(default_factory=dict)
    selection: str = "confidence"


# Two rows may share a training. Source: BMVC 2021, table 3.
ABLATIONS = {
    "regressor": Ablation((1.28, 5.79), {"variant": "q1net-regressor"}, "all"),
    "classifier": Ablation((1.68, 7.69), {"variant": "q1net-classifier"}, "all"),
    "lambda-quarter": Ablation((0.39, 0.38), {"confidence_weight": 0.25}),
    "lambda-one": Ablation((0.36, 0.39), {"confidence_weight": 1.0}),
    "light": Ablation((0.44, 0.44), {"variant": "q1net-k6"}),
    "heavy": Ablation((0.26, 0.29), {"variant": "q1net-k12"}),
    "no-bottleneck": Ablation((0.87, 0.89), {"variant": "q1net-no-bottleneck"}),
    "sobel": Ablation((0.46, 0.50), {"variant": "q1net-regressor"}, "gradient"),
    "softmax": Ablation((0.52, 0.67), {"variant": "q1net-classifier"}),
    "baseline": Ablation((0.40, 0.39)),
}


def measure_gradient(patches: UInt8Array) -> Float32Array:
    """How much there is to see in each patch: mean absolute Sobel response of its luma, [N]."""
    luma = patches.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    columns = luma[:, :-2] + 2 * luma[:, 1:-1] + luma[:, 2:]
    rows = luma[:, :, :-2] + 2 * luma[:, :, 1:-1] + luma[:, :, 2:]
    across = np.abs(columns[:, :, 2:] - columns[:, :, :-2]).mean(axis=(1, 2))
    down = np.abs(rows[:, 2:] - rows[:, :-2]).mean(axis=(1, 2))
    gradient: Float32Array = across + down
    return gradient


# What a patch must have more of than the threshold: (patches, confidence) -> [images, N].
SELECTIONS: dict[str, Callable[[UInt8Array, Float32Array], Float32Array]] = {
    "all": lambda patch_sets, confidence: np.zeros_like(confidence),
    "confidence": lambda patch_sets, confidence: confidence,
    "gradient": lambda patch_sets, confidence: np.stack([measure_gradient(patches) for patches in patch_sets]),
}


def evaluate(
    model: keras.Model, variant: str, selection: str, validation: Labelled, test: Labelled
) -> dict[str, float | int | None]:
    """Figures of medians over selected patches of the test images; the threshold is the validation images' best.

    The figures are those of QualityErrors, and ``answered``, the share of the images with an estimate.
    """
    select = SELECTIONS[selection]
    quality, confidence = predict_sets(model, variant, validation[0])
    value = select(validation[0], confidence)
    thresholds = [-1.0, *np.unique(np.quantile(value, QUANTILES)).tolist()]
    threshold = choose_rule("paper", quality, value, validation[1], thresholds).rule.threshold
    quality, confidence = predict_sets(model, variant, test[0])
    fused = fuse_all("paper", threshold, quality, select(test[0], confidence))
    errors = (
        QualityErrors.of(int(level), None if np.isnan(estimate) else float(estimate))
        for level, estimate in zip(test[1], fused, strict=True)
    )
    figures = reduce(add, errors, QualityErrors()).band(1, 100)
    return figures | {"answered": 1 - float(figures["missing"] or 0), "threshold": threshold}


def run_ablation(
    name: str, config: TrainConfig, data: Data, test: Labelled, folder: Path, time_limit: float | None = None
) -> dict[str, Any]:
    """Train a row's network, or take the one that is there, and evaluate it; returns the row, kept as NAME.json."""
    ablation = ABLATIONS[name]
    config = replace(config, **ablation.changes)
    parameters = VARIANTS[config.variant].architecture.parameters
    training = folder / f"{config.variant}-lambda-{config.confidence_weight:g}"
    result = train(config, data, training, time_limit)
    if result.best_rule is None:
        raise ConfigError(
            f"--time-limit ended {training} at step {result.steps}, before its first validation after step "
            f"{config.validation_every}: no weights to evaluate; the same command goes on with it"
        )
    model = keras.saving.load_model(training / f"{config.variant}.keras", compile=False)
    validation = data.inference_sets(CALIBRATION_LEVELS)
    row = {
        "row": name,
        "alpha": parameters["alpha"],
        "lambda": config.confidence_weight if parameters["alpha"] == 2 else None,
        "k": parameters["k"],
        "bottlenecks": parameters["bottlenecks"],
        "selection": ablation.selection,
        "parameters": model.count_params(),
        "steps": result.steps,
        "paper_mae": ablation.paper[0],
        "paper_sde": ablation.paper[1],
    } | evaluate(model, config.variant, ablation.selection, validation, test)
    write_bytes(str(folder / f"{name}.json"), (json.dumps(row, indent=2) + "\n").encode())
    return row


def run_ablations(
    names: Sequence[str], config: TrainConfig, data: Data, test: Data, folder: Path, time_limit: float | None = None
) -> str:
    """Rows one after the other; then table3.md and table3.parquet of all rows in the folder. Returns the table.

    Args:
        names: of ABLATIONS.
        config: what the rows change.
        data: training and validation images.
        test: whose images the errors are measured on, at every level.
        folder: gets a training for each network, and the tables.
        time_limit: seconds for each training.
    """
    unknown = [name for name in names if name not in ABLATIONS]
    if unknown:
        raise ConfigError(f"ablation is {unknown[0]!r}; expected all or one of {', '.join(ABLATIONS)}")
    images = test.inference_sets(LEVELS)
    for name in names:
        run_ablation(name, config, data, images, folder, time_limit)
    files = [path for name in ABLATIONS if (path := folder / f"{name}.json").exists()]
    rows = [json.loads(path.read_text()) for path in files]
    buffer = BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer)
    write_bytes(str(folder / "table3.parquet"), buffer.getvalue())
    table = render_rows(rows)
    write_bytes(str(folder / "table3.md"), table.encode())
    return table


def render_rows(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as a table, figures with two decimals."""
    cells = [[show(row.get(name)) for name in COLUMNS] for row in rows]
    return to_markdown(list(COLUMNS.values()), cells) + "\n"


def show(value: object) -> str:
    """A value as a cell: a dash for none, two decimals for what is not whole."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.2f}" if isinstance(value, float) else str(value)
