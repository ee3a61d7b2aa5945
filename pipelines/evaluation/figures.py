"""Pictures of results as PNG bytes: confusion matrix, errors by level, Photoshop levels (figures 4 and 5 of the paper).

Without pyplot, see q1net_core.png.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from q1net_core.arrays import Float64Array
from q1net_core.metrics import N_LEVELS, Counts
from q1net_core.png import to_png

DPI = 120
# Between 0 and 1; lower shows rare confusions stronger.
GAMMA = 0.4


def shares_of(confusion: Counts) -> Float64Array:
    """Confusion counts int [100, 101] of QualityErrors -> 100 x 100 shares of their true level.

    Estimates that round to 0 count as 1; levels that were not evaluated are NaN.
    """
    counts = confusion[:, 1:].astype(float)
    counts[:, 0] += confusion[:, 0]
    answered = counts.sum(axis=1, keepdims=True)
    return np.divide(counts, answered, out=np.full_like(counts, np.nan), where=answered > 0)


def draw_confusion(confusion: Counts, title: str) -> bytes:
    """Confusion counts of QualityErrors -> a matrix of shares, see shares_of."""
    return draw_confusions([(title, confusion)])


def draw_confusions(confusions: Sequence[tuple[str, Counts]]) -> bytes:
    """(title, confusion counts) of several estimators -> their matrices side by side on one colour scale."""
    figure = Figure(figsize=(1.0 + 6.2 * len(confusions), 6.4), dpi=DPI, layout="constrained")
    panels = figure.subplots(1, len(confusions), squeeze=False)[0]
    extent = (0.5, N_LEVELS + 0.5, N_LEVELS + 0.5, 0.5)
    for axes, (title, confusion) in zip(panels, confusions, strict=True):
        picture = axes.imshow(
            shares_of(confusion), "viridis", PowerNorm(GAMMA, 0, 1), extent=extent, interpolation="nearest"
        )
        axes.set(title=title, xlabel="estimated level, rounded", ylabel="true level")
    figure.colorbar(picture, ax=panels.tolist(), label="share of the level's images")
    return to_png(figure)


def draw_errors(levels: Sequence[dict[str, Any]], title: str) -> bytes:
    """Rows of ``level, mae, bias, sde`` -> three lines over the true level; levels without answers are left out."""
    rows = [row for row in levels if row["mae"] is not None]
    figure, axes = _start(title, (9, 4.5))
    true = [row["level"] for row in rows]
    for name, label in (("mae", "MAE"), ("sde", "SDE (of absolute errors)"), ("bias", "bias (mean signed error)")):
        axes.plot(true, [row[name] for row in rows], marker="." if len(rows) < 30 else "", label=label)
    axes.axhline(0, color="grey", linewidth=0.8)
    axes.set(xlabel="true level", ylabel="levels", xlim=(0, N_LEVELS + 1))
    axes.legend()
    return to_png(figure)


def draw_photoshop(levels: Sequence[dict[str, Any]], title: str) -> bytes:
    """Rows of ``level, quality, psnr`` -> the estimate (left axis) and PSNR (right axis) over Photoshop's level."""
    figure, axes = _start(title, (8, 4.5))
    at = [row["level"] for row in levels]
    # None where no image has an estimate: a gap in the line.
    quality = [np.nan if row["quality"] is None else row["quality"] for row in levels]
    (left,) = axes.plot(at, quality, "o-", color="tab:blue", label="estimated level")
    axes.set(xlabel="Photoshop level", ylabel="estimated libjpeg level", xticks=at)
    twin = axes.twinx()
    (right,) = twin.plot(at, [row["psnr"] for row in levels], "s--", color="tab:red", label="PSNR")
    twin.set_ylabel("PSNR (dB)")
    axes.legend(handles=[left, right], loc="lower right")
    return to_png(figure)


def _start(title: str, inches: tuple[float, float]) -> tuple[Figure, Axes]:
    figure = Figure(figsize=inches, dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title)
    axes.grid(alpha=0.3)
    return figure, axes
