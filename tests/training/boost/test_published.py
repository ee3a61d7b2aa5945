from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from boosted import draw_picture

from q1net_core.boost.bases import BASES
from training.boost.pairs import compress
from training.boost.published import (
    PRESETS,
    build_published,
    find_centres,
    measure_published,
    name_cells,
    train_published,
)


def parameters(rows: list[tuple[int, int, int]]) -> int:
    """Weights and biases of convolutions (side, channels in, channels out)."""
    return sum(size**2 * source * target + target for size, source, target in rows)


def chain(*channels: int, size: int = 3) -> list[tuple[int, int, int]]:
    return [(size, source, target) for source, target in pairwise(channels)]


def test_the_networks_have_the_parameters_of_the_tables() -> None:
    networks = build_published()
    # Four numbers a channel for each normalisation; two for the last one of E, which has neither scale nor offset.
    encoder = chain(3, 32, 32, 64, 64, 128, 128, 256, 256)
    assert networks.encoder.count_params() == parameters(encoder) + 4 * (960 - 256) + 2 * 256
    decoder = chain(256, 256, 128, 128, 64, 64, 32, 32, 3)
    assert networks.decoder.count_params() == parameters(decoder) + 4 * (256 + 128 + 128 + 64 + 64 + 32 + 32)
    upsampler = [(5, 256, 256), *chain(256, 256, 128, 64)]
    assert networks.upsampler.count_params() == parameters(upsampler)
    refiner = chain(3, 64, 64, 64, 64, 64, 64, 64, 3)
    assert networks.refiner.count_params() == parameters(refiner) + 4 * 7 * 64


def test_the_grid_is_an_eighth_of_each_side_and_comes_back() -> None:
    networks = build_published()
    residual = np.random.default_rng(0).normal(size=(1, 32, 48, 3)).astype(np.float32)
    features = networks.encoder(residual)
    assert features.shape == (1, 4, 6, 256)
    assert networks.decoder(features).shape == residual.shape
    plane = np.asarray(networks.upsampler(features))
    assert plane.shape == (1, 32, 48, 1)
    assert networks.refiner([residual, plane]).shape == residual.shape


def test_the_plane_enters_in_front_of_layer_five() -> None:
    add = next(layer for layer in build_published().refiner.layers if layer.name.startswith("add"))
    before = [tensor._keras_history.operation.name for tensor in add.input]
    assert before[0].startswith("re_lu")
    order = [layer.name for layer in build_published().refiner.layers if "conv" in layer.name or "add" in layer.name]
    assert [name.split("_")[0] for name in order].index("add") == 4


def test_centres_are_means_of_their_members() -> None:
    rng = np.random.default_rng(0)
    corners = 10 * rng.normal(size=(4, 256)).astype(np.float32)
    features = (np.repeat(corners, 50, axis=0) + rng.normal(0, 0.1, (200, 256))).astype(np.float32)
    centres = find_centres(features, 12, 10, rng)
    assert np.abs(features - centres[name_cells(features, centres)]).mean() < 0.2


def test_a_smoke_training_gives_networks_that_are_measured() -> None:
    pairs = [compress(draw_picture(40, 48, seed), BASES["jpeg"], 10) for seed in range(3)]
    networks, centres, epochs = train_published(pairs, PRESETS["smoke"])
    assert epochs == 2
    assert centres.shape == (8, 256)
    gain, side = measure_published(networks, centres, pairs[0])
    assert np.isfinite(gain)
    assert 0 <= side <= np.log2(8) / 64


def test_a_training_that_is_out_of_time_has_patterns() -> None:
    pairs = [compress(draw_picture(40, 48), BASES["jpeg"], 10)]
    _, centres, epochs = train_published(pairs, replace(PRESETS["smoke"], epochs=9), 0)
    assert epochs == PRESETS["smoke"].true_epochs
    assert centres.shape == (8, 256)


@pytest.mark.parametrize("patterns", [512, 1024, 2048, 4096])
def test_the_published_schedule(patterns: int) -> None:
    recipe = PRESETS[f"published-{patterns}"]
    assert (recipe.epochs, recipe.learning_rate, recipe.halve_every, recipe.patterns) == (60, 1e-4, 6, patterns)
