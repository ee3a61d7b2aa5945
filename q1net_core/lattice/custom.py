"""A table of no known encoder, step by step.

Layer: numpy only; no keras, no beam, no pyarrow.
"""

from functools import cache

import numpy as np

from q1net_core.arrays import IntArray
from q1net_core.lattice.blocks import Coefficients
from q1net_core.lattice.dictionary import AC, Pairs, pair_steps
from q1net_core.lattice.likelihood import score_pairs, score_without_lattice

# The steps that are tried at each frequency.
CUSTOM_STEPS = np.arange(1, 129)
# Evidence of nonzero coefficients, observed over expected, that the steps together need.
MIN_EVIDENCE = 0.7
# Nats over no lattice that a frequency's best step needs.
CUSTOM_GAIN = 10.0
# How many frequencies must have such a step.
CUSTOM_FREQUENCIES = 8


@cache
def free_pairs() -> Pairs:
    """Every step at every scored frequency, as tables of one step."""
    return pair_steps(np.broadcast_to(CUSTOM_STEPS[:, None], (len(CUSTOM_STEPS), 64)), AC)


def fit_free_steps(groups: list[Coefficients]) -> tuple[IntArray, float] | None:
    """Find the best step of each frequency on its own.

    Returns:
        Steps int [64] in row order, 0 where unknown, and their evidence; or None where too few frequencies have one.
    """
    pairs = free_pairs()
    scores = score_pairs(groups, pairs)
    likelihood = scores.likelihood[pairs.rows]
    best = likelihood.argmax(axis=0)
    gain = likelihood.max(axis=0) - score_without_lattice(groups, AC)
    columns = np.arange(len(AC))
    decided = (gain >= CUSTOM_GAIN) & (scores.expected[pairs.rows[best, columns]] > 0)
    if decided.sum() < CUSTOM_FREQUENCIES:
        return None
    chosen = pairs.rows[best, columns][decided]
    evidence = float(scores.observed[chosen].sum() / scores.expected[chosen].sum())
    if evidence < MIN_EVIDENCE:
        return None
    found = np.zeros(64, np.intp)
    found[AC[decided]] = CUSTOM_STEPS[best[decided]]
    return found, evidence
