"""Training of patterns by entropy-constrained vector quantisation of what the filter leaves; the coder's tables."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from q1net_core.arrays import Float32Array, Float64Array, IntArray
from q1net_core.boost.indices import CLASSES, CONTEXTS, MOST, SCALE, Flags, Tables
from q1net_core.boost.patterns import CELL, choose_patterns, find_distances


@dataclass(frozen=True, slots=True)
class Residual:
    """One picture's residual after the filter: blocks float32 [rows, columns, 64], a bit's price, the rate's octave."""

    blocks: Float32Array
    price: float
    octave: int


@dataclass(frozen=True, slots=True)
class CodebookRecipe:
    """How patterns are trained: ``size`` is K with "none"; ``prior`` is what the coder's counts start with in sum."""

    size: int = 64
    sample: int = 300_000
    rounds: int = 7
    # In these the price of a bit is halved, so that patterns get members to learn from.
    eager_rounds: int = 3
    least_members: int = 3
    table_rounds: int = 3
    prior: int = MOST // 2
    seed: int = 0


def train_codebook(residuals: Sequence[Residual], recipe: CodebookRecipe) -> Float32Array:
    """Patterns float32 [K, 64], the first zero. Source: Chou, Lookabaugh and Gray, "Entropy-constrained VQ", 1989."""
    rng = np.random.default_rng(recipe.seed)
    blocks, prices = sample_blocks(residuals, recipe.sample, rng)
    energy = (blocks**2).sum(1, dtype=np.float64)

    def draw(count: int) -> Float32Array:
        chosen = rng.choice(len(blocks), count, p=energy / energy.sum())
        return blocks[chosen] * np.float32(0.5)

    codebook = np.concatenate([np.zeros((1, CELL), np.float32), draw(recipe.size - 1)])
    bits = np.concatenate([[0.1], np.full(recipe.size - 1, 4 + np.log2(recipe.size))])
    for turn in range(recipe.rounds):
        scale = 0.5 if turn < recipe.eager_rounds else 1.0
        nearest = assign(blocks, codebook, scale * prices, bits)
        members = np.bincount(nearest, minlength=recipe.size)
        sums = np.zeros((recipe.size, CELL))
        np.add.at(sums, nearest, blocks)
        codebook = (sums / np.maximum(members, 1)[:, None]).astype(np.float32)
        codebook[0] = 0
        dead = 1 + np.flatnonzero(members[1:] < recipe.least_members)
        if turn < recipe.rounds - 1:
            codebook[dead] = draw(len(dead))
        bits = np.log2((members.sum() + recipe.size) / (members + 1))
    return codebook


def sample_blocks(
    residuals: Sequence[Residual], count: int, rng: np.random.Generator
) -> tuple[Float32Array, Float32Array]:
    """So many blocks [N, 64] of all pictures, evenly, with the price of a bit for each."""
    share = max(1, count // len(residuals))
    blocks, prices = [], []
    for residual in residuals:
        flat = residual.blocks.reshape(-1, CELL)
        chosen = rng.permutation(len(flat))[:share]
        blocks.append(flat[chosen])
        prices.append(np.full(len(chosen), residual.price, np.float32))
    return np.concatenate(blocks), np.concatenate(prices)


def assign(blocks: Float32Array, codebook: Float32Array, prices: Float32Array, bits: Float64Array) -> IntArray:
    """The pattern of least cost for each block, in pieces that fit into memory."""
    pieces = [
        (find_distances(blocks[at : at + 8192], codebook) + prices[at : at + 8192, None] * bits).argmin(1)
        for at in range(0, len(blocks), 8192)
    ]
    return np.concatenate(pieces)


def train_tables(residuals: Sequence[Residual], codebook: Float32Array, recipe: CodebookRecipe) -> Tables:
    """The coder's tables for patterns as they are chosen, which depends on the tables: a few rounds."""
    tables = Tables(
        np.full((CLASSES, CONTEXTS, 2), (recipe.prior * 15 // 16, recipe.prior // 16), np.intp),
        np.stack([normalise(np.ones(recipe.size - 1))] * CLASSES),
    )
    for _ in range(recipe.table_rounds):
        counts = np.zeros((CLASSES, CONTEXTS, 2))
        frequencies = np.zeros((CLASSES, recipe.size - 1))
        for residual in residuals:
            indices = choose_patterns(residual.blocks, codebook, tables, residual.octave, residual.price)
            counts[residual.octave] += count_flags(indices, tables)
            frequencies[residual.octave] += np.bincount(indices[indices > 0] - 1, minlength=recipe.size - 1)
        tables = Tables(to_counts(counts, recipe.prior), to_frequencies(frequencies))
    return tables


def count_flags(indices: IntArray, tables: Tables) -> Float64Array:
    """How often cells of a map are unused and used, by context; float64 [CONTEXTS, 2]."""
    flags, counts = Flags(tables, 0, *indices.shape), np.zeros((CONTEXTS, 2))
    for place, used in zip(flags.cells(), (indices.ravel() > 0).tolist(), strict=True):
        context = flags.context(place)
        counts[context, int(used)] += 1
        flags.update(place, context, int(used))
    return counts


def to_counts(counts: Float64Array, prior: int) -> IntArray:
    """Counts of the training -> those that a picture starts with; octaves that saw little borrow from all together."""
    shared = counts.sum(0) + np.array([1.0, 0.5])
    shared = 20 * shared / shared.sum(1, keepdims=True)
    mixed = counts + shared
    return np.maximum(1, np.rint(prior * mixed / mixed.sum(2, keepdims=True))).astype(np.intp)


def to_frequencies(frequencies: Float64Array) -> IntArray:
    """Counts of patterns -> frequencies out of 2^16; octaves that saw little borrow from all together."""
    shared = frequencies.sum(0) + 1
    shared = 4 * len(shared) * shared / shared.sum()
    return np.stack([normalise(row) for row in frequencies + shared])


def normalise(weights: Float64Array) -> IntArray:
    """Weights -> integers of 1 or more with the sum 2^16."""
    whole = 1 + np.floor(weights / weights.sum() * (SCALE - len(weights))).astype(np.intp)
    whole[weights.argmax()] += SCALE - whole.sum()
    return whole
