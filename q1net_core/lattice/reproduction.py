"""Which known table makes a decoder reproduce the very pixels of a few blocks.

Layer: numpy only; no keras, no beam, no pyarrow.

Multiples of the true steps decode to the pixels, to within half a level, the decoder's rounding. Multiples of other
steps do so only where they are about as fine as the rounding. This holds in any block, also where rows or columns are
equal and rounding errors go together, which no model of independent noise describes. Of tables that reproduce the
pixels the coarsest is likeliest: its multiples are the smallest numbers.
"""

from dataclasses import dataclass

import numpy as np

from q1net_core.arrays import BoolArray, Float32Array, IntArray, UInt8Array
from q1net_core.lattice.blocks import DCT_MATRIX, luma_of
from q1net_core.lattice.dictionary import all_steps, known_tables
from q1net_core.lattice.likelihood import laplace_decay
from q1net_core.patches import BLOCK

# How many blocks are judged, and from how many on no block with clipped pixels is.
BLOCKS = 256
ENOUGH_BLOCKS = 64
# Clipped pixels, of the 64 of a block, that are guessed.
MAX_CLIPPED = 16
# How often clipped pixels are guessed anew from the multiples nearest to the last guess.
GUESSES = 5
# How many blocks screen the tables, how many tables are left, and how many are judged at a time, to stay in cache.
SCREENED_BLOCKS = 16
SCREENED_TABLES = 32
TABLES_AT_A_TIME = 16
# Levels of luma beyond half a level by which a decoder's integers and single wrong multiples may be off: for tables
# without steps of 1, for each root of their number, and at most. A coefficient's multiple of 1 is not known for sure.
SLACK = (0.05, 0.05, 0.15)
# Share of blocks that no table need reproduce.
OUTLIERS = 0.02
# Largest rounding error of a coefficient in other blocks, and where rows or columns are equal.
ZERO = 1.2
EQUAL_ROWS_ZERO = 2.5
# How much farther coefficients spread by rounding where eight rounding errors are one: the square root of 8.
EQUAL_ROWS_SPREAD = np.float32(np.sqrt(BLOCK))
# Frequencies, without the mean, that blocks have whose rows are equal, and whose columns are.
HORIZONTAL = np.arange(1, BLOCK * BLOCK) < BLOCK
VERTICAL = np.arange(1, BLOCK * BLOCK) % BLOCK == 0
HALF_LEVEL = np.float32(0.5)
INVERSE_DCT = np.ascontiguousarray(DCT_MATRIX.T)


@dataclass(frozen=True, slots=True, eq=False)
class Blocks:
    """Blocks of luma: ``luma`` float32 [N, 64], less 128; ``known`` bool [N, 64] is false where a pixel is clipped.

    ``coefficients`` float32 [N, 64] are those of the pixels as they are. ``equal`` bool [N, 63] are the frequencies,
    without the mean, that a block has although its rows or its columns are equal.
    """

    luma: Float32Array
    known: BoolArray
    coefficients: Float32Array
    equal: BoolArray

    def __getitem__(self, chosen: slice | BoolArray) -> "Blocks":
        """Some of the blocks."""
        return Blocks(self.luma[chosen], self.known[chosen], self.coefficients[chosen], self.equal[chosen])


def measure_blocks(luma: Float32Array, known: BoolArray) -> Blocks:
    """Blocks of luma [N, 64], less 128, of which the ``known`` pixels are not clipped."""
    pixels = luma.reshape(-1, BLOCK, BLOCK)
    rows_equal, columns_equal = ((np.ptp(pixels, axis=axis) == 0).all(axis=1)[:, None] for axis in (1, 2))
    return Blocks(luma, known, luma @ DCT_MATRIX, (rows_equal & HORIZONTAL) | (columns_equal & VERTICAL))


@dataclass(frozen=True, slots=True)
class Reproduction:
    """How well a known table, an index into known_tables, reproduces blocks.

    ``gain`` is in nats over no table, ``share`` is that of the blocks it reproduces.
    """

    table: int
    gain: float
    share: float


