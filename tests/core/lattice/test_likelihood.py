"""How likely steps make coefficients: densities that integrate to one, evidence as expected, the true step the best."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import compress, load_original, make_texture

from q1net_core.lattice.dictionary import AC, pair_steps
from q1net_core.lattice.grid import Grid, cut_luma, measure_activity, transform
from q1net_core.lattice.likelihood import (
    BINS_PER_UNIT,
    BLOCKS,
    LARGEST_STEP,
    Coefficients,
    NoiseModel,
    choose_blocks,
    choose_telling_blocks,
    laplace_decay,
    laplace_likelihood,
    lookup,
    model_noise,
    regular_noise,
    score_pairs,
    score_without_lattice,
    sparse_noise,
    wrap,
)
from q1net_core.records import Float32Array, UInt8Array

NOISES = {"regular": regular_noise(), "sparse": sparse_noise()}


def place_grid(pixels: UInt8Array, x: int = 0, y: int = 0) -> Grid:
    """The grid of a phase, as find_grid gives it."""
    return Grid(x, y, 0.0, measure_activity(pixels, x, y))


def laplace(rng: np.random.Generator, decay: float, shape: tuple[int, ...]) -> Float32Array:
    """Discrete Laplace numbers: the difference of two geometric ones."""
    return (rng.geometric(1 - decay, shape) - rng.geometric(1 - decay, shape)).astype(np.float32)


@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)
def test_densities_integrate_to_one(noise: NoiseModel) -> None:
    both_sides = 2 * noise.density.sum(dtype=np.float64) - noise.density[0]
    assert both_sides / BINS_PER_UNIT == pytest.approx(1, abs=0.005)
    assert np.array_equal(noise.log_density, np.log(noise.density))


@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)
@pytest.mark.parametrize("step", [2, 3, 5, 12])
def test_the_distance_to_the_nearest_multiple_has_a_density_too(noise: NoiseModel, step: int) -> None:
    cell = np.linspace(-step / 2, step / 2, 2001, dtype=np.float32)
    density = wrap(noise.density, cell, np.full_like(cell, step))
    # Outliers are counted once for each multiple.
    assert density.mean(dtype=np.float64) * step == pytest.approx(1, abs=0.02)


def test_lookups_take_the_nearest_bin_and_end_at_the_farthest() -> None:
    table = np.arange(10, dtype=np.float32)
    distance = np.array([0, 1 / 32, 1.4 / 32, 1.6 / 32, 9 / 32, 1000], np.float32)
    assert lookup(table, distance).tolist() == [0, 1, 1, 2, 9, 9]


@pytest.mark.parametrize("step", [2, 4, 16, 60])
def test_expected_evidence_is_the_mean_of_drawn_evidence(step: int) -> None:
    noise = model_noise(((0.8, 0.3), (0.2, 0.6)), outliers=1e-6)
    rng = np.random.default_rng(step)
    drawn = rng.normal(0, np.where(rng.random(200_000) < 0.8, 0.3, 0.6)).astype(np.float32)
    rest = drawn - np.rint(drawn / step) * np.float32(step)
    evidence = np.log(wrap(noise.density, rest, np.full_like(rest, step)) * step)
    assert noise.expected[step] == pytest.approx(evidence.mean(), abs=0.02)


@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)
def test_coarser_steps_promise_more_evidence_and_the_finest_next_to_none(noise: NoiseModel) -> None:
    assert len(noise.expected) == LARGEST_STEP + 1
    assert (np.diff(noise.expected[1:64]) > 0).all()
    assert abs(noise.expected[1]) < 0.02
    # Where the neighbouring multiples are far, and outliers still rare, a doubling adds log 2.
    assert noise.expected[16] - noise.expected[8] == pytest.approx(np.log(2), abs=0.1)


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


def test_blocks_are_the_busiest_ones_regular_and_sparse_apart() -> None:
    pixels = np.full((400, 384, 3), 100, np.uint8)
    pixels[:32] = compress(load_original("messenger/houses.jpg"), 80)[96:128]
    # Equal columns: these vary along one axis only.
    pixels[360:] = np.tile(np.arange(60, 140, 10, dtype=np.uint8)[:, None, None], (5, 384, 3))
    regular, sparse = choose_blocks(pixels, place_grid(pixels))
    assert (regular.noise, sparse.noise) == (regular_noise(), sparse_noise())
    assert regular.magnitudes.shape[0] == sparse.magnitudes.shape[0] == 64
    assert 0 < regular.magnitudes.shape[1] < BLOCKS
    assert regular.magnitudes.shape[1] + sparse.magnitudes.shape[1] == BLOCKS
    assert min(regular.magnitudes.min(), sparse.magnitudes.min()) >= 0
    # Blocks of equal columns have no frequency across.
    across = [8 * v + u for v in range(8) for u in range(1, 8)]
    assert (sparse.magnitudes[across].max(axis=0) < 1e-3).mean() > 0.9
    assert regular.magnitudes[across].max(axis=0).min() > 1


def test_pictures_without_a_usable_block_give_none() -> None:
    for pixels in (np.full((64, 64, 3), 255, np.uint8), np.full((64, 64, 3), 90, np.uint8), make_texture(0, 7, 90)):
        assert choose_blocks(pixels, place_grid(pixels)) == []
    low = make_texture(0, 12, 90)
    assert choose_blocks(low, place_grid(low, 0, 5)) == []


def test_telling_blocks_are_those_with_most_at_the_frequencies_asked_for() -> None:
    pixels = compress(load_original("messenger/houses.jpg"), 80)[2:, 3:]
    grid = place_grid(pixels, 5, 6)
    for frequencies in (np.array([2]), np.array([8, 16])):
        (chosen,) = choose_telling_blocks(pixels, grid, frequencies, 50)
        most = chosen.magnitudes[frequencies].max(axis=0)
        assert most.shape == (50,)
        assert (np.diff(most) <= 0).all()
        rows, columns = np.nonzero(grid.activity)
        everywhere = np.abs(transform(cut_luma(pixels, rows * 8 + 6, columns * 8 + 5, 8)))[:, frequencies].max(axis=1)
        assert most.tolist() == pytest.approx(np.sort(everywhere)[::-1][:50].tolist())


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
