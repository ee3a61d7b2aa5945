"""The noise that a JPEG decoder's rounding leaves on DCT coefficients.

Layer: numpy only; no keras, no beam, no pyarrow.

The decoder rounds each pixel to an integer. An orthonormal DCT turns independent rounding errors into noise of standard
deviation 1/sqrt(12) = 0.289 on every coefficient.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np

from q1net_core.arrays import Float32Array, Float64Array

# The coarsest step of a baseline quantization table.
LARGEST_STEP = 255
# Resolution of the density table: bins per unit of coefficient.
BINS_PER_UNIT = 32
# Largest distance in the density table, in units of coefficient. Distances beyond it have the last bin's density.
FARTHEST = 16
# Gaussians of the noise as (share, standard deviation). Regular blocks vary along rows and columns: their rounding
# errors are nearly independent. Sparse blocks have equal rows or columns: eight rounding errors are one, or none.
REGULAR_MIXTURE = ((0.97, 0.285), (0.03, 0.5))
SPARSE_MIXTURE = ((0.4, 0.25), (0.4, 0.6), (0.2, 1.1))
# Shares of coefficients that lie anywhere, in regular and in sparse blocks.
REGULAR_OUTLIERS = 0.001
SPARSE_OUTLIERS = 0.003


@dataclass(frozen=True, slots=True, eq=False)
class NoiseModel:
    """Density of the distance between a coefficient and its multiple: ``density`` float32 [513], in 1/32 units.

    ``log_density`` float32 [513] is its logarithm. ``expected`` float64 [256] is the mean evidence in nats of one
    coefficient on a lattice of each step. ``name`` tells models apart: threads may each have made their own.
    """

    name: str
    density: Float32Array
    log_density: Float32Array
    expected: Float64Array


def lookup(table: Float32Array, distance: Float32Array) -> Float32Array:
    """Read a table of NoiseModel at distances >= 0: float32, the shape of ``distance``."""
    index = (distance * np.float32(BINS_PER_UNIT) + np.float32(0.5)).astype(np.int32)
    return table.take(index, mode="clip")


def wrap(density: Float32Array, rest: Float32Array, step: Float32Array) -> Float32Array:
    """Density of the distance ``rest`` to the nearest multiple of ``step``, summed over the multiples around it."""
    wrapped = lookup(density, np.abs(rest))
    for offset in (1, 2, 3):
        wrapped = (
            wrapped + lookup(density, np.abs(rest - offset * step)) + lookup(density, np.abs(rest + offset * step))
        )
    return wrapped


def model_noise(name: str, mixture: tuple[tuple[float, float], ...], outliers: float) -> NoiseModel:
    """Noise as a mixture of Gaussians (share, standard deviation) and a share of uniform outliers."""
    distance = np.arange(FARTHEST * BINS_PER_UNIT + 1) / BINS_PER_UNIT
    gaussians = sum(share * np.exp(-(distance**2) / 2 / s**2) / s / np.sqrt(2 * np.pi) for share, s in mixture)
    density = ((1 - outliers) * gaussians + outliers / FARTHEST).astype(np.float32)
    expected = np.zeros(LARGEST_STEP + 1)
    for step in range(1, LARGEST_STEP + 1):
        cell = np.linspace(-step / 2, step / 2, 64 * step + 1, dtype=np.float32)
        wrapped = wrap(density, cell, np.float32(step) * np.ones_like(cell)).astype(np.float64)
        expected[step] = (wrapped * np.log(wrapped * step)).sum() / wrapped.sum()
    return NoiseModel(name, density, np.log(density), expected)


@cache
def regular_noise() -> NoiseModel:
    """Noise of blocks that vary along rows and columns."""
    return model_noise("regular", REGULAR_MIXTURE, REGULAR_OUTLIERS)


@cache
def sparse_noise() -> NoiseModel:
    """Noise of blocks whose rows or columns are nearly equal."""
    return model_noise("sparse", SPARSE_MIXTURE, SPARSE_OUTLIERS)
