"""Variations of photographs before their compression: windows, shares, batches that depend on seed and step alone."""

from itertools import islice

import numpy as np
import pytest
from pictures import make_picture

from q1net_core.errors import ConfigError
from training.config import PRESETS, TrainConfig, preset
from training.data import photographs
from training.data.photographs import batches
from training.variations import LEAST, SCALES, VARIATIONS, WINDOW, draw_factor, vary

ALL = tuple((name, 0.5) for name in VARIATIONS)


@pytest.fixture(scope="module")
def photograph() -> np.ndarray:
    return make_picture(4, 300, 420)


def varying(*variations: tuple[str, float], **changes: object) -> TrainConfig:
    return preset("smoke", batch_size=32, variations=variations, **changes)


@pytest.mark.parametrize("name", VARIATIONS)
def test_variation_changes_a_window_and_depends_on_the_generator_alone(name: str, photograph: np.ndarray) -> None:
    first, again = (VARIATIONS[name](photograph, np.random.default_rng(8)) for _ in range(2))
    assert first.dtype == np.uint8
    assert first.shape[2] == 3
    assert np.array_equal(first, again)
    assert not np.array_equal(first, photograph)


@pytest.mark.parametrize("shape", [(300, 420), (700, 100), (64, 64), (96, 2000)])
@pytest.mark.parametrize("seed", range(6))
def test_windows_have_room_for_tiles_and_are_not_larger_than_promised(shape: tuple[int, int], seed: int) -> None:
    picture = np.zeros((*shape, 3), np.uint8)
    window = vary(picture, np.random.default_rng(seed), (("scale", 1.0),))
    assert all(LEAST <= length <= WINDOW for length in window.shape[:2])


def test_without_shares_a_window_is_a_part_of_the_photograph(photograph: np.ndarray) -> None:
    window = vary(photograph, np.random.default_rng(1), ())
    assert window.shape == (WINDOW, WINDOW, 3)
    rows, columns = 300 - WINDOW + 1, 420 - WINDOW + 1
    assert any(
        np.array_equal(window, photograph[top : top + WINDOW, left : left + WINDOW])
        for top in range(rows)
        for left in range(columns)
        if np.array_equal(photograph[top, left], window[0, 0])
    )


def test_factors_lie_between_their_ends_and_halves_are_as_likely_as_doubles() -> None:
    rng = np.random.default_rng(2)
    drawn = np.array([draw_factor(rng, (0.5, 2.0)) for _ in range(2000)])
    assert 0.5 <= drawn.min() < 0.52
    assert 1.95 < drawn.max() <= 2.0
    assert abs((drawn < 1).mean() - 0.5) < 0.05
    assert SCALES == (0.5, 3.0)


def test_batches_of_varied_windows_depend_on_seed_and_step_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photographs, "WINDOWS", 16)
    corpus = [make_picture(seed, 128, 160) for seed in range(2)]
    config = varying(*ALL)
    stream = list(islice(batches(corpus, config), 4))
    resumed = list(islice(batches(corpus, config, start=2), 2))
    for (patches, levels), (again, levels_again) in zip(stream[2:], resumed, strict=True):
        assert patches.shape == (32, 16, 16, 3)
        assert np.array_equal(patches, again)
        assert np.array_equal(levels, levels_again)
    other = next(batches(corpus, varying(*ALL, seed=9)))
    assert not np.array_equal(stream[0][0], other[0])


def test_some_windows_are_replaced_before_every_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photographs, "WINDOWS", 4)
    monkeypatch.setattr(photographs, "make_window", lambda corpus, weights, config, number: number)
    steps = islice(photographs.draw_windows([], np.ones(0), varying(*ALL), 3), 3)
    new = photographs.NEW_WINDOWS
    assert list(steps) == [[(3 + step) * new + place for place in range(4)] for step in range(3)]


@pytest.mark.parametrize(
    ("variations", "message"),
    [
        ((("fog", 0.1),), "variations name 'fog'; expected some of scale, blur"),
        ((("noise", 1.5),), "variation 'noise' has the probability 1.5; expected 0 to 1"),
    ],
)
def test_impossible_variations_are_refused(variations: tuple[tuple[str, float], ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        varying(*variations)


@pytest.mark.parametrize("name", ["cpu", "cpu-finetune", "robust"])
def test_presets_vary_their_pictures_in_every_way_and_leave_some_as_they_are(name: str) -> None:
    shares = dict(PRESETS[name].variations)
    assert list(shares) == list(VARIATIONS)
    assert 0.05 <= np.prod([1 - share for share in shares.values()]) <= 0.3
