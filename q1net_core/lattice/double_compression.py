"""Aligned double compression: a coarser table of an earlier compression on the same grid.

Layer: numpy only; no keras, no beam, no pyarrow.

The primary table belongs to the first compression, the secondary table to the last. Multiples of a primary step that
are rounded to multiples of a finer secondary step leave most multiples of the secondary step unused. Non-aligned double
compression, on another grid, leaves no such gaps.
"""

import numpy as np

from q1net_core.arrays import Float32Array, Float64Array
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


def find_primary_table(groups: list[Coefficients], secondary: KnownTable) -> KnownTable | None:
    """The known table of an earlier, coarser compression on the same grid, or None.

    Args:
        groups: coefficients of blocks that lie on the lattice of ``secondary``.
        secondary: the table of the last compression.
    """
    pairs = screening_pairs()
    secondary_steps = np.array(secondary.steps, np.float64)
    coarser = np.flatnonzero(pairs.steps >= COARSER * secondary_steps[pairs.frequencies])
    if len(coarser) == 0:
        return None
    frequencies, rows = np.unique(pairs.frequencies[coarser], return_inverse=True)
    magnitudes = np.concatenate([group.magnitudes[frequencies, :SAMPLED_BLOCKS] for group in groups], axis=1)
    found = np.rint(magnitudes / secondary_steps[frequencies, None])
    # The gain of a coefficient depends on its frequency and multiple alone: each multiple is judged once and counted.
    multiples = np.arange(1, LARGEST_MULTIPLE + 1)
    counts = count_multiples(found)[rows]
    # Shares of the multiples after a single compression, up to a factor.
    single = laplace_decay(found.mean(axis=1, dtype=np.float64))[rows, None] ** multiples

    primary_step = pairs.steps[coarser, None]
    secondary_step = secondary_steps[pairs.frequencies[coarser], None].astype(np.float32)
    values = multiples.astype(np.float32) * secondary_step
    distance = np.abs(values - np.rint(values / primary_step) * primary_step)
    upper, lower = ((distance + side * secondary_step / 2) / ROUNDING for side in (1, -1))
    # Probability that the nearest multiple of the primary step is rounded to this multiple of the secondary one.
    reached = normal_cdf(upper) - normal_cdf(lower)
    # Most coefficients are one secondary step or none anyway: if the primary table can make one, it tells nothing.
    discriminative = (multiples > 1) | (reached < 0.5)
    counts, single = counts * discriminative, single * discriminative
    # Mean of that probability over coefficients compressed once.
    chance = (reached * single).sum(axis=1, keepdims=True) / single.sum(axis=1, keepdims=True)
    gain = np.log((1 - OUTLIERS) * reached / chance + OUTLIERS)
    gains, possible = np.zeros(len(pairs.steps)), np.zeros(len(pairs.steps))
    gains[coarser] = (gain * counts).sum(axis=1)
    possible[coarser] = counts.sum(axis=1) * -np.log(chance[:, 0])
    by_table, most = gains[pairs.rows].sum(axis=1), possible[pairs.rows].sum(axis=1)
    by_table[np.isin(pairs.rows, coarser).sum(axis=1) < MIN_COARSER] = 0
    best = int(np.argmax(by_table))
    if by_table[best] < max(MIN_GAIN, MIN_SHARE * most[best]):
        return None
    return known_tables()[best]
