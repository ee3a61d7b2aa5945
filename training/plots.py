"""The curves of a training as a picture."""

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from q1net_core.png import to_png

# Left, per patch and while training; right, per image.
PANELS = (("loss", "quality_error", "confidence_error", "level_error", "val_patch_mae"), ("val_mae",))


def plot_history(rows: Sequence[dict[str, Any]]) -> bytes:
    """Curves over the steps as PNG: losses and errors of patches, and the errors of fused estimates."""
    figure = Figure(figsize=(11, 4.5), dpi=100, layout="constrained")
    altered = sorted(name for name in rows[0] if name.startswith("val_") and name.endswith("_mae"))
    fused = [*PANELS[1], *(name for name in altered if name not in (*PANELS[0], *PANELS[1]))]
    for axes, names, title in zip(figure.subplots(1, 2), (PANELS[0], fused), ("patches", "images"), strict=True):
        for name in names:
            points = [(row["step"], row[name]) for row in rows if row.get(name) is not None]
            if points:
                axes.plot(*zip(*points, strict=True), marker=".", label=name)
        axes.set(title=title, xlabel="step", ylabel="levels", yscale="log")
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend()
    return to_png(figure)
