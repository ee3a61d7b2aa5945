"""Patch predictions drawn over the image they come from.

Layer: numpy and Pillow; no keras, no beam, no pyarrow.
"""

import numpy as np
from PIL import Image, ImageDraw

from q1net_core.patches import BLOCK, IntArray
from q1net_core.records import Float32Array, UInt8Array

# Quality 0, 50 and 100; between them colours are mixed.
SCALE = np.array([(214, 40, 40), (247, 202, 24), (39, 174, 96)], float)
DIMMED = 0.55
LEGEND_HEIGHT = 28


def quality_colour(quality: float) -> tuple[int, int, int]:
    """Red for 0, yellow for 50, green for 100."""
    red, green, blue = (round(float(np.interp(quality, (0, 50, 100), SCALE[:, channel]))) for channel in range(3))
    return red, green, blue


def draw_overlay(
    pixels: UInt8Array, blocks: IntArray, quality: Float32Array, confidence: Float32Array, threshold: float
) -> UInt8Array:
    """The dimmed image with one disc per patch: filled if it is confident, a ring if not, coloured by its quality.

    Args:
        pixels: uint8 [height, width, 3].
        blocks: int [N, 2], top-left (y, x) of each patch's coding block.
        quality: float [N], 0-100.
        confidence: float [N], 0-100.
        threshold: confidence that a patch must exceed.

    Returns:
        uint8 [height + 28, width, 3]; the strip below is the colour scale from 0 to 100.
    """
    height, width = pixels.shape[:2]
    canvas = Image.new("RGB", (width, height + LEGEND_HEIGHT))
    canvas.paste(Image.fromarray((pixels * DIMMED).astype(np.uint8)), (0, 0))
    draw = ImageDraw.Draw(canvas)
    spacing = np.sqrt(height * width / max(len(blocks), 1))
    radius = max(BLOCK / 2, spacing / 4)
    for (y, x), q, c in zip(blocks + BLOCK // 2, quality, confidence, strict=True):
        box = (x - radius, y - radius, x + radius, y + radius)
        if c > threshold:
            draw.ellipse(box, fill=quality_colour(q))
        else:
            draw.ellipse(box, outline=quality_colour(q), width=2)
    draw_legend(draw, width, height)
    return np.asarray(canvas)


def draw_legend(draw: ImageDraw.ImageDraw, width: int, top: int) -> None:
    """The colour scale as a strip of the image's width, with numbers at its ends and in the middle."""
    for x in range(width):
        draw.line((x, top, x, top + LEGEND_HEIGHT // 2), fill=quality_colour(100 * x / max(width - 1, 1)))
    for quality, anchor in ((0, "lb"), (50, "mb"), (100, "rb")):
        place = (round(quality / 100 * (width - 1)), top + LEGEND_HEIGHT)
        draw.text(place, f"{quality}", fill="white", anchor=anchor)
