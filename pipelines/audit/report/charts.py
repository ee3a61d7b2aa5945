"""The charts of a report as SVG text: histograms of the answers, and header against pixels.

Text stays text, so that a page can be searched and charts stay small.
"""

from collections.abc import Sequence
from io import StringIO
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

STYLE: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "q1net", "font.family": "sans-serif", "font.size": 9}
BAR = "#2563a8"


def draw_histogram(counts: Sequence[int], title: str) -> str:
    """Counts of the answers 0..100 -> bars over the quality, as SVG."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.6, 1.9), layout="constrained")
        axes = figure.add_subplot(xlabel="quality", ylabel="images", xlim=(-0.5, 100.5))
        axes.set_title(title, loc="left", fontweight="bold")
        axes.bar(range(len(counts)), counts, width=1, color=BAR)
        axes.set_xticks(range(0, 101, 10))
        axes.spines[["top", "right"]].set_visible(False)
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        return to_svg(figure)


def draw_agreement(counts: npt.NDArray[np.int64]) -> str:
    """Counts [header level, answer], int [101, 101] -> a map of both, logarithmic, as SVG."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.6, 3.8), layout="constrained")
        axes = figure.add_subplot(xlabel="what the header says", ylabel="what the pixels show", aspect="equal")
        header, quality = np.nonzero(counts)
        found = counts[header, quality]
        points = axes.scatter(
            header, quality, c=found, s=14, marker="s", cmap="viridis_r", norm=LogNorm(1, max(2, found.max()))
        )
        axes.plot((0, 100), (0, 100), color="grey", linewidth=0.7, zorder=0)
        axes.set(xlim=(-1, 101), ylim=(-1, 101))
        most = int(found.max())
        ticks = sorted({1, most, *(10**digits for digits in range(1, len(str(most)) - 1))})
        figure.colorbar(points, label="images", shrink=0.8, ticks=ticks, format="%d").minorticks_off()
        return to_svg(figure)


def to_svg(figure: Figure) -> str:
    """A figure as an SVG element for the inside of a page, the same text for the same figures."""
    text = StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    svg = text.getvalue()
    return svg[svg.index("<svg") :]
