"""How likely steps make coefficients: the true step is the best, and its evidence is as expected."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from q1net_core.arrays import Float32Array
from q1net_core.lattice.blocks import Coefficients
from q1net_core.lattice.dictionary import AC, pair_steps
from q1net_core.lattice.likelihood import laplace_decay, laplace_likelihood, score_pairs, score_without_lattice
from q1net_core.lattice.noise import regular_noise, sparse_noise


def laplace(rng: np.random.Generator, decay: float, shape: tuple[int, ...]) -> Float32Array:
    """Discrete Laplace numbers: the difference of two geometric ones."""
    return (rng.geometric(1 - decay, shape) - rng.geometric(1 - decay, shape)).astype(np.float32)


@given(st.floats(0.01, 0.98))
def test_the_decay_gives_the_mean_magnitude_back(decay: float) -> None:
    k = np.arange(1, 2000)
    mean = 2 * (1 - decay) / (1 + decay) * (k * decay**k).sum()
    assert laplace_decay(np.array([mean]))[0] == pytest.approx(decay, abs=1e-6)


@given(st.lists(st.integers(-30, 30), min_size=1, max_size=50))
def test_the_likelihood_is_that_of_the_numbers_at_the_best_decay(numbers: list[int]) -> None:
    total, count = sum(map(abs, numbers)), len(numbers)
    best = laplace_likelihood(np.array([float(total)]), count)[0]
    decays = np.linspace(0.001, 0.999, 999)
    each = count * np.log((1 - decays) / (1 + decays)) + total * np.log(decays)
    assert best >= each.max() - 1e-6
    assert best <= each.max() + 0.1


@pytest.mark.parametrize("step", [1, 2, 3, 5, 9, 30])
def test_the_true_step_is_the_best_and_its_evidence_as_expected(step: int) -> None:
    rng = np.random.default_rng(step)
    groups = []
    for noise, spread, count in ((regular_noise(), 0.28, 900), (sparse_noise(), 0.45, 100)):
        values = laplace(rng, 0.8, (64, count)) * step + rng.normal(0, spread, (64, count))
        groups.append(Coefficients(np.abs(values).astype(np.float32), noise))
    tried = np.broadcast_to(np.array([[1], [2], [3], [4], [5], [7], [9], [18], [30], [60]]), (10, 64))
    pairs = pair_steps(tried, AC)
    scores = score_pairs(groups, pairs)
    by_step = scores.likelihood[pairs.rows].sum(axis=1)
    assert tried[by_step.argmax(), 0] == step
    row = pairs.rows[by_step.argmax()]
    if step > 1:
        assert scores.observed[row].sum() / scores.expected[row].sum() == pytest.approx(1, abs=0.15)
        assert by_step.max() > score_without_lattice(groups, AC).sum() + 1000
        wrong = pairs.rows[tried[:, 0] == 7]
        assert scores.observed[wrong].sum() < 0


def test_what_lies_anywhere_has_evidence_against_every_step() -> None:
    values = np.abs(np.random.default_rng(0).normal(0, 40, (64, 500))).astype(np.float32)
    groups = [Coefficients(values, regular_noise())]
    pairs = pair_steps(np.broadcast_to(np.array([[4], [8], [20]]), (3, 64)), AC)
    scores = score_pairs(groups, pairs)
    assert (scores.observed[pairs.rows].sum(axis=1) / scores.expected[pairs.rows].sum(axis=1) < -0.5).all()
    assert (scores.likelihood[pairs.rows].sum(axis=1) < score_without_lattice(groups, AC).sum()).all()
