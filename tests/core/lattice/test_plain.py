"""Plain pictures: answered where few blocks vary, or are clipped; abstained on where it is not sure."""

import numpy as np
import pytest
from pictures import compress, load_original

from q1net_core.arrays import UInt8Array
from q1net_core.lattice.blocks import choose_blocks, count_busy
from q1net_core.lattice.dictionary import known_tables
from q1net_core.lattice.estimate import BUSY_BLOCKS, estimate_lattice
from q1net_core.lattice.grid import find_grid
from q1net_core.lattice.plain import FINE, FINE_GAIN, FINEST, MIN_GAIN, MIN_SHARE, choose_table, list_grids
from q1net_core.lattice.reproduction import Reproduction


def make_sky(height: int, width: int) -> UInt8Array:
    """A slow gradient with a few soft clouds, and grain far below one level."""
    y, x = np.mgrid[:height, :width]
    clouds = sum(
        25 * np.exp(-((x - u) ** 2 + (y - v) ** 2) / 2 / 9**2) for u, v in ((40, 30), (110, 70), (60, 110), (130, 130))
    )
    luma = 120 + 0.15 * y + 0.1 * x + clouds
    return np.rint(np.stack([0.8 * luma, luma, 1.2 * luma], axis=2)).astype(np.uint8)


def index_of(family: str, level: int) -> int:
    return next(i for i, table in enumerate(known_tables()) if (table.family, table.level) == (family, level))


@pytest.mark.parametrize("level", range(15, 91, 7))
@pytest.mark.parametrize(("top", "left"), [(0, 0), (3, 5)])
def test_a_sky_is_answered_with_level_and_grid(level: int, top: int, left: int) -> None:
    pixels = compress(make_sky(160, 160), level)[top : top + 144, left : left + 144]
    assert count_busy(choose_blocks(pixels, find_grid(pixels))) < BUSY_BLOCKS
    found = estimate_lattice(pixels)
    assert found.quality is not None
    assert level in (found.quality, *found.ties)
    assert found.match == "exact"
    assert found.grid == (-left % 8, -top % 8)
    assert found.evidence is not None
    assert MIN_SHARE <= found.evidence <= 1


def test_a_sky_that_was_never_compressed_is_abstained_on() -> None:
    for size in (64, 128, 160):
        assert estimate_lattice(make_sky(size, size)).quality is None


def test_crops_in_which_most_blocks_are_clipped_are_answered() -> None:
    bright = np.clip(load_original("messenger/houses.jpg").astype(np.int16) * 3 // 2, 0, 255).astype(np.uint8)
    decoded = compress(bright, 45)
    answered = 0
    for top in range(1, 150, 70):
        for left in range(3, 150, 70):
            found = estimate_lattice(decoded[top : top + 64, left : left + 64])
            assert found.quality in (None, 45)
            answered += found.quality == 45
    assert answered >= 6


def test_the_grid_is_found_between_clipped_pixels_and_the_start_is_always_tried() -> None:
    pixels = compress(make_sky(160, 160), 60)[3:90, 5:92].copy()
    pixels[30:50] = 255
    grids = list_grids(pixels)
    assert grids[0] == (3, 5)
    assert (0, 0) in grids
    assert list_grids(np.full((64, 64, 3), 90, np.uint8)) == [(0, 0)]
    assert list_grids(pixels[:12, :12]) == [(0, 0)]


def test_a_table_needs_gain_and_share_and_others_far_behind_or_near_in_level() -> None:
    table, other, near = (index_of("libjpeg", level) for level in (60, 80, 61))
    sure = [Reproduction(table, 90.0, 1.0), Reproduction(other, 20.0, 0.5)]
    found = choose_table(sure)
    assert found is not None
    assert (found.table.level, found.ties, found.margin, found.explained) == (60, (), 70.0, 1.0)
    tied = choose_table([Reproduction(table, 90.0, 1.0), Reproduction(near, 88.0, 0.9), *sure[1:]])
    assert tied is not None
    assert [one.level for one in tied.ties] == [61]
    assert choose_table([]) is None
    assert choose_table([Reproduction(table, MIN_GAIN - 1, 1.0), sure[1]]) is None
    assert choose_table([Reproduction(table, 90.0, MIN_SHARE - 0.01), sure[1]]) is None
    assert choose_table([sure[0], Reproduction(other, 89.0, 1.0)]) is None
    fine = index_of("libjpeg", FINE + 1)
    assert choose_table([Reproduction(fine, FINE_GAIN, 1.0), Reproduction(table, 0.0, 0.5)]) is not None
    assert choose_table([Reproduction(fine, FINE_GAIN - 1, 1.0), Reproduction(table, 0.0, 0.5)]) is None
    assert choose_table([Reproduction(fine, FINE_GAIN + 9, 1.0), Reproduction(table, 10.0, 0.5)]) is None
    assert choose_table([Reproduction(index_of("libjpeg", FINEST + 1), 90.0, 1.0), sure[1]]) is None


def test_of_tables_that_make_the_same_pixels_the_round_level_of_libjpeg_is_named() -> None:
    equal = [Reproduction(index_of("libjpeg", level), 90.0, 1.0) for level in (49, 50, 51)]
    found = choose_table([Reproduction(index_of("mozjpeg", 61), 90.0, 1.0), *equal])
    assert found is not None
    assert (found.table.family, found.table.level, len(found.ties)) == ("libjpeg", 50, 3)
