"""8x8 blocks of luma, their activity and their DCT coefficients.

Layer: numpy only; no keras, no beam, no pyarrow.

Pixels are uint8 [height, width, 3] RGB, or [height, width, 1] where luma is known. Rounding recovers the decoder's luma
from RGB: each of R, G and B was rounded once, so 0.299 R + 0.587 G + 0.114 B lies within half a level of it.
"""

from dataclasses import dataclass

import numpy as np

from q1net_core.arrays import Float32Array, Int32Array, IntArray, UInt8Array
from q1net_core.lattice.noise import NoiseModel, regular_noise, sparse_noise
from q1net_core.patches import BLOCK

# How many of the busiest blocks are scored. More cost time; fewer leave ties.
BLOCKS = 256
# Mean absolute difference of neighbouring pixels, in levels of luma, along the calmer axis of a block. Below it a block
# is sparse: its rows or its columns are nearly equal, it has few coefficients, and their rounding errors go together.
SPARSE_ACTIVITY = 1.0
# How many blocks are searched for those that discriminate between tables.
DISCRIMINATIVE_CANDIDATES = 1 << 14
# Weights of R, G, B in the luma of JPEG (ITU-T T.871), as 16-bit fractions.
LUMA_WEIGHTS = (19_595, 38_470, 7_471)


def _dct_matrix() -> Float32Array:
    n = np.arange(BLOCK)
    rows = np.sqrt(2 / BLOCK) * np.cos((2 * n[None] + 1) * n[:, None] * np.pi / (2 * BLOCK))
    rows[0] /= np.sqrt(2)
    return np.ascontiguousarray(np.kron(rows, rows).T.astype(np.float32))


# Flattened blocks [N, 64] times this matrix are their orthonormal DCT [N, 64].
DCT_MATRIX = _dct_matrix()


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """The 8x8 block grid of a picture.

    ``x`` and ``y``, 0..7, are the phase: where the first whole block begins. ``prominence`` says by how many standard
    deviations this phase beats the next best one. ``activity`` uint8 [rows, columns] is that of the blocks on the grid
    (measure_activity). ``windows`` is how many busy windows told the phase.
    """

    x: int
    y: int
    prominence: float
    activity: UInt8Array
    windows: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Coefficients:
    """DCT coefficients of blocks of one kind: ``magnitudes`` float32 [64, N] in row order, and their ``noise``."""

    magnitudes: Float32Array
    noise: NoiseModel


def luma_of(pixels: UInt8Array) -> Int32Array:
    """Luma as the decoder had it before colour conversion: uint8 [..., 3] or [..., 1] -> int32 [...]."""
    if pixels.shape[-1] == 1:
        return pixels[..., 0].astype(np.int32)
    red, green, blue = (pixels[..., channel].astype(np.int32) for channel in range(3))
    weighted = red * LUMA_WEIGHTS[0] + green * LUMA_WEIGHTS[1] + blue * LUMA_WEIGHTS[2]
    return (weighted + (1 << 15)) >> 16


def dct(blocks: Int32Array) -> Float32Array:
    """Orthonormal DCT of luma blocks: int [N, 8, 8] -> float32 [N, 64] in row order."""
    return (blocks.reshape(-1, BLOCK * BLOCK).astype(np.float32) - 128) @ DCT_MATRIX


def measure_activity(pixels: UInt8Array, x: int = 0, y: int = 0) -> UInt8Array:
    """Largest range of green (or luma) within a column of each block: uint8 [rows, columns].

    A block with a pixel clipped at 0 or 255 has activity 0: its pixels before clipping cannot be recovered.
    """
    height, width, channels = pixels.shape
    rows, columns = (height - y) // BLOCK, (width - x) // BLOCK
    if rows < 1 or columns < 1:
        return np.zeros((max(rows, 0), max(columns, 0)), np.uint8)
    strips = np.ascontiguousarray(pixels[y : y + rows * BLOCK]).reshape(rows, BLOCK, width * channels)
    cut = slice(x * channels, (x + columns * BLOCK) * channels)
    # Rows of blocks last: numpy is slow where the axis that is reduced is the innermost one.
    high, low = (
        np.ascontiguousarray(extreme[:, cut].T).reshape(columns, BLOCK * channels, rows)
        for extreme in (strips.max(axis=1), strips.min(axis=1))
    )
    clipped = (high.max(axis=1) == 255) | (low.min(axis=1) == 0)
    green = slice(channels // 2, None, channels)
    activity = np.where(clipped, np.uint8(0), (high - low)[:, green].max(axis=1))
    return np.ascontiguousarray(activity.T)


def busiest(activity: UInt8Array, count: int) -> tuple[IntArray, IntArray]:
    """Rows and columns, int [<= count] each, of the most active blocks, descending; blocks of activity 0 never."""
    flat = activity.ravel()
    order = np.argsort(255 - flat, kind="stable")[:count]
    rows, columns = np.divmod(order[flat[order] > 0], max(activity.shape[1], 1))
    return rows, columns


def cut_luma(pixels: UInt8Array, tops: IntArray, lefts: IntArray, size: int) -> Int32Array:
    """Square windows of luma: int32 [N, size, size]."""
    views = np.lib.stride_tricks.sliding_window_view(pixels, (size, size, pixels.shape[2]))[:, :, 0]
    return luma_of(views[tops, lefts])


def choose_blocks(pixels: UInt8Array, grid: Grid) -> list[Coefficients]:
    """Coefficients of the BLOCKS busiest unclipped blocks on a grid: the regular ones, then the sparse ones."""
    rows, columns = busiest(grid.activity, 2 * BLOCKS)
    if len(rows) == 0:
        return []
    luma = cut_luma(pixels, rows * BLOCK + grid.y, columns * BLOCK + grid.x, BLOCK)
    down = np.abs(np.diff(luma, axis=1)).sum(axis=(1, 2))
    across = np.abs(np.diff(luma, axis=2)).sum(axis=(1, 2))
    activity = np.minimum(down, across) / (BLOCK * (BLOCK - 1))
    order = np.argsort(-activity, kind="stable")[:BLOCKS]
    magnitudes, regular = np.abs(dct(luma[order])).T, activity[order] >= SPARSE_ACTIVITY
    return [
        Coefficients(np.ascontiguousarray(magnitudes[:, kind]), noise)
        for kind, noise in ((regular, regular_noise()), (~regular, sparse_noise()))
        if kind.any()
    ]


def count_busy(groups: list[Coefficients]) -> int:
    """How many of the chosen blocks are regular ones."""
    return sum(group.magnitudes.shape[1] for group in groups if group.noise.name == regular_noise().name)


def choose_discriminative_blocks(pixels: UInt8Array, grid: Grid, frequencies: IntArray) -> list[Coefficients]:
    """Coefficients of the BLOCKS unclipped blocks that have the largest coefficients at some frequencies.

    Blocks of equal rows count too. All are taken for sparse blocks.
    """
    across = measure_activity(pixels.transpose(1, 0, 2), grid.y, grid.x).T
    rows, columns = busiest(np.maximum(grid.activity, across), DISCRIMINATIVE_CANDIDATES)
    luma = cut_luma(pixels, rows * BLOCK + grid.y, columns * BLOCK + grid.x, BLOCK)
    magnitudes = np.abs(dct(luma)).T
    order = np.argsort(-magnitudes[frequencies].max(axis=0), kind="stable")[:BLOCKS]
    return [Coefficients(np.ascontiguousarray(magnitudes[:, order]), sparse_noise())]
