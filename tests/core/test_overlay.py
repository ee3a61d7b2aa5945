"""Overlay and gallery: colours tell quality, sizes and order tell confidence, and what was not used looks different."""

import numpy as np
import pytest

from q1net_core.arrays import IntArray, UInt8Array
from q1net_core.overlay import (
    DIMMED,
    GALLERY_COLUMNS,
    GAP,
    LEAST_RADIUS,
    LEAST_WIDTH,
    WHITE,
    ZOOM,
    PatchView,
    draw_gallery,
    draw_overlay,
    quality_colour,
    radius_share,
)
from q1net_core.patches import PATCH, sample_blocks

DARK = (int(100 * DIMMED),) * 3


def make_view(quality: list[float], confidence: list[float], estimate: float | None = 60.0) -> PatchView:
    return PatchView(np.array(quality, np.float32), np.array(confidence, np.float32), 90.0, estimate)


def grey(height: int, width: int) -> UInt8Array:
    return np.full((height, width, 3), 100, np.uint8)


def reach(drawn: UInt8Array, block: IntArray, zoom: int) -> int:
    """Pixels from a block's middle to the right, as far as its disc goes."""
    y, x = ((block + 4) * zoom).tolist()
    return next(step for step in range(drawn.shape[1]) if tuple(drawn[y, x + step]) == DARK)


def test_colours_go_from_red_over_yellow_to_green() -> None:
    red, yellow, green = (quality_colour(quality) for quality in (0, 50, 100))
    assert red[0] > 200 > 60 > red[1]
    assert min(yellow[:2]) > 200 > 60 > yellow[2]
    assert green[1] > 160 > 60 > green[0]
    between = quality_colour(25)
    assert red[1] < between[1] < yellow[1]


def test_patches_that_were_used_are_filled_and_the_others_are_not() -> None:
    blocks = sample_blocks(480, 640, 16)
    quality = np.linspace(5, 95, len(blocks)).tolist()
    confidence = [99 if number % 2 else 50 for number in range(len(blocks))]
    drawn = draw_overlay(grey(480, 640), blocks, make_view(quality, confidence), "title")
    assert drawn.shape[0] > 480
    assert drawn.shape[1:] == (640, 3)
    for (y, x), q, c in zip(blocks + 4, quality, confidence, strict=True):
        assert tuple(drawn[y, x]) == (quality_colour(q) if c > 90 else DARK)
    assert tuple(drawn[0, 0]) == DARK


def test_the_more_confident_of_patches_that_all_pass_are_larger() -> None:
    blocks = sample_blocks(640, 640, 16)
    confidence = [91 + number / 2 for number in range(len(blocks))]
    drawn = draw_overlay(grey(640, 640), blocks, make_view([50] * len(blocks), confidence), "title")
    sizes = [reach(drawn, block, 1) for block in blocks]
    assert sizes == sorted(sizes)
    assert sizes[0] == pytest.approx(LEAST_RADIUS * sizes[-1], abs=1)


def test_all_discs_are_large_where_all_are_equally_confident() -> None:
    assert radius_share(95, (95, 95)) == 1


def test_a_small_image_is_enlarged_with_its_discs() -> None:
    blocks = sample_blocks(40, 48, 16)
    drawn = draw_overlay(grey(40, 48), blocks, make_view([100] * len(blocks), [99] * len(blocks)), "title")
    zoom = -(-LEAST_WIDTH // 48)
    assert drawn.shape[1] == zoom * 48 >= LEAST_WIDTH
    for y, x in (blocks + 4) * zoom:
        assert tuple(drawn[y, x]) == quality_colour(100)


def test_without_title_the_picture_has_the_size_that_is_wanted() -> None:
    blocks = sample_blocks(48, 64, 16)
    view = make_view([50] * len(blocks), [95] * len(blocks))
    assert draw_overlay(grey(48, 64), blocks, view, least_width=1).shape == (48, 64, 3)


def marked(estimate: float | None) -> list[int]:
    """Columns of the legend in which the white mark is."""
    drawn = draw_overlay(grey(480, 640), sample_blocks(480, 640, 16), make_view([50] * 16, [95] * 16, estimate), "")
    # Nothing else that is white, left of the discs, is so high.
    return list(np.nonzero((drawn[480:, :300] == WHITE).all(axis=2).sum(axis=0) > 12)[0])


def test_the_legend_marks_the_estimate_on_the_scale() -> None:
    assert marked(None) == []
    start, end = (float(np.mean(marked(estimate))) for estimate in (0.0, 100.0))
    assert start + 100 < end
    assert np.mean(marked(37.5)) == pytest.approx(start + 0.375 * (end - start), abs=1)


def test_the_gallery_shows_patches_by_confidence_framed_by_quality() -> None:
    confidence = [70, 99, 95, 80] * 5
    patches = np.stack([np.full((PATCH, PATCH, 3), 10 * number, np.uint8) for number in range(20)])
    view = make_view([5.0 * number for number in range(20)], [c + number / 100 for number, c in enumerate(confidence)])
    drawn = draw_gallery(patches, view, "title")
    side = PATCH * ZOOM
    order = np.argsort(-view.confidence)
    assert sorted(confidence[place] for place in order[:10]) == [95] * 5 + [99] * 5
    colours = {quality_colour(5.0 * number) for number in range(20)}
    framed = [row for row in range(len(drawn)) if tuple(drawn[row, 2 * GAP]) in colours]
    rows = [row for row in framed if row - 1 not in framed]
    assert len(rows) == 2
    for number, place in enumerate(order):
        row, column = divmod(number, GALLERY_COLUMNS)
        y, x = rows[row], 2 * GAP + column * (side + 3 * GAP)
        assert tuple(drawn[y, x]) == quality_colour(5.0 * place)
        shade = 10 * place if view.used[place] else int(10 * place * DIMMED)
        assert tuple(drawn[y + GAP + side // 2, x + GAP + side // 2]) == (shade,) * 3
