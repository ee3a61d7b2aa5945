"""Under the lattice of the last compression, the coarser one of a compression before it on the same grid.

Layer: numpy only; no keras, no beam, no pyarrow.

Coefficients that were multiples of s1 and are then rounded to multiples of s2 < s1 leave most multiples of s2 unused.
"""

import numpy as np
import numpy.typing as npt

from q1net_core.lattice.dictionary import KnownTable, known_tables, screening_pairs
from q1net_core.lattice.likelihood import Coefficients, laplace_decay
from q1net_core.records import Float32Array

Array = npt.NDArray[np.float64]

HISTORY_BLOCKS = 128
LARGEST_MULTIPLE = 40
# What the first decoder's rounding adds before the second compression, and how often something else happens.
NOISE = 0.4
OUTLIERS = 0.05
# A first step less coarse than this leaves no gaps between the multiples of the last one.
COARSER = 1.3
# Nats for a first table, and their share of what a first table would give.
MIN_GAIN = 40.0
MIN_EVIDENCE = 0.6


def normal_cdf(z: Float32Array) -> Float32Array:
    """The normal distribution function, to 0.01: a logistic curve."""
    share: Float32Array = 1 / (1 + np.exp(np.clip(np.float32(-1.702) * z, -60, 60)))
    return share


def find_first_table(groups: list[Coefficients], last: KnownTable) -> KnownTable | None:
    """The known table of an earlier, coarser compression on the same grid, or None.

    Args:
        groups: coefficients of blocks that lie on the lattice of ``last``.
        last: the table of the last compression.
    """
    pairs = screening_pairs()
    last_steps = np.array(last.steps, np.float64)
    coarser = np.flatnonzero(pairs.steps >= COARSER * last_steps[pairs.frequencies])
    if len(coarser) == 0:
        return None
    frequencies, rows = np.unique(pairs.frequencies[coarser], return_inverse=True)
    magnitudes = np.concatenate([group.magnitudes[frequencies, :HISTORY_BLOCKS] for group in groups], axis=1)
    found = np.rint(magnitudes / last_steps[frequencies, None])
    # What is judged depends on a frequency's multiples alone, so that each is judged once and counted.
    multiples = np.arange(1, LARGEST_MULTIPLE + 1)
    places = np.minimum(found, LARGEST_MULTIPLE + 1).astype(np.intp)
    places += np.arange(len(frequencies))[:, None] * (LARGEST_MULTIPLE + 2)
    shape = (len(frequencies), LARGEST_MULTIPLE + 2)
    counts = np.bincount(places.ravel(), minlength=shape[0] * shape[1]).reshape(shape)[rows, 1:-1]
    usual = laplace_decay(found.mean(axis=1, dtype=np.float64))[rows, None] ** multiples

    first, second = pairs.steps[coarser, None], last_steps[pairs.frequencies[coarser], None].astype(np.float32)
    values = multiples.astype(np.float32) * second
    distance = np.abs(values - np.rint(values / first) * first)
    inside = normal_cdf((distance + second / 2) / NOISE) - normal_cdf((distance - second / 2) / NOISE)
    # Where a single step can come from the first table, it tells nothing: most coefficients have no more anyway.
    telling = (multiples > 1) | (inside < 0.5)
    counts, usual = counts * telling, usual * telling
    # Of coefficients compressed once, how many lie where the first table could have put them.
    chance = (inside * usual).sum(axis=1, keepdims=True) / usual.sum(axis=1, keepdims=True)
    gain = np.log((1 - OUTLIERS) * inside / chance + OUTLIERS)
    gains, possible = np.zeros(len(pairs.steps)), np.zeros(len(pairs.steps))
    gains[coarser] = (gain * counts).sum(axis=1)
    possible[coarser] = counts.sum(axis=1) * -np.log(chance[:, 0])
    by_table, most = gains[pairs.rows].sum(axis=1), possible[pairs.rows].sum(axis=1)
    best = int(np.argmax(by_table))
    if by_table[best] < max(MIN_GAIN, MIN_EVIDENCE * most[best]):
        return None
    return known_tables()[best]
