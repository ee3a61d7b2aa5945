"""Patch predictions as pictures: over the image they come from, or the patches themselves in order of confidence.

Layer: numpy and Pillow; no keras, no beam, no pyarrow.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from q1net_core.arrays import Float32Array, IntArray, UInt8Array
from q1net_core.patches import BLOCK, PATCH

# Quality 0, 50 and 100; between them colours are mixed.
SCALE = np.array([(214, 40, 40), (247, 202, 24), (39, 174, 96)], float)
DIMMED = 0.55
# Smaller images are enlarged by a whole factor to at least this width, pixels.
LEAST_WIDTH = 640
# Width of the picture over height of its text.
TEXT_SHARE = 45
LEGEND_LINES = 5
# Radius of the least confident patch's disc over that of the most confident one's.
LEAST_RADIUS = 0.3
# Patches of the gallery are enlarged by this factor.
ZOOM = 4
GALLERY_COLUMNS = 16
GAP = 4
BACKGROUND = (24, 24, 24)
WHITE = (255, 255, 255)
GREY = (150, 150, 150)

Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class PatchView:
    """Predictions as they are drawn: ``quality`` and ``confidence`` float [N], 0-100, of one patch at least.

    Patches whose confidence is above ``threshold`` were used for the image's ``estimate``, None if there is none.
    """

    quality: Float32Array
    confidence: Float32Array
    threshold: float
    estimate: float | None

    @property
    def used(self) -> npt.NDArray[np.bool_]:
        """Which patches were used, bool [N]."""
        return self.confidence > self.threshold

    @property
    def ends(self) -> tuple[float, float]:
        """The least and the greatest confidence."""
        return float(self.confidence.min()), float(self.confidence.max())


def quality_colour(quality: float) -> Colour:
    """Red for 0, yellow for 50, green for 100.

    >>> quality_colour(50)
    (247, 202, 24)
    """
    red, green, blue = (round(float(np.interp(quality, (0, 50, 100), SCALE[:, channel]))) for channel in range(3))
    return red, green, blue


def radius_share(confidence: float, ends: tuple[float, float]) -> float:
    """Radius of a disc, 0-1: 1 for the most confident patch, LEAST_RADIUS for the least confident one.

    >>> [radius_share(confidence, (90, 98)) for confidence in (90, 98)]
    [0.3, 1.0]
    """
    low, high = ends
    return LEAST_RADIUS + (1 - LEAST_RADIUS) * ((confidence - low) / (high - low) if high > low else 1.0)


def draw_disc(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, colour: Colour, filled: bool) -> None:
    """A disc with a dark rim, or a ring."""
    box = (x - radius, y - radius, x + radius, y + radius)
    if filled:
        draw.ellipse(box, fill=colour, outline=BACKGROUND)
    else:
        draw.ellipse(box, outline=colour, width=max(1, round(radius / 4)))


def draw_overlay(
    pixels: UInt8Array, blocks: IntArray, view: PatchView, title: str | None = None, least_width: int = LEAST_WIDTH
) -> UInt8Array:
    """The dimmed image with one disc per patch, coloured by its quality, the larger the more confident it is.

    Patches that were not used are rings. Below are the title and a legend of colours and sizes.

    Args:
        pixels: uint8 [height, width, 3].
        blocks: int [N, 2], top-left (y, x) of each patch's coding block.
        view: the N patches, one at least.
        title: one line over the legend; None draws neither.
        least_width: an image of fewer pixels is enlarged by a whole factor.

    Returns:
        uint8 [H, W, 3].
    """
    zoom = -(-least_width // pixels.shape[1])
    height, width = (length * zoom for length in pixels.shape[:2])
    size = width // TEXT_SHARE
    below = 0 if title is None else LEGEND_LINES * size
    canvas = Image.new("RGB", (width, height + below), BACKGROUND)
    dimmed = Image.fromarray((pixels * DIMMED).astype(np.uint8))
    canvas.paste(dimmed.resize((width, height), Image.Resampling.NEAREST), (0, 0))
    draw = ImageDraw.Draw(canvas)
    spacing = np.sqrt(height * width / len(blocks))
    radius = max(BLOCK * zoom / 2, 0.4 * spacing)
    # The most confident ones last, on top.
    for place in np.argsort(view.confidence, kind="stable"):
        y, x = (blocks[place] + BLOCK / 2) * zoom
        share = radius_share(float(view.confidence[place]), view.ends)
        draw_disc(draw, x, y, share * radius, quality_colour(view.quality[place]), bool(view.used[place]))
    if title is not None:
        draw_legend(draw, (0, height, width, size), view, title)
    return np.asarray(canvas)


def draw_legend(draw: ImageDraw.ImageDraw, area: tuple[float, float, float, int], view: PatchView, title: str) -> None:
    """Title, the scale of colours with a mark at the estimate, and discs of three confidences.

    ``area`` is (left, top, width, height of text).
    """
    left, top, width, size = area
    font = ImageFont.load_default(size)
    draw.text((left + size / 2, top + size * 0.4), title, WHITE, font)
    middle, half = top + size * 2.6, size * 0.45
    start, end = left + 5 * size, left + 5 * size + 0.3 * width
    draw.text((left + size / 2, middle), "quality", GREY, font, anchor="lm")
    for column in range(round(start), round(end)):
        colour = quality_colour(100 * (column - start) / (end - start))
        draw.line((column, middle - half, column, middle + half), fill=colour)
    for quality in (0, 50, 100):
        place = (start + quality / 100 * (end - start), middle + 2.4 * half)
        draw.text(place, f"{quality}", GREY, font, anchor="mm")
    if view.estimate is not None:
        mark = start + view.estimate / 100 * (end - start)
        box = (mark - size / 8, middle - 1.5 * half, mark + size / 8, middle + 1.5 * half)
        draw.rectangle(box, WHITE, BACKGROUND)
    low, high = view.ends
    x = end + 2 * size
    draw.text((x, middle), "confidence", GREY, font, anchor="lm")
    x += draw.textlength("confidence", font) + 1.5 * size
    for confidence in (low, (low + high) / 2, high):
        draw_disc(draw, x, middle, radius_share(confidence, view.ends) * size * 0.7, WHITE, confidence > view.threshold)
        draw.text((x, middle + 2.4 * half), f"{confidence:.1f}", GREY, font, anchor="mm")
        x += 3.2 * size
    if not view.used.all():
        draw.text((x, middle), "rings: not used", GREY, font, anchor="lm")


def draw_gallery(patches: UInt8Array, view: PatchView, title: str) -> UInt8Array:
    """The patches themselves, the most confident first, each framed in the colour of its quality.

    Below each are its quality and its confidence; patches that were not used are dimmed. Source: BMVC 2021, figure 2.

    Args:
        patches: uint8 [N, 16, 16, 3], one at least.
        view: the same patches.
        title: one line.

    Returns:
        uint8 [H, W, 3].
    """
    side, size = PATCH * ZOOM, PATCH * ZOOM // 5
    font = ImageFont.load_default(size)
    cell_width, cell_height = side + 3 * GAP, side + 4 * GAP + round(1.3 * size)
    rows = -(-len(patches) // GALLERY_COLUMNS)
    top = 3 * size
    canvas = Image.new("RGB", (GALLERY_COLUMNS * cell_width + 2 * GAP, top + rows * cell_height + 2 * GAP), BACKGROUND)
    draw = ImageDraw.Draw(canvas)
    draw.text((2 * GAP, top / 2), title, WHITE, ImageFont.load_default(round(1.5 * size)), anchor="lm")
    order = np.argsort(-view.confidence, kind="stable")
    for number, place in enumerate(order):
        row, column = divmod(number, GALLERY_COLUMNS)
        x, y = 2 * GAP + column * cell_width, top + row * cell_height
        frame = (x, y, x + side + 2 * GAP - 1, y + side + 2 * GAP - 1)
        draw.rectangle(frame, fill=quality_colour(view.quality[place]))
        used = bool(view.used[place])
        shown = patches[place] if used else (patches[place] * DIMMED).astype(np.uint8)
        tile = Image.fromarray(shown).resize((side, side), Image.Resampling.NEAREST)
        canvas.paste(tile, (x + GAP, y + GAP))
        caption = f"{view.quality[place]:.0f}  ({view.confidence[place]:.1f})"
        draw.text((x + GAP + side / 2, y + side + 2 * GAP + size), caption, WHITE if used else GREY, font, anchor="mm")
    return np.asarray(canvas)
