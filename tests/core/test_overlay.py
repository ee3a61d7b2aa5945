"""The overlay: confident patches are discs of their quality's colour, the others rings, over a dimmed image."""

import numpy as np

from q1net_core.overlay import DIMMED, LEGEND_HEIGHT, draw_overlay, quality_colour
from q1net_core.patches import sample_blocks


def test_colours_go_from_red_over_yellow_to_green() -> None:
    red, yellow, green = (quality_colour(quality) for quality in (0, 50, 100))
    assert red[0] > 200 > 60 > red[1]
    assert min(yellow[:2]) > 200 > 60 > yellow[2]
    assert green[1] > 160 > 60 > green[0]
    between = quality_colour(25)
    assert red[1] < between[1] < yellow[1]


def test_confident_patches_are_filled_and_the_others_are_not() -> None:
    pixels = np.full((200, 300, 3), 100, np.uint8)
    blocks = sample_blocks(200, 300, 16)
    quality = np.linspace(5, 95, len(blocks), dtype=np.float32)
    confidence = np.where(np.arange(len(blocks)) % 2, 99, 50).astype(np.float32)
    drawn = draw_overlay(pixels, blocks, quality, confidence, 90.0)
    assert drawn.shape == (200 + LEGEND_HEIGHT, 300, 3)
    for (y, x), q, c in zip(blocks + 4, quality, confidence, strict=True):
        expected = quality_colour(float(q)) if c > 90 else (int(100 * DIMMED),) * 3
        assert tuple(drawn[y, x]) == expected
    assert tuple(drawn[0, 0]) == (int(100 * DIMMED),) * 3


def test_the_scale_below_runs_from_0_to_100() -> None:
    drawn = draw_overlay(
        np.zeros((40, 60, 3), np.uint8), np.zeros((0, 2), np.intp), np.zeros(0, np.float32), np.zeros(0, np.float32), 90
    )
    assert tuple(drawn[42, 0]) == quality_colour(0)
    assert tuple(drawn[42, 59]) == quality_colour(100)
