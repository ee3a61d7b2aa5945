"""Patches: where they lie, that there are as many as the image holds, and that slicing is plain slicing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from q1net_core.errors import ConfigError, ImageError
from q1net_core.patches import (
    BLOCK,
    BORDER,
    PATCH,
    block_starts,
    cut_patches,
    cut_windows,
    first_blocks,
    sample_blocks,
    sample_patches,
    side_of,
    spread_evenly,
    spread_order,
)
from q1net_core.records import Status

sides = st.integers(4, 24)
phases = st.integers(0, BLOCK - 1)
lengths = st.integers(1, 700)


def all_starts(length: int, phase: int) -> list[int]:
    return [at for at in range(length) if at % BLOCK == phase and at >= BORDER and at + BLOCK + BORDER <= length]


@given(lengths, phases)
def test_block_starts_are_all_blocks_with_room_for_their_patch(length: int, phase: int) -> None:
    assert block_starts(length, phase).tolist() == all_starts(length, phase)


@given(st.integers(0, 600), st.integers(0, 600))
def test_spread_is_distinct_in_bounds_and_even(count: int, wanted: int) -> None:
    places = spread_evenly(count, wanted)
    assert len(places) == min(count, wanted)
    if len(places):
        assert places[0] >= 0
        assert places[-1] < count
        # The same margin at both ends, up to rounding down.
        assert abs(places[0] - (count - 1 - places[-1])) <= 1
        gaps = np.diff(places)
        assert len(gaps) == 0 or (gaps.min() >= 1 and gaps.max() - gaps.min() <= 1)


@given(lengths, lengths, sides, phases, phases)
def test_blocks_are_distinct_aligned_inside_and_as_many_as_there_are(
    height: int, width: int, side: int, grid_x: int, grid_y: int
) -> None:
    blocks = sample_blocks(height, width, side * side, (grid_x, grid_y))
    ys, xs = all_starts(height, grid_y), all_starts(width, grid_x)
    assert set(blocks[:, 0].tolist()) <= set(ys)
    assert set(blocks[:, 1].tolist()) <= set(xs)
    assert len({tuple(block) for block in blocks.tolist()}) == len(blocks)
    assert len(blocks) == min(side * side, len(ys) * len(xs))


def test_narrow_image_gives_its_patches_along_the_other_axis() -> None:
    blocks = sample_blocks(height=2048, width=40, patches=256)
    rows, used = np.unique(blocks[:, 0], return_counts=True)
    assert len(blocks) == 256  # 3 blocks across: 86 rows, two of them not full
    assert (len(rows), used.min(), used.max()) == (86, 2, 3)
    assert rows[0] < 24
    assert rows[-1] > 2048 - 48


def test_large_image_is_covered_from_edge_to_edge() -> None:
    blocks = sample_blocks(height=800, width=1600, patches=16)
    assert sorted(set(blocks[:, 0].tolist())) == [104, 296, 496, 688]
    assert len(set(blocks[:, 1].tolist())) == 4


@given(st.integers(16, 80), st.integers(16, 80), phases, phases, st.randoms(use_true_random=False))
def test_sampled_patches_are_blocks_with_their_border(
    height: int, width: int, grid_x: int, grid_y: int, random: object
) -> None:
    rng = np.random.default_rng(random.getrandbits(32))
    pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    blocks = sample_blocks(height, width, 16, (grid_x, grid_y))
    if len(blocks) == 0:
        with pytest.raises(ImageError) as caught:
            sample_patches(pixels, 16, (grid_x, grid_y))
        assert caught.value.status is Status.TOO_SMALL
        return
    patches = sample_patches(pixels, 16, (grid_x, grid_y))
    naive = [pixels[y - BORDER : y - BORDER + PATCH, x - BORDER : x - BORDER + PATCH] for y, x in blocks]
    assert patches.dtype == np.uint8
    assert np.array_equal(patches, np.stack(naive))


def test_cut_windows_is_a_copy() -> None:
    pixels = np.zeros((20, 20, 3), np.uint8)
    window = cut_windows(pixels, np.array([2]), np.array([3]), 5)
    window[:] = 9
    assert window.shape == (1, 5, 5, 3)
    assert pixels.max() == 0


def test_too_small_image_says_what_it_needs() -> None:
    with pytest.raises(ImageError, match=r"19 x 100 pixels.*at least 20 x 20"):
        sample_patches(np.zeros((100, 19, 3), np.uint8))
    with pytest.raises(ImageError, match="at least 16 x 23"):
        sample_patches(np.zeros((22, 16, 3), np.uint8), grid=(4, 3))
    assert len(sample_patches(np.zeros((23, 16, 3), np.uint8), grid=(4, 3))) == 1


@pytest.mark.parametrize("patches", [16, 256, 576])
def test_side_is_the_square_root(patches: int) -> None:
    assert side_of(patches) ** 2 == patches


@pytest.mark.parametrize("patches", [-4, 0, 1, 9, 15, 255, 257, 625])
def test_patch_count_must_be_a_square_within_limits(patches: int) -> None:
    with pytest.raises(ConfigError, match=f"is {patches}; expected a square"):
        side_of(patches)


@pytest.mark.parametrize("phase", [-1, 8])
def test_grid_phase_must_be_one_of_eight(phase: int) -> None:
    with pytest.raises(ConfigError, match=f"phase is {phase}"):
        block_starts(100, phase)


@given(st.integers(20, 500), st.integers(20, 500), sides, st.tuples(phases, phases))
def test_spread_order_is_a_permutation(height: int, width: int, side: int, grid: tuple[int, int]) -> None:
    blocks = sample_blocks(height, width, side * side, grid)
    assert sorted(spread_order(blocks).tolist()) == list(range(len(blocks)))


@pytest.mark.parametrize(("height", "width"), [(512, 768), (2000, 1500), (200, 3000)])
def test_every_beginning_of_the_order_is_spread_over_the_image(height: int, width: int) -> None:
    whole = sample_blocks(height, width)
    for looked in (16, 32, 64, 128):
        blocks = first_blocks(height, width, looked, 256)
        assert len(blocks) == len(np.unique(blocks, axis=0)) == looked
        for axis, length in enumerate((height, width)):
            quarters = np.bincount(blocks[:, axis] * 4 // length, minlength=4)
            expected = np.bincount(whole[:, axis] * 4 // length, minlength=4) * looked / len(whole)
            assert np.abs(quarters - expected).max() <= max(2, 0.2 * looked)


def test_patches_are_cut_around_their_blocks() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (100, 120, 3)).astype(np.uint8)
    blocks = first_blocks(100, 120, 16, 16)
    for patch, (y, x) in zip(cut_patches(pixels, blocks), blocks, strict=True):
        assert np.array_equal(patch, pixels[y - BORDER : y + BLOCK + BORDER, x - BORDER : x + BLOCK + BORDER])
