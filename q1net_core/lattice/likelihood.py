"""How likely each step of each frequency makes the coefficients of blocks.

Layer: numpy only; no keras, no beam, no pyarrow.

A coefficient is a multiple of its step plus noise. Multiples follow a discrete Laplace distribution at its most likely
scale, which their mean magnitude decides.
"""

from dataclasses import dataclass

import numpy as np

from q1net_core.arrays import Float64Array, IntArray
from q1net_core.lattice.blocks import Coefficients
from q1net_core.lattice.dictionary import Pairs
from q1net_core.lattice.noise import lookup, wrap

# Below this step, in units of coefficient, the noise reaches the neighbouring multiples, which are summed over.
SMALL_STEP = 4


@dataclass(frozen=True, slots=True, eq=False)
class PairScores:
    """Scores of pairs of frequency and step, float64 [P] each, in nats.

    ``likelihood`` is the log-likelihood of all coefficients. ``observed`` is the evidence of the nonzero coefficients
    for a lattice, and ``expected`` what they give on average on a true one.
    """

    likelihood: Float64Array
    observed: Float64Array
    expected: Float64Array


def laplace_decay(mean: Float64Array) -> Float64Array:
    """Decay from one multiple to the next, in (0, 1), of the discrete Laplace distribution of this mean magnitude."""
    return np.clip((np.sqrt(1 + mean**2) - 1) / np.maximum(mean, 1e-9), 1e-6, 1 - 1e-6)


def laplace_likelihood(total: Float64Array, count: int) -> Float64Array:
    """Log-likelihood, at the most likely scale, of ``count`` multiples whose magnitudes sum to ``total``."""
    decay = laplace_decay(total / count)
    return count * np.log((1 - decay) / (1 + decay)) + total * np.log(decay)


def score_pairs(groups: list[Coefficients], pairs: Pairs) -> PairScores:
    """Score how well each pair's step explains the coefficients of its frequency."""
    steps = pairs.steps[:, None]
    small = np.flatnonzero(pairs.steps < SMALL_STEP)
    magnitudes = [group.magnitudes[pairs.frequencies] for group in groups]
    multiples = [np.rint(some / steps) for some in magnitudes]
    count = sum(k.shape[1] for k in multiples)
    total = np.sum([k.sum(axis=1, dtype=np.float64) for k in multiples], axis=0)
    decay = laplace_decay(total / count).astype(np.float32)[small, None]
    likelihood = laplace_likelihood(total, count)
    observed, expected = np.zeros(len(pairs.steps)), np.zeros(len(pairs.steps))
    for group, rest, k in zip(groups, magnitudes, multiples, strict=True):
        density = group.noise.density
        rest -= k * steps
        logs = lookup(group.noise.log_density, np.abs(rest))
        nonzero = k > 0
        evidence = (logs * nonzero).sum(axis=1, dtype=np.float64)
        near, step, k_small = rest[small], steps[small], k[small]
        inwards = np.where(k_small > 0, 1 / decay, decay)
        neighbours = decay * lookup(density, np.abs(near - step)) + inwards * lookup(density, np.abs(near + step))
        logs[small] = np.log(lookup(density, np.abs(near)) + neighbours)
        evidence[small] = (np.log(wrap(density, near, step)) * nonzero[small]).sum(axis=1, dtype=np.float64)
        nonzeros = nonzero.sum(axis=1)
        likelihood += logs.sum(axis=1, dtype=np.float64)
        observed += evidence + nonzeros * np.log(pairs.steps)
        expected += nonzeros * group.noise.expected[pairs.steps.astype(np.intp)]
    return PairScores(likelihood, observed, expected)


def score_without_lattice(groups: list[Coefficients], frequencies: IntArray) -> Float64Array:
    """Log-likelihood of each frequency's coefficients if they lie anywhere: float64 [frequencies]."""
    rounded = [np.rint(group.magnitudes[frequencies]) for group in groups]
    total = np.sum([k.sum(axis=1, dtype=np.float64) for k in rounded], axis=0)
    return laplace_likelihood(total, sum(k.shape[1] for k in rounded))


def evidence_of(scores: PairScores, rows: IntArray) -> Float64Array:
    """Evidence for tables, observed over expected: int [tables, frequencies] -> float64 [tables].

    It is about 1 on a lattice, negative elsewhere, and 0 where all coefficients are zero.
    """
    observed, expected = scores.observed[rows].sum(axis=1), scores.expected[rows].sum(axis=1)
    ratio: Float64Array = np.divide(observed, expected, out=np.zeros_like(observed), where=expected > 0)
    return ratio
