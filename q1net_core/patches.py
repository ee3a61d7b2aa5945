"""Pixels -> block-aligned patches; the index maths is kept apart from the slicing.

Layer: numpy only; no keras, no beam, no pyarrow.

A patch is one 8x8 coding block plus 4 pixels around it: 16x16 pixels (Kim & Yang, BMVC 2021, section 2.3).
"""

from math import isqrt

import numpy as np

from q1net_core.arrays import IntArray as IntArray
from q1net_core.arrays import UInt8Array
from q1net_core.errors import ConfigError, ImageError
from q1net_core.records import Status

BLOCK = 8
BORDER = 4
PATCH = BLOCK + 2 * BORDER
PATCHES_PER_SIDE = range(4, 25)
DEFAULT_PATCHES = 256
# Steps of the sequence R2 along both axes, from the real root of x^3 = x + 1.
R2 = np.array([0.7548776662466927, 0.5698402909980532])
POINTS_PER_BLOCK = 4


def side_of(patches: int) -> int:
    """Patches per image -> n of the n x n sampling; raises ConfigError unless it is a square of 4..24."""
    side = isqrt(patches) if patches > 0 else 0
    if side * side != patches or side not in PATCHES_PER_SIDE:
        raise ConfigError(f"patches per image is {patches}; expected a square number from 16 (4 x 4) to 576 (24 x 24)")
    return side


def block_starts(length: int, phase: int = 0) -> IntArray:
    """Starts of all blocks along one axis whose patch fits into ``length`` pixels, for a grid ``phase`` of 0..7.

    A patch needs 4 pixels on each side of its block.

    >>> block_starts(40).tolist()
    [8, 16, 24]
    >>> block_starts(40, phase=5).tolist()
    [5, 13, 21]
    """
    if not 0 <= phase < BLOCK:
        raise ConfigError(f"grid phase is {phase}; expected 0..{BLOCK - 1}")
    first = phase if phase >= BORDER else phase + BLOCK
    return np.arange(first, length - BLOCK - BORDER + 1, BLOCK)


def spread_evenly(count: int, wanted: int) -> IntArray:
    """Indices of ``wanted`` of ``count`` items, evenly spread and centred; all of them if there are fewer.

    >>> spread_evenly(9, 3).tolist()
    [1, 4, 7]
    >>> spread_evenly(2, 3).tolist()
    [0, 1]
    """
    taken = min(count, wanted)
    return (np.arange(taken) * 2 + 1) * count // (2 * taken) if taken else np.arange(0)


def sample_blocks(height: int, width: int, patches: int = DEFAULT_PATCHES, grid: tuple[int, int] = (0, 0)) -> IntArray:
    """Uniformly spread coding blocks: int [N, 2] of their top-left (y, x), N <= ``patches``, all distinct.

    Where one axis is too short for n blocks the other makes up for it, so N is ``patches`` whenever the image holds
    that many. ``grid`` is the block grid's phase as (grid_x, grid_y). Source: BMVC 2021, section 2.3, n x n sampling.
    """
    grid_x, grid_y = grid
    return spread_blocks(block_starts(height, grid_y), block_starts(width, grid_x), patches)


def spread_blocks(ys: IntArray, xs: IntArray, patches: int) -> IntArray:
    """Uniformly spread pairs (y, x) of the starts along both axes: int [N, 2], N <= ``patches``, all distinct."""
    side = side_of(patches)
    if len(ys) == 0 or len(xs) == 0:
        return np.empty((0, 2), dtype=np.intp)
    rows, columns = max(side, -(-patches // len(xs))), max(side, -(-patches // len(ys)))
    ys, xs = ys[spread_evenly(len(ys), rows)], xs[spread_evenly(len(xs), columns)]
    blocks = np.stack(np.meshgrid(ys, xs, indexing="ij"), axis=-1).reshape(-1, 2)
    return blocks[spread_evenly(len(blocks), patches)]


def spread_order(blocks: IntArray) -> IntArray:
    """Order of blocks [N, 2] of which every beginning is spread over the image: indices int [N].

    Points of a low-discrepancy sequence fall on the grid of the blocks' rows and columns; a block's turn comes with the
    first point that meets it. Source: Roberts, 2018, the sequence R2.

    >>> spread_order(np.array([[8, 8], [8, 16], [16, 8], [16, 16]])).tolist()
    [3, 0, 1, 2]
    """
    ys, rows = np.unique(blocks[:, 0], return_inverse=True)
    xs, columns = np.unique(blocks[:, 1], return_inverse=True)
    turns = np.arange(POINTS_PER_BLOCK * len(ys) * len(xs))
    points = (0.5 + turns[:, None] * R2) % 1
    met = (points[:, 0] * len(ys)).astype(np.intp) * len(xs) + (points[:, 1] * len(xs)).astype(np.intp)
    first = np.full(len(ys) * len(xs), len(turns))
    np.minimum.at(first, met, turns)
    return np.argsort(first[rows * len(xs) + columns], kind="stable")


def first_blocks(height: int, width: int, looked: int, most: int, grid: tuple[int, int] = (0, 0)) -> IntArray:
    """The first blocks in spread order, ``looked`` of at most ``most``: int [N, 2] as sample_blocks gives them."""
    blocks = sample_blocks(height, width, most, grid)
    return blocks[spread_order(blocks)][:looked]


def cut_windows(pixels: UInt8Array, tops: IntArray, lefts: IntArray, size: int) -> UInt8Array:
    """Square windows by their top-left pixels: uint8 [N, size, size, 3], copied."""
    windows = np.lib.stride_tricks.sliding_window_view(pixels, (size, size, 3))[:, :, 0]
    return windows[tops, lefts]


def patch_fits(height: int, width: int, grid: tuple[int, int] = (0, 0)) -> bool:
    """Whether an image has room for a patch around a block of this grid."""
    return len(block_starts(width, grid[0])) > 0 and len(block_starts(height, grid[1])) > 0


def check_patch_fits(height: int, width: int, grid: tuple[int, int] = (0, 0)) -> None:
    """Raise ImageError ``too_small`` for an image without room for one patch."""
    if not patch_fits(height, width, grid):
        needed = [BLOCK + BORDER + (phase if phase >= BORDER else phase + BLOCK) for phase in grid]
        raise ImageError(
            Status.TOO_SMALL,
            f"image is {width} x {height} pixels; a {PATCH} x {PATCH} patch around one {BLOCK} x {BLOCK} block "
            f"needs at least {needed[0]} x {needed[1]}",
        )


def sample_patches(pixels: UInt8Array, patches: int = DEFAULT_PATCHES, grid: tuple[int, int] = (0, 0)) -> UInt8Array:
    """Uniformly spread block-aligned patches of an image: uint8 [N, 16, 16, 3], N <= ``patches``.

    Args:
        pixels: uint8 [height, width, 3].
        patches: how many at most, a square number; an image with fewer blocks gives each of them once.
        grid: phase (grid_x, grid_y) of the 8x8 block grid in these pixels, each 0..7.

    Raises:
        ImageError: ``too_small``, not one patch fits.
    """
    height, width = pixels.shape[:2]
    check_patch_fits(height, width, grid)
    return cut_patches(pixels, sample_blocks(height, width, patches, grid))


def cut_patches(pixels: UInt8Array, blocks: IntArray) -> UInt8Array:
    """The patches around blocks [N, 2] of (y, x): uint8 [N, 16, 16, 3]."""
    return cut_windows(pixels, blocks[:, 0] - BORDER, blocks[:, 1] - BORDER, PATCH)
