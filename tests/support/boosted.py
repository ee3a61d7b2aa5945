"""A small model of residual patterns, untrained, for tests."""

from functools import cache

import numpy as np

from q1net_core.boost.indices import CLASSES, CONTEXTS, SCALE, Tables
from q1net_core.boost.model import BoostModel


def make_tables(patterns: int) -> Tables:
    """Tables under which a cell is used the likelier, the more of its neighbours are; patterns are all the same."""
    counts = np.array([[200 - 10 * context, 20 + 10 * context] for context in range(CONTEXTS)], np.intp)
    whole, rest = divmod(SCALE, patterns - 1)
    row = np.full(patterns - 1, whole, np.intp)
    row[:rest] += 1
    return Tables(np.stack([counts] * CLASSES), np.stack([row] * CLASSES))


@cache
def make_model(base: str = "jpeg", patterns: int = 8, seed: int = 0) -> BoostModel:
    """A model whose filter changes little, at random, and whose patterns are smooth waves."""
    rng = np.random.default_rng(seed)
    shapes = [(3, 3, 14, 8), (8,), (3, 3, 8, 8), (8,), (3, 3, 8, 12), (12,)]
    weights = [rng.normal(0, 0.02, shape).astype(np.float32) for shape in shapes]
    at = np.arange(8)
    waves = [
        np.outer(np.cos(np.pi * (at + 0.5) * row / 8), np.cos(np.pi * (at + 0.5) * column / 8)).ravel()
        for row, column in [divmod(number, 4) for number in range(1, patterns)]
    ]
    codebook = np.stack([np.zeros(64), *waves]).astype(np.float32)
    return BoostModel.from_bytes(BoostModel(base, weights, codebook, make_tables(patterns)).to_bytes())


def draw_picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth colours with an edge and some noise, uint8 [height, width, 3]."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    waves = [100 + 60 * np.sin(rows / period) * np.cos(columns / (period + 2)) for period in (5, 8, 11)]
    picture = np.stack(waves, axis=2) + 40 * (rows > columns)[:, :, None] + rng.normal(0, 4, (height, width, 3))
    return picture.clip(0, 255).astype(np.uint8)
