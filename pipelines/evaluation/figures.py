"""Pictures of results as PNG bytes: confusion matrix, errors by level, Photoshop levels (figures 4 and 5 of the paper).

Without pyplot, see q1net_core.png.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from q1net_core.metrics import N_LEVELS, Counts
from q1net_core.png import to_png

DPI = 120
# Between 0 and 1; lower shows rare confusions stronger.
GAMMA = 0.4


def draw_confusion(confusion: Counts, title: str) -> bytes:
    """Confusion counts int [100, 101] of QualityErrors -> a 100 x 100 matrix, rows as shares of their true level.

    Estimates that round to 0 are shown as 1; levels that were not evaluated stay empty.
    """
    counts = confusion[:, 1:].astype(float)
    counts[:, 0] += confusion[:, 0]
    answered = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, answered, out=np.full_like(counts, np.nan), where=answered > 0)
    figure, axes = _start(title, (7.2, 6.4))
    extent = (0.5, N_LEVELS + 0.5, N_LEVELS + 0.5, 0.5)
    picture = axes.imshow(shares, "viridis", PowerNorm(GAMMA, 0, 1), extent=extent, interpolation="nearest")
    figure.colorbar(picture, label="share of the level's images")
    axes.set(xlabel="estimated level, rounded", ylabel="true level")
    axes.grid(visible=False)
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
