"""`python -m training.diagram --output docs/q1net.png`: a network drawn from its layers, as the code builds them."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle

from q1net_core.network.variants import VARIANTS
from q1net_core.png import to_png

# Layers that are drawn, and their colours; the others (normalisation, activation, scaling) belong to the one before.
COLOURS = {
    "Conv2D": "tab:blue",
    "DepthwiseConv2D": "tab:cyan",
    "EinsumDense": "tab:blue",
    "MaxPooling2D": "tab:green",
    "AveragePooling2D": "tab:green",
    "GlobalAveragePooling2D": "tab:green",
    "Dense": "tab:red",
}
ADDITIONS = ("Add", "Concatenate")


@dataclass(frozen=True, slots=True)
class Box:
    """A layer as it is drawn: its ``kind``, what stands above it and below it, its height as a share of the input's."""

    kind: str
    label: str
    shape: str
    height: float


@dataclass(frozen=True, slots=True)
class Diagram:
    """Boxes from left to right, and the residual connections between them: (first box inside, last box inside)."""

    boxes: Sequence[Box]
    residuals: Sequence[tuple[int, int]]


def read_layers(model: keras.Model) -> Diagram:
    """The boxes of a model in the order of its layers; a residual spans the boxes that are added to their input."""
    boxes: list[Box] = []
    residuals: list[tuple[int, int]] = []
    # How many boxes were drawn when each tensor was made.
    drawn: dict[int, int] = {}
    side = next(size for size in (model.inputs[0].shape[1], 256) if size)
    for layer in model.layers:
        name = type(layer).__name__
        if name in COLOURS:
            shape = layer.output.shape[1:]
            kernel = getattr(layer, "kernel_size", None) or getattr(layer, "pool_size", None)
            label = f"{kernel[0]}x{kernel[1]}" if kernel else ""
            height = (shape[0] or side) / side if len(shape) > 1 else 0.12
            boxes.append(Box(name, label, "x".join(str(size or "?") for size in shape), height))
        if name in ADDITIONS:
            residuals.append((min(drawn[id(tensor)] for tensor in layer.input), len(boxes) - 1))
        drawn[id(layer.output)] = len(boxes)
    return Diagram(boxes, residuals)


def draw(diagram: Diagram, title: str) -> bytes:
    """A diagram as PNG; residual connections are arcs above their boxes."""
    figure = Figure(figsize=(max(0.52 * len(diagram.boxes), 6), 3.4), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    for number, box in enumerate(diagram.boxes):
        draw_box(axes, number, box)
    for first, last in diagram.residuals:
        top = max(box.height for box in diagram.boxes[first : last + 1]) / 2 + 0.06
        start, end = (first - 0.45, top), (last + 0.45, top)
        axes.add_patch(FancyArrowPatch(start, end, connectionstyle="arc3,rad=-0.4", arrowstyle="->", mutation_scale=8))
    names = {box.kind: COLOURS[box.kind] for box in diagram.boxes}
    handles = [Rectangle((0, 0), 1, 1, color=colour, label=name) for name, colour in names.items()]
    axes.legend(handles=handles, loc="lower left", ncols=len(names), frameon=False, fontsize=8)
    axes.set(xlim=(-1, len(diagram.boxes)), ylim=(-1.25, 0.95), title=title)
    axes.axis("off")
    return to_png(figure)


def draw_box(axes: Axes, number: int, box: Box) -> None:
    """One layer: as tall as its output, the kernel inside, the output's shape below."""
    axes.add_patch(Rectangle((number - 0.36, -box.height / 2), 0.72, box.height, color=COLOURS[box.kind], alpha=0.6))
    axes.text(number, 0, box.label, ha="center", va="center", fontsize=7)
    axes.text(number, -0.56, box.shape, ha="center", va="top", fontsize=7, rotation=90)


def make_parser() -> argparse.ArgumentParser:
    """The command's flags."""
    parser = argparse.ArgumentParser(prog="python -m training.diagram", description=__doc__)
    parser.add_argument("--variant", default="q1net-k8", choices=list(VARIANTS), help="(default: %(default)s)")
    parser.add_argument("--output", required=True, type=Path, metavar="FILE.png", help="the picture")
    return parser


def run(argv: list[str]) -> int:
    """The command; returns its exit status."""
    options = make_parser().parse_args(argv)
    model = VARIANTS[options.variant].architecture.build()
    title = f"{options.variant}: {model.count_params():,} parameters, input {model.inputs[0].shape[1]} pixels a side"
    options.output.write_bytes(draw(read_layers(model), title))
    return 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
