"""Coefficients of busy blocks, and how likely each step of each frequency makes them.

Layer: numpy only; no keras, no beam, no pyarrow.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from q1net_core.lattice.dictionary import Pairs
from q1net_core.lattice.grid import Grid, busiest, cut_luma, measure_activity, transform
from q1net_core.patches import BLOCK
from q1net_core.records import Float32Array, UInt8Array

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.intp]

BLOCKS = 256
TELLING_CANDIDATES = 1 << 14
# A block whose rows or whose columns are nearly equal has few coefficients; their rounding errors go together.
SPARSE_ACTIVITY = 1.0
# Below this step the noise reaches the neighbouring multiples.
SMALL_STEP = 4
LARGEST_STEP = 255
BINS_PER_UNIT = 32
FARTHEST = 16


@dataclass(frozen=True, slots=True, eq=False)
class NoiseModel:
    """Density of the decoder's rounding noise by distance in 1/32 units, float32 [513].

    ``expected`` float64 [256] is the evidence in nats that one coefficient on a lattice of that step gives on average.
    """

    density: Float32Array
    log_density: Float32Array
    expected: Array


@dataclass(frozen=True, slots=True, eq=False)
class Coefficients:
    """Magnitudes of the coefficients of similar blocks, float32 [64, N] in natural order, and their noise."""

    magnitudes: Float32Array
    noise: NoiseModel


@dataclass(frozen=True, slots=True, eq=False)
class PairScores:
    """Of each pair of frequency and step, float64 [P]: log-likelihood, and the evidence of nonzero coefficients."""

    likelihood: Array
    observed: Array
    expected: Array


def lookup(table: Float32Array, distance: Float32Array) -> Float32Array:
    """Values of a noise table at distances >= 0."""
    index = (distance * np.float32(BINS_PER_UNIT) + np.float32(0.5)).astype(np.int32)
    return table.take(index, mode="clip")


def wrap(density: Float32Array, rest: Float32Array, step: Float32Array) -> Float32Array:
    """Density of the distance to the nearest multiple, whichever multiple it came from."""
    wrapped = lookup(density, np.abs(rest))
    for offset in (1, 2, 3):
        wrapped = (
            wrapped + lookup(density, np.abs(rest - offset * step)) + lookup(density, np.abs(rest + offset * step))
        )
    return wrapped


def model_noise(mixture: tuple[tuple[float, float], ...], outliers: float) -> NoiseModel:
    """Noise as a mixture of Gaussians (share, standard deviation) and a share of outliers of any size."""
    distance = np.arange(FARTHEST * BINS_PER_UNIT + 1) / BINS_PER_UNIT
    gaussians = sum(share * np.exp(-(distance**2) / 2 / s**2) / s / np.sqrt(2 * np.pi) for share, s in mixture)
    density = ((1 - outliers) * gaussians + outliers / FARTHEST).astype(np.float32)
    expected = np.zeros(LARGEST_STEP + 1)
    for step in range(1, LARGEST_STEP + 1):
        cell = np.linspace(-step / 2, step / 2, 64 * step + 1, dtype=np.float32)
        wrapped = wrap(density, cell, np.float32(step) * np.ones_like(cell)).astype(np.float64)
        expected[step] = (wrapped * np.log(wrapped * step)).sum() / wrapped.sum()
    return NoiseModel(density, np.log(density), expected)


@cache
def regular_noise() -> NoiseModel:
    """Noise of blocks that vary both ways: nearly the 1/sqrt(12) of independent rounding."""
    return model_noise(((0.97, 0.285), (0.03, 0.5)), outliers=0.001)


@cache
def sparse_noise() -> NoiseModel:
    """Noise of blocks of equal rows or columns: eight rounding errors are one, or there are none."""
    return model_noise(((0.4, 0.25), (0.4, 0.6), (0.2, 1.1)), outliers=0.003)


def choose_blocks(pixels: UInt8Array, grid: Grid, count: int = BLOCKS) -> list[Coefficients]:
    """Coefficients of the busiest unclipped blocks on a grid of these pixels, regular and sparse blocks apart."""
    rows, columns = busiest(grid.activity, 2 * count)
    if len(rows) == 0:
        return []
    luma = cut_luma(pixels, rows * BLOCK + grid.y, columns * BLOCK + grid.x, BLOCK)
    down = np.abs(np.diff(luma, axis=1)).sum(axis=(1, 2))
    across = np.abs(np.diff(luma, axis=2)).sum(axis=(1, 2))
    activity = np.minimum(down, across) / (BLOCK * (BLOCK - 1))
    order = np.argsort(-activity, kind="stable")[:count]
    magnitudes, regular = np.abs(transform(luma[order])).T, activity[order] >= SPARSE_ACTIVITY
    return [
        Coefficients(np.ascontiguousarray(magnitudes[:, kind]), noise)
        for kind, noise in ((regular, regular_noise()), (~regular, sparse_noise()))
        if kind.any()
    ]


def choose_telling_blocks(
    pixels: UInt8Array, grid: Grid, frequencies: IntArray, count: int = BLOCKS
) -> list[Coefficients]:
    """Coefficients of the unclipped blocks that have most at some frequencies, also of blocks with equal rows."""
    across = measure_activity(pixels.transpose(1, 0, 2), grid.y, grid.x).T
    rows, columns = busiest(np.maximum(grid.activity, across), TELLING_CANDIDATES)
    luma = cut_luma(pixels, rows * BLOCK + grid.y, columns * BLOCK + grid.x, BLOCK)
    magnitudes = np.abs(transform(luma)).T
    order = np.argsort(-magnitudes[frequencies].max(axis=0), kind="stable")[:count]
    return [Coefficients(np.ascontiguousarray(magnitudes[:, order]), sparse_noise())]


def laplace_decay(mean: Array) -> Array:
    """Decay from one multiple to the next of the discrete Laplace distribution with this mean magnitude, in (0, 1)."""
    return np.clip((np.sqrt(1 + mean**2) - 1) / np.maximum(mean, 1e-9), 1e-6, 1 - 1e-6)


def laplace_likelihood(total: Array, count: int) -> Array:
    """Log-likelihood of ``count`` multiples with the sum of magnitudes ``total``, at the most likely scale."""
    decay = laplace_decay(total / count)
    return count * np.log((1 - decay) / (1 + decay)) + total * np.log(decay)


def score_pairs(groups: list[Coefficients], pairs: Pairs) -> PairScores:
    """How well each pair's step explains the coefficients of its frequency.

    Multiples follow a discrete Laplace distribution at its most likely scale, for which their mean magnitude is all
    that is needed; for small steps the neighbouring multiples are summed over.
    """
    steps = pairs.steps[:, None]
    small = np.flatnonzero(pairs.steps < SMALL_STEP)
    multiples = [np.rint(group.magnitudes[pairs.frequencies] / steps) for group in groups]
    count = sum(k.shape[1] for k in multiples)
    total = np.sum([k.sum(axis=1, dtype=np.float64) for k in multiples], axis=0)
    decay = laplace_decay(total / count).astype(np.float32)[small, None]
    likelihood = laplace_likelihood(total, count)
    observed, expected = np.zeros(len(pairs.steps)), np.zeros(len(pairs.steps))
    for group, k in zip(groups, multiples, strict=True):
        density = group.noise.density
        rest = group.magnitudes[pairs.frequencies] - k * steps
        logs = lookup(group.noise.log_density, np.abs(rest))
        evidence = logs.copy()
        near, step, k_small = rest[small], steps[small], k[small]
        inwards = np.where(k_small > 0, 1 / decay, decay)
        neighbours = decay * lookup(density, np.abs(near - step)) + inwards * lookup(density, np.abs(near + step))
        logs[small] = np.log(lookup(density, np.abs(near)) + neighbours)
        evidence[small] = np.log(wrap(density, near, step))
        active = k > 0
        actives = active.sum(axis=1)
        likelihood += logs.sum(axis=1, dtype=np.float64)
        observed += (evidence * active).sum(axis=1, dtype=np.float64) + actives * np.log(pairs.steps)
        expected += actives * group.noise.expected[pairs.steps.astype(np.intp)]
    return PairScores(likelihood, observed, expected)


def score_without_lattice(groups: list[Coefficients], frequencies: IntArray) -> Array:
    """Log-likelihood of each frequency's coefficients if they lie anywhere: float64 [frequencies]."""
    rounded = [np.rint(group.magnitudes[frequencies]) for group in groups]
    total = np.sum([k.sum(axis=1, dtype=np.float64) for k in rounded], axis=0)
    return laplace_likelihood(total, sum(k.shape[1] for k in rounded))
