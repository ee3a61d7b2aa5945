"""The noise model: densities integrate to one, and evidence is as expected."""

import numpy as np
import pytest

from q1net_core.lattice.noise import (
    BINS_PER_UNIT,
    LARGEST_STEP,
    NoiseModel,
    lookup,
    model_noise,
    regular_noise,
    sparse_noise,
    wrap,
)

NOISES = {"regular": regular_noise(), "sparse": sparse_noise()}


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
    noise = model_noise("test", ((0.8, 0.3), (0.2, 0.6)), outliers=1e-6)
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
