import numpy as np
from boosted import draw_picture

from q1net_core.boost.bases import BASES
from q1net_core.network.restorer import HALO, STRIP, Restorer, build_restorer
from training.boost.filter import FilterRecipe, draw_batch
from training.boost.pairs import compress


def test_the_filter_has_the_parameters_of_its_page() -> None:
    assert build_restorer().count_params() == 115_212


def test_an_untrained_filter_changes_nothing_and_strips_are_seamless() -> None:
    untrained = build_restorer(8, 2)
    features = np.random.default_rng(0).normal(size=(2 * STRIP + 5, 6, 14)).astype(np.float32)
    assert not Restorer(untrained.get_weights()).correct(features).any()
    rng = np.random.default_rng(1)
    weights = [rng.normal(0, 0.1, array.shape).astype(np.float32) for array in untrained.get_weights()]
    untrained.set_weights(weights)
    expected = np.asarray(untrained(features[None]))[0]
    np.testing.assert_allclose(Restorer(weights).correct(features), expected, atol=1e-5)
    assert HALO == 7


def test_a_batch_depends_on_its_step_alone_and_its_targets_are_in_units_of_the_noise() -> None:
    pairs = [compress(draw_picture(64, 96, seed), BASES["jpeg"], 10) for seed in range(2)]
    recipe = FilterRecipe(batch=8, crop=32)
    first, again, other = (draw_batch(pairs, recipe, step) for step in (3, 3, 4))
    np.testing.assert_array_equal(first[0], again[0])
    assert not np.array_equal(first[0], other[0])
    assert first[0].shape == (8, 16, 16, 14)
    whole = [draw_batch(pairs, recipe, step)[1] for step in range(20)]
    assert 3.5 < np.mean(np.square(whole)) < 4.5