def measure_range(pixels: UInt8Array, x: int, y: int) -> tuple[UInt8Array, UInt8Array]:
    """Range of the green of unclipped pixels, and count of clipped ones, of each block: uint8 [rows, columns] each."""
    height, width, channels = pixels.shape
    rows, columns = max(height - y, 0) // BLOCK, max(width - x, 0) // BLOCK
    cut = pixels[y : y + rows * BLOCK, x : x + columns * BLOCK]
    clipped = ((cut == 0) | (cut == 255)).any(axis=2)
    green = cut[..., channels // 2]
    shape = rows, BLOCK, columns, BLOCK
    high = np.where(clipped, np.uint8(0), green).reshape(shape).max(axis=(1, 3))
    low = np.where(clipped, np.uint8(255), green).reshape(shape).min(axis=(1, 3))
    return np.where(high > low, high - low, np.uint8(0)), clipped.reshape(shape).sum(axis=(1, 3), dtype=np.uint8)


def choose_varied_blocks(pixels: UInt8Array, x: int, y: int) -> Blocks:
    """The blocks on a grid whose luma varies most; last, and only where others are few, those with clipped pixels."""
    varied, clipped = measure_range(pixels, x, y)
    if not varied.any():
        return measure_blocks(np.zeros((0, BLOCK * BLOCK), np.float32), np.zeros((0, BLOCK * BLOCK), np.bool_))
    order = np.argsort(-varied.ravel().astype(np.intp), kind="stable")
    order = order[varied.ravel()[order] > 0]
    whole, part = order[clipped.ravel()[order] == 0], order[clipped.ravel()[order] > 0]
    part = part[clipped.ravel()[part] <= MAX_CLIPPED]
    # Colour may vary where luma does not: more are looked at than are judged.
    rows, columns = np.divmod(np.concatenate([whole[: 2 * BLOCKS], part[:BLOCKS]]), varied.shape[1])
    views = np.lib.stride_tricks.sliding_window_view(pixels, (BLOCK, BLOCK, pixels.shape[2]))[:, :, 0]
    cut = views[rows * BLOCK + y, columns * BLOCK + x].reshape(-1, BLOCK * BLOCK, pixels.shape[2])
    known = ~((cut == 0) | (cut == 255)).any(axis=2)
    luma = luma_of(cut)
    spread = np.where(known, luma, 0).max(axis=1) - np.where(known, luma, 255).min(axis=1)
    order = np.argsort(-spread, kind="stable")
    order = order[spread[order] > 0]
    all_known = known.all(axis=1)[order]
    count = int(all_known.sum())
    chosen = np.concatenate([order[all_known][:BLOCKS], order[~all_known][: max(0, ENOUGH_BLOCKS - count)]])
    return measure_blocks(luma[chosen].astype(np.float32) - 128, known[chosen])


def guess_clipped(blocks: Blocks, steps: Float32Array) -> Float32Array:
    """Luma whose clipped pixels are what tables make of the others: float32 [tables, N, 64].

    Args:
        steps: float32 [tables, 1, 64].
    """
    guess = np.broadcast_to(blocks.luma, (len(steps), *blocks.luma.shape))
    for _ in range(GUESSES):
        decoded = (np.rint(guess @ DCT_MATRIX / steps) * steps) @ INVERSE_DCT
        guess = np.where(blocks.known, blocks.luma, decoded)
    return guess


def log_laplace(magnitudes: Float32Array) -> Float32Array:
    """Log-probability of numbers [..., N, F] by the discrete Laplace distribution of each [..., F]'s mean magnitude."""
    decay = laplace_decay(magnitudes.mean(axis=-2, keepdims=True, dtype=np.float64))
    zero, slope = np.log((1 - decay) / (1 + decay)).astype(np.float32), np.log(decay).astype(np.float32)
    return zero + slope * magnitudes


def score_without_table(blocks: Blocks) -> Float32Array:
    """Log-probability of each block, float32 [N], whose coefficients are any integers."""
    equal, magnitudes = blocks.equal, np.abs(blocks.coefficients[:, 1:])
    integers = np.where(magnitudes < np.where(equal, EQUAL_ROWS_ZERO, ZERO), np.float32(0), np.rint(magnitudes))
    spread = np.where(equal, np.log(EQUAL_ROWS_SPREAD), np.float32(0))
    total: Float32Array = np.minimum(0, log_laplace(integers) + spread).sum(axis=1)
    return total


def score_tables(blocks: Blocks, without: Float32Array, tables: IntArray) -> tuple[Float32Array, BoolArray]:
    """Gain in nats of each table in each block, float32 [tables, N], and whether it reproduces it, bool.

    Args:
        without: of score_without_table, float32 [N].
    """
    steps = all_steps()[tables].astype(np.float32)[:, None]
    finest = (steps[..., 1:] == 1).sum(axis=2)
    slack = np.minimum(SLACK[0] + SLACK[1] * np.sqrt(finest), SLACK[2]).astype(np.float32)
    clipped = np.asarray(~blocks.known.all(axis=1))
    coefficients = np.broadcast_to(blocks.coefficients, (len(tables), *blocks.coefficients.shape))
    if clipped.any():
        coefficients = coefficients.copy()
        coefficients[:, clipped] = guess_clipped(blocks[clipped], steps) @ DCT_MATRIX
    multiples = np.rint(coefficients / steps)
    # What the pixels have beside the decoded ones. The mean follows below; where a step is 1 it is mere rounding.
    rest = (coefficients - multiples * steps) * (steps > 1)
    rest[..., 0] = 0
    beside = rest.reshape(-1, BLOCK * BLOCK) @ INVERSE_DCT
    beside = beside.reshape(rest.shape)
    high = np.where(blocks.known, beside, -np.inf).max(axis=2)
    low = np.where(blocks.known, beside, np.inf).min(axis=2)
    # By what the mean of the decoded block may differ, and whether a multiple of its step lies there.
    least, most = -HALF_LEVEL - slack - low, HALF_LEVEL + slack - high
    first, mean = steps[..., 0], coefficients[..., 0]
    reached = np.ceil((mean - BLOCK * most) / first - 1e-4) <= np.floor((mean - BLOCK * least) / first + 1e-4)
    magnitudes = np.abs(multiples[..., 1:])
    reproduced = (most >= least) & reached & magnitudes.any(axis=2)

    logs = log_laplace(magnitudes)
    if blocks.equal.any():
        # So many multiples lie within the rounding error.
        within = np.log(np.maximum(1, EQUAL_ROWS_SPREAD / steps[..., 1:]))
        logs = np.where(blocks.equal, np.minimum(0, logs + within), logs)
    # Of the means those that differ tell of their step: a mean can be any of so many levels of luma.
    means = len(np.unique(np.rint(blocks.coefficients[:, 0] / BLOCK))) / len(blocks.luma)
    gain = logs.sum(axis=2) + means * np.log(np.maximum(first / BLOCK, 1))
    gain = np.logaddexp(np.log(1 - OUTLIERS) + gain - without, np.log(OUTLIERS))
    return np.where(reproduced, gain, np.float32(np.log(OUTLIERS))), reproduced


def judge_tables(blocks: Blocks, tables: IntArray) -> list[Reproduction]:
    """How well tables reproduce blocks, the greatest gain first; where gains are equal, in the order of the tables."""
    found = []
    without = score_without_table(blocks)
    for start in range(0, len(tables), TABLES_AT_A_TIME):
        some = tables[start : start + TABLES_AT_A_TIME]
        gains, reproduced = score_tables(blocks, without, some)
        found += [
            Reproduction(int(table), float(gain), float(share))
            for table, gain, share in zip(some, gains.sum(axis=1), reproduced.mean(axis=1), strict=True)
        ]
    return sorted(found, key=lambda one: -one.gain)


def find_reproducing_tables(blocks: Blocks) -> list[Reproduction]:
    """The tables that reproduce blocks best, the greatest gain first; none where there are no blocks."""
    if len(blocks.luma) == 0:
        return []
    every = np.arange(len(known_tables()))
    if len(blocks.luma) <= SCREENED_BLOCKS:
        return judge_tables(blocks, every)
    best = judge_tables(blocks[:SCREENED_BLOCKS], every)[:SCREENED_TABLES]
    return judge_tables(blocks, np.array([one.table for one in best]))
