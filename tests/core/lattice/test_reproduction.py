"""Tables that reproduce pixels: the true one does, also beside clipped pixels, coarser ones do not."""

import numpy as np
import pytest
from pictures import ORIGINALS, compress, load_original

from q1net_core.arrays import UInt8Array
from q1net_core.lattice.dictionary import known_tables
from q1net_core.lattice.reproduction import (
    ENOUGH_BLOCKS,
    MAX_CLIPPED,
    choose_varied_blocks,
    find_reproducing_tables,
    judge_tables,
    measure_range,
)

BUSY = "messenger/houses.jpg"


def brighten(pixels: UInt8Array) -> UInt8Array:
    """A picture whose lightest parts are clipped."""
    return np.clip(pixels.astype(np.int16) * 3 // 2, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("level", [5, 30, 60, 85, 92])
@pytest.mark.parametrize("name", ORIGINALS)
def test_the_true_table_reproduces_nearly_all_blocks_and_gains_most(name: str, level: int) -> None:
    pixels = compress(load_original(name)[:96, :96], level)
    best, *others = find_reproducing_tables(choose_varied_blocks(pixels, 0, 0))
    near = {known_tables()[one.table].level for one in others if one.gain == best.gain}
    assert level in {known_tables()[best.table].level, *near}
    assert best.share > 0.9
    assert best.gain > 100


def test_pictures_without_compression_are_reproduced_by_fine_tables_alone() -> None:
    for name in ORIGINALS:
        blocks = choose_varied_blocks(load_original(name)[:128, :128], 0, 0)
        for one in judge_tables(blocks, np.arange(len(known_tables()))):
            assert one.share < 0.2 or known_tables()[one.table].quality > 92


def test_blocks_with_clipped_pixels_help_where_others_are_few_and_are_reproduced() -> None:
    pixels = compress(brighten(load_original(BUSY)), 40)
    _, clipped = measure_range(pixels, 0, 0)
    # Pictures that have no other blocks.
    rows, columns = np.nonzero((clipped > 0) & (clipped <= MAX_CLIPPED))
    assert len(rows) >= 20
    shares = []
    for row, column in zip(rows[:20], columns[:20], strict=True):
        block = pixels[8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
        blocks = choose_varied_blocks(block, 0, 0)
        assert blocks.known.shape == (1, 64)
        assert 0 < (~blocks.known).sum() <= MAX_CLIPPED
        shares.append(judge_tables(blocks, np.array([39]))[0].share)
    assert np.mean(shares) >= 0.9


def test_blocks_with_clipped_pixels_are_left_out_where_others_are_enough() -> None:
    blocks = choose_varied_blocks(compress(brighten(load_original(BUSY)), 90), 0, 0)
    assert len(blocks.luma) >= ENOUGH_BLOCKS
    assert blocks.known.all()


def test_range_and_clipped_pixels_are_those_of_each_block_on_the_grid() -> None:
    pixels = np.full((20, 27, 3), 100, np.uint8)
    pixels[5, 4] = 107
    pixels[6, 5, 0] = 255
    varied, clipped = measure_range(pixels, 3, 4)
    assert varied.tolist() == [[7, 0, 0], [0, 0, 0]]
    assert clipped.tolist() == [[1, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize("value", [0, 77, 255])
def test_blank_pictures_are_reproduced_by_nothing(value: int) -> None:
    assert find_reproducing_tables(choose_varied_blocks(np.full((40, 40, 3), value, np.uint8), 1, 2)) == []
