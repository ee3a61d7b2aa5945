"""Where the 8x8 block grid of a compression lies in pixels, and the blocks and DCT coefficients on it.

Layer: numpy only; no keras, no beam, no pyarrow.

Decoded luma is recovered by rounding: each of R, G, B was rounded once, so 0.299 R + 0.587 G + 0.114 B lies within half
a level of the decoder's integer. Its DCT coefficients on the right grid are then integers (multiples of the table's
steps) plus the decoder's rounding noise of 0.29; on any other grid they are not.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from q1net_core.patches import BLOCK
from q1net_core.records import Float32Array, UInt8Array

IntArray = npt.NDArray[np.intp]

# A window of this size holds one block at each of the 64 phases.
WINDOW = 2 * BLOCK - 1
WINDOWS = 96
PHASES = BLOCK * BLOCK
# Coefficients nearer to zero than this are counted as zero: two standard deviations of the decoder's rounding.
ZERO = 0.6
# Weights of R, G, B in the luma of JPEG (ITU-T T.871), as 16-bit fractions.
LUMA_WEIGHTS = (19_595, 38_470, 7_471)


def _dct_matrix() -> Float32Array:
    n = np.arange(BLOCK)
    rows = np.sqrt(2 / BLOCK) * np.cos((2 * n[None] + 1) * n[:, None] * np.pi / (2 * BLOCK))
    rows[0] /= np.sqrt(2)
    return np.ascontiguousarray(np.kron(rows, rows).T.astype(np.float32))


DCT = _dct_matrix()


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Phase of the block grid, ``x`` and ``y`` of 0..7, and by how many deviations of chance it beats the next.

    ``activity`` is that of the blocks on this grid, see measure_activity.
    """

    x: int
    y: int
    prominence: float
    activity: UInt8Array


def luma_of(pixels: UInt8Array) -> npt.NDArray[np.int32]:
    """Luma as the decoder had it before colour conversion: uint8 [..., 3] -> int32 [...]."""
    red, green, blue = (pixels[..., channel].astype(np.int32) for channel in range(3))
    weighted = red * LUMA_WEIGHTS[0] + green * LUMA_WEIGHTS[1] + blue * LUMA_WEIGHTS[2]
    return (weighted + (1 << 15)) >> 16


def transform(blocks: npt.NDArray[np.int32]) -> Float32Array:
    """Orthonormal DCT of luma blocks: int [N, 8, 8] -> float32 [N, 64] in natural (row) order."""
    return (blocks.reshape(-1, BLOCK * BLOCK).astype(np.float32) - 128) @ DCT


def measure_activity(pixels: UInt8Array, x: int = 0, y: int = 0) -> UInt8Array:
    """How much each block varies along its columns: uint8 [rows, columns], 0 where a pixel is clipped at 0 or 255.

    Clipped blocks are useless: what the decoder had before clipping cannot be recovered.
    """
    height, width = pixels.shape[:2]
    rows, columns = (height - y) // BLOCK, (width - x) // BLOCK
    if rows < 1 or columns < 1:
        return np.zeros((max(rows, 0), max(columns, 0)), np.uint8)
    strips = np.ascontiguousarray(pixels[y : y + rows * BLOCK]).reshape(rows, BLOCK, width * 3)
    cut = slice(x * 3, (x + columns * BLOCK) * 3)
    # Rows of blocks last: numpy is slow where the axis that is reduced is the innermost one.
    high, low = (
        np.ascontiguousarray(extreme[:, cut].T).reshape(columns, BLOCK * 3, rows)
        for extreme in (strips.max(axis=1), strips.min(axis=1))
    )
    clipped = (high.max(axis=1) == 255) | (low.min(axis=1) == 0)
    activity = np.where(clipped, np.uint8(0), (high - low)[:, 1::3].max(axis=1))
    return np.ascontiguousarray(activity.T)


def busiest(activity: UInt8Array, count: int) -> tuple[IntArray, IntArray]:
    """Rows and columns of the ``count`` most active places, the most active first; inactive ones never."""
    flat = activity.ravel()
    order = np.argsort(255 - flat, kind="stable")[:count]
    rows, columns = np.divmod(order[flat[order] > 0], max(activity.shape[1], 1))
    return rows, columns


def cut_luma(pixels: UInt8Array, tops: IntArray, lefts: IntArray, size: int) -> npt.NDArray[np.int32]:
    """Square windows of luma: int32 [N, size, size]."""
    views = np.lib.stride_tricks.sliding_window_view(pixels, (size, size, 3))[:, :, 0]
    return luma_of(views[tops, lefts])


def find_grid(pixels: UInt8Array) -> Grid:
    """The grid phase at which busy places have the most integer and the most zero coefficients.

    Where no phase stands out from the one at the top-left pixel, it is that one: files start there.

    Args:
        pixels: uint8 [height, width, 3].
    """
    activity = measure_activity(pixels)
    if min(activity.shape) < 2:
        return Grid(0, 0, 0.0, activity)
    pairs = np.minimum(activity[:-1], activity[1:])
    tops, lefts = busiest(np.minimum(pairs[:, :-1], pairs[:, 1:]), WINDOWS)
    if len(tops) == 0:
        return Grid(0, 0, 0.0, activity)
    windows = cut_luma(pixels, tops * BLOCK, lefts * BLOCK, WINDOW)
    blocks = np.lib.stride_tricks.sliding_window_view(windows, (BLOCK, BLOCK), axis=(1, 2))
    coefficients = transform(blocks.transpose(1, 2, 0, 3, 4).reshape(-1, BLOCK, BLOCK))[:, 1:].reshape(PHASES, -1)
    integer = np.cos(2 * np.pi * coefficients).mean(axis=1)
    zero = (np.abs(coefficients) < ZERO).mean(axis=1)
    scores = (integer + zero).astype(np.float64)
    chance = float(np.sqrt(0.5 / coefficients.shape[1]))
    scores[0] += 2 * chance
    best = int(np.argmax(scores))
    others = np.delete(scores, best)
    prominence = float((scores[best] - others.max()) / chance)
    y, x = divmod(best, BLOCK)
    return Grid(x, y, prominence, measure_activity(pixels, x, y) if best else activity)
