"""Aligned double compression: a coarser table of an earlier compression on the same grid.

Layer: numpy only; no keras, no beam, no pyarrow.

The primary table belongs to the first compression, the secondary table to the last. Multiples of a primary step that
are rounded to multiples of a finer secondary step leave most multiples of the secondary step unused. Non-aligned double
compression, on another grid, leaves no such gaps.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from q1net_core.arrays import BoolArray, Float32Array, Float64Array, IntArray
from q1net_core.lattice.blocks import Coefficients
from q1net_core.lattice.dictionary import KnownTable, known_tables, screening_pairs
from q1net_core.lattice.likelihood import laplace_decay

# How many blocks of each kind are looked at.
SAMPLED_BLOCKS = 128
# Multiples of the secondary step beyond this one are left out: they are rare.
LARGEST_MULTIPLE = 40
# Standard deviation, in units of coefficient, that the first decoder's rounding adds before the second compression.
ROUNDING = 0.4
# Share of coefficients that lie anywhere.
OUTLIERS = 0.05
# Ratio of primary to secondary step below which no gaps are left between the multiples.
COARSER = 1.3
# At how many of the screened frequencies a primary table must be coarser.
MIN_COARSER = 10
# Nats that a primary table must gain over single compression.
MIN_GAIN = 40.0
# Share that a primary table must gain of what it would gain if all coefficients were its multiples.
MIN_SHARE = 0.6


@dataclass(frozen=True, slots=True, eq=False)
class Reach:
    """What primary tables make of the multiples of a secondary table.

    ``coarser`` int [C] are the screened pairs whose step is coarser. ``probability`` float32 [C, LARGEST_MULTIPLE] is
    that of the nearest multiple of the primary step to be rounded to each multiple of the secondary one;
    ``discriminative`` bool says where that tells anything. ``enough`` bool [tables]: coarser at enough frequencies.
    """

    coarser: IntArray
    probability: Float32Array
    discriminative: BoolArray
    enough: BoolArray


def normal_cdf(z: Float32Array) -> Float32Array:
    """The normal distribution function to within 0.01, by a logistic curve."""
    share: Float32Array = 1 / (1 + np.exp(np.clip(np.float32(-1.702) * z, -60, 60)))
    return share


def count_multiples(multiples: Float64Array) -> Float64Array:
    """How often 1, 2, ... LARGEST_MULTIPLE occur in each row: float [rows, N] -> float64 [rows, LARGEST_MULTIPLE]."""
    # One bin for zeros, one for each multiple, one for all beyond.
    bins = LARGEST_MULTIPLE + 2
    found = np.minimum(multiples, LARGEST_MULTIPLE + 1).astype(np.intp) + np.arange(len(multiples))[:, None] * bins
    counts = np.bincount(found.ravel(), minlength=len(multiples) * bins).reshape(-1, bins)
    return counts[:, 1:-1].astype(np.float64)


@lru_cache(maxsize=16)
def reach_multiples(secondary: KnownTable) -> Reach | None:
    """What coarser tables make of a secondary table's multiples; None where no step is coarser.

    Archives hold many images of few tables.
    """
    pairs = screening_pairs()
    steps = np.array(secondary.steps, np.float64)
    coarser = np.flatnonzero(pairs.steps >= COARSER * steps[pairs.frequencies])
    if len(coarser) == 0:
        return None
    primary_step = pairs.steps[coarser, None]
    secondary_step = steps[pairs.frequencies[coarser], None].astype(np.float32)
    multiples = np.arange(1, LARGEST_MULTIPLE + 1)
    values = multiples.astype(np.float32) * secondary_step
    distance = np.abs(values - np.rint(values / primary_step) * primary_step)
    upper, lower = ((distance + side * secondary_step / 2) / ROUNDING for side in (1, -1))
    reached = normal_cdf(upper) - normal_cdf(lower)
    is_coarser = np.zeros(len(pairs.steps), np.bool_)
    is_coarser[coarser] = True
    return Reach(
        coarser=coarser,
        probability=reached,
        # Most coefficients are one secondary step or none anyway: if the primary table can make one, it tells nothing.
        discriminative=(multiples > 1) | (reached < 0.5),
        enough=is_coarser[pairs.rows].sum(axis=1) >= MIN_COARSER,
    )


def find_primary_table(groups: list[Coefficients], secondary: KnownTable) -> KnownTable | None:
    """The known table of an earlier, coarser compression on the same grid, or None.

    Args:
        groups: coefficients of blocks that lie on the lattice of ``secondary``.
        secondary: the table of the last compression.
    """
    pairs = screening_pairs()
    reach = reach_multiples(secondary)
    if reach is None:
        return None
    frequencies, rows = np.unique(pairs.frequencies[reach.coarser], return_inverse=True)
    magnitudes = np.concatenate([group.magnitudes[frequencies, :SAMPLED_BLOCKS] for group in groups], axis=1)
    found = np.rint(magnitudes / np.array(secondary.steps, np.float64)[frequencies, None])
    # The gain of a coefficient depends on its frequency and multiple alone: each multiple is judged once and counted.
    counts = count_multiples(found)[rows] * reach.discriminative
    # Shares of the multiples after a single compression, up to a factor.
    decay = laplace_decay(found.mean(axis=1, dtype=np.float64))[:, None]
    single = (decay ** np.arange(1, LARGEST_MULTIPLE + 1))[rows] * reach.discriminative
    # Mean of the probability over coefficients compressed once.
    chance = (reach.probability * single).sum(axis=1, keepdims=True) / single.sum(axis=1, keepdims=True)
    gain = np.log((1 - OUTLIERS) * reach.probability / chance + OUTLIERS)
    gains, possible = np.zeros(len(pairs.steps)), np.zeros(len(pairs.steps))
    gains[reach.coarser] = (gain * counts).sum(axis=1)
    possible[reach.coarser] = counts.sum(axis=1) * -np.log(chance[:, 0])
    by_table, most = gains[pairs.rows].sum(axis=1), possible[pairs.rows].sum(axis=1)
    by_table[~reach.enough] = 0
    best = int(np.argmax(by_table))
    if by_table[best] < max(MIN_GAIN, MIN_SHARE * most[best]):
        return None
    return known_tables()[best]
