"""Where the 8x8 block grid of a compression lies in pixels.

Layer: numpy only; no keras, no beam, no pyarrow.

On the right grid the DCT coefficients of decoded luma are integers, multiples of the table's steps, plus the decoder's
rounding noise; many are zero. On any other grid they lie anywhere.
"""

import numpy as np

from q1net_core.arrays import Float64Array, IntArray, UInt8Array
from q1net_core.lattice.blocks import Grid, busiest, cut_luma, dct, measure_activity
from q1net_core.patches import BLOCK

# A window of this size, in pixels, holds one block at each of the 64 phases.
WINDOW = 2 * BLOCK - 1
PHASES = BLOCK * BLOCK
# How many of the busiest windows are searched; the first of them suffice if a phase leads by so many deviations.
WINDOWS = 96
FIRST_WINDOWS = 24
SURE = 15.0
# Coefficients nearer to 0 than this count as zero: two standard deviations of the decoder's rounding.
ZERO = 0.6


def find_grid(pixels: UInt8Array) -> Grid:
    """The phase at which busy windows have the most integer and the most zero coefficients.

    The phase of the top-left pixel wins where no phase stands out from it, because files start on their grid.

    Args:
        pixels: uint8 [height, width, 3] RGB or [height, width, 1] luma.
    """
    activity = measure_activity(pixels)
    if min(activity.shape) < 2:
        return Grid(0, 0, 0.0, activity)
    pairs = np.minimum(activity[:-1], activity[1:])
    tops, lefts = busiest(np.minimum(pairs[:, :-1], pairs[:, 1:]), WINDOWS)
    if len(tops) == 0:
        return Grid(0, 0, 0.0, activity)
    sums = sum_phases(pixels, tops[:FIRST_WINDOWS], lefts[:FIRST_WINDOWS])
    best, prominence = choose_phase(sums, min(len(tops), FIRST_WINDOWS))
    if prominence < SURE and len(tops) > FIRST_WINDOWS:
        sums += sum_phases(pixels, tops[FIRST_WINDOWS:], lefts[FIRST_WINDOWS:])
        best, prominence = choose_phase(sums, len(tops))
    y, x = divmod(best, BLOCK)
    return Grid(x, y, prominence, measure_activity(pixels, x, y) if best else activity, len(tops))


def sum_phases(pixels: UInt8Array, tops: IntArray, lefts: IntArray) -> Float64Array:
    """How integer and how zero the coefficients of windows are at each phase, summed: float64 [64]."""
    windows = cut_luma(pixels, tops * BLOCK, lefts * BLOCK, WINDOW)
    blocks = np.lib.stride_tricks.sliding_window_view(windows, (BLOCK, BLOCK), axis=(1, 2))
    coefficients = dct(blocks.transpose(1, 2, 0, 3, 4).reshape(-1, BLOCK, BLOCK))[:, 1:].reshape(PHASES, -1)
    integer = np.cos(2 * np.pi * coefficients).sum(axis=1)
    sums: Float64Array = integer + (np.abs(coefficients) < ZERO).sum(axis=1)
    return sums.astype(np.float64)


def choose_phase(sums: Float64Array, windows: int) -> tuple[int, float]:
    """The phase whose sum over windows is largest, and by how many standard deviations."""
    count = windows * (PHASES - 1)
    # Standard deviation of a mean of cosines of random phases.
    deviation = float(np.sqrt(0.5 / count))
    scores = sums / count
    scores[0] += 2 * deviation
    best = int(np.argmax(scores))
    return best, float((scores[best] - np.delete(scores, best).max()) / deviation)
