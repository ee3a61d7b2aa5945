import numpy as np

from q1net_core.boost.indices import CLASSES, CONTEXTS, SCALE
from q1net_core.boost.patterns import choose_patterns, find_distances
from training.boost.codebook import CodebookRecipe, Residual, normalise, train_codebook, train_tables


def make_residuals(count: int, seed: int = 0) -> list[Residual]:
    """Blocks of noise, a fifth of them with one of three waves."""
    rng = np.random.default_rng(seed)
    waves = WAVES
    residuals = []
    for _ in range(count):
        blocks = rng.normal(0, 0.2, (12, 12, 64)).astype(np.float32)
        used = rng.random((12, 12)) < 0.2
        blocks[used] += waves[rng.integers(3, size=used.sum())]
        residuals.append(Residual(blocks, 1.0, 2))
    return residuals


WAVES = 1.5 * np.stack([np.cos(np.pi * (np.arange(64) % 8 + 0.5) * k / 8) for k in (1, 2, 3)]).astype(np.float32)
RECIPE = CodebookRecipe(size=6, sample=4000)


def test_patterns_find_what_is_repeated() -> None:
    codebook = train_codebook(make_residuals(10), RECIPE)
    assert codebook.shape == (6, 64)
    assert not codebook[0].any()
    assert find_distances(WAVES, codebook).min(1).max() < 0.1 * (WAVES**2).sum(1).min()


def test_a_seed_gives_the_same_patterns() -> None:
    residuals = make_residuals(4)
    np.testing.assert_array_equal(train_codebook(residuals, RECIPE), train_codebook(residuals, RECIPE))


def test_tables_are_those_of_the_maps_that_are_chosen() -> None:
    residuals = make_residuals(10)
    codebook = train_codebook(residuals, RECIPE)
    tables = train_tables(residuals, codebook, RECIPE)
    assert tables.counts.shape == (CLASSES, CONTEXTS, 2)
    chosen = [choose_patterns(residual.blocks, codebook, tables, 2, 1.0) for residual in residuals]
    share = np.mean([(indices > 0).mean() for indices in chosen])
    told = tables.counts[2, 0, 1] / tables.counts[2, 0].sum()
    assert abs(told - share) < 0.05
    assert abs(share - 0.2) < 0.03


def test_frequencies_are_whole_and_none_is_zero() -> None:
    frequencies = normalise(np.array([0.0, 1e-9, 5.0, 1e6]))
    assert frequencies.sum() == SCALE
    assert frequencies.min() >= 1
