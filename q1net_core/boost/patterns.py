"""Patterns: blocks of a residual, the choice of a pattern for each by rate and distortion, and the picture they make.

Layer: numpy only. Residuals are of luma, in units of the codec's RMSE; a block is 8x8 pixels, flat.
"""

import numpy as np

from q1net_core.arrays import Float32Array, Float64Array, IntArray
from q1net_core.boost.indices import SCALE, Flags, Tables

BLOCK = 8
CELL = BLOCK * BLOCK
# What a codec gains by doubling its rate: dB at 0.15 bits per pixel, how many more at twice that rate, and limits.
GAIN, GROWTH, GAINS = 2.1, 0.75, (1.5, 4.5)


def to_blocks(plane: Float32Array) -> Float32Array:
    """A plane float32 [H, W] -> blocks [rows, columns, 64]; last row and column are repeated where blocks jut out."""
    padded = np.pad(plane, [(0, -side % BLOCK) for side in plane.shape], "edge")
    rows, columns = (side // BLOCK for side in padded.shape)
    return padded.reshape(rows, BLOCK, columns, BLOCK).swapaxes(1, 2).reshape(rows, columns, CELL)


def to_plane(blocks: Float32Array, height: int, width: int) -> Float32Array:
    """What ``to_blocks`` took apart."""
    rows, columns = blocks.shape[:2]
    plane = blocks.reshape(rows, columns, BLOCK, BLOCK).swapaxes(1, 2).reshape(rows * BLOCK, columns * BLOCK)
    return plane[:height, :width]


def grid_of(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of the blocks of a picture."""
    return -(-height // BLOCK), -(-width // BLOCK)


def usual_gain(bpp: float) -> float:
    """How many dB JPEG 2000 usually gains by doubling a rate in bits per pixel."""
    return float(np.clip(GAIN + GROWTH * np.log2(bpp / 0.15), *GAINS))


def price_of_a_bit(bpp: float, gain: float) -> float:
    """How much squared error, in units of the codec's MSE, a bit must save: as much as it would in the codec itself.

    With ``gain`` dB for each doubling of the rate R, an error of 1 in each of three channels falls by
    3 gain ln 10 / (10 ln 2 R) with each further bit.
    """
    return float(3 * gain * np.log(10) / (10 * np.log(2) * bpp))


def find_distances(blocks: Float32Array, codebook: Float32Array) -> Float32Array:
    """Squared distances of blocks [N, 64] from patterns [K, 64], float32 [N, K]."""
    distances = (blocks**2).sum(1)[:, None] - 2 * blocks @ codebook.T + (codebook**2).sum(1)
    nearest: Float32Array = np.maximum(distances, 0)
    return nearest


def choose_patterns(
    blocks: Float32Array, codebook: Float32Array, tables: Tables, octave: int, price: float
) -> IntArray:
    """The index of a pattern for each block [rows, columns, 64]: least squared error plus ``price`` times its bits.

    Cell by cell in raster order; each choice knows what it costs after those before it, as the coder will count it.
    """
    rows, columns = blocks.shape[:2]
    distances = find_distances(blocks.reshape(-1, CELL), codebook).astype(np.float64)
    costs = distances[:, 1:] + price * tables.index_bits(octave)
    best = costs.argmin(axis=1)
    gains: list[float] = (distances[:, 0] - costs[np.arange(len(best)), best]).tolist()
    flags, chosen = Flags(tables, octave, rows, columns), []
    # What "used" costs more than "unused", by its frequency.
    bits = extra_bits()
    for place, gain in zip(flags.cells(), gains, strict=True):
        context = flags.context(place)
        used = int(gain > price * bits[flags.frequency(context)])
        flags.update(place, context, used)
        chosen.append(used)
    indices: IntArray = np.where(np.array(chosen) > 0, best + 1, 0).reshape(rows, columns)
    return indices


def extra_bits() -> Float64Array:
    """log2((1 - p) / p) of p = frequency / 2^16."""
    frequencies = np.arange(1, SCALE)
    bits: Float64Array = np.concatenate([[np.inf], np.log2((SCALE - frequencies) / frequencies)])
    return bits


def render(indices: IntArray, codebook: Float32Array, height: int, width: int) -> Float32Array:
    """The luma that the patterns of a map add, float32 [height, width], in units of the codec's RMSE."""
    return to_plane(codebook[indices], height, width)
