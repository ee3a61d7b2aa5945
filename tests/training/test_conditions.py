"""Conditions: every one makes pictures of its own, the same ones again, with the level that is left to be found."""

import numpy as np
import pytest
from pictures import load_original

from q1net_core.codecs.jpeg import compress_jpeg
from q1net_core.lattice.estimate import estimate_lattice
from training.conditions import (
    ALTERED,
    CLEAN,
    COMPRESSING,
    CONDITIONS,
    CROP,
    LEVEL_RANGES,
    MAX_SIDE,
    NEVER_COMPRESSED,
    make_examples,
)

PICTURE = load_original("camera/airplane.png")[:320, :336]


def test_conditions_are_clean_or_altered() -> None:
    assert {**CLEAN, **ALTERED} == CONDITIONS
    assert set(COMPRESSING) < set(ALTERED)


@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_picture_is_compressed_at_three_levels_and_not_at_all(condition: str) -> None:
    examples = list(make_examples(3, PICTURE, (condition,)))
    again = list(make_examples(3, PICTURE, (condition,)))
    assert [example.compressed for example in examples] == [True] * 3 + [False] * (condition not in COMPRESSING)
    for example, same, ends in zip(examples, again, (*LEVEL_RANGES, (NEVER_COMPRESSED, 101)), strict=False):
        assert (example.condition, example.picture) == (condition, 3)
        assert example.level in range(*ends) or condition == "jpeg"
        assert example.level == same.level
        assert np.array_equal(example.pixels, same.pixels)
        assert (example.pixels.dtype, example.pixels.shape[2]) == (np.uint8, 3)
        assert min(example.pixels.shape[:2]) >= 120


def test_pictures_and_conditions_have_draws_of_their_own() -> None:
    (first, *_), (second, *_) = (list(make_examples(number, PICTURE, ("noise-1",))) for number in (0, 1))
    (other, *_) = make_examples(0, PICTURE, ("noise-2",))
    assert len({first.level, second.level, other.level}) > 1
    whole = {example.level for example in make_examples(0, PICTURE, ("clean", "noise-1"))}
    assert first.level in whole


@pytest.mark.parametrize("condition", ALTERED)
def test_altered_pictures_are_not_the_compressed_ones(condition: str) -> None:
    example = next(make_examples(0, PICTURE, (condition,)))
    compressed = compress_jpeg(PICTURE, example.level)
    same_size = example.pixels.shape == compressed.shape
    assert not (same_size and np.array_equal(example.pixels, compressed))


def test_clean_pictures_keep_their_lattice() -> None:
    for example in make_examples(0, PICTURE, tuple(CLEAN)):
        assert estimate_lattice(example.pixels).quality == (example.level if example.compressed else None)
        if example.condition == "cut":
            assert example.pixels.shape == (CROP, CROP, 3)


def test_the_coarser_of_two_compressions_is_the_truth() -> None:
    for example in make_examples(0, PICTURE, ("jpeg",)):
        assert example.level <= LEVEL_RANGES[-1][1]
        found = estimate_lattice(example.pixels).quality
        # The lattice sees the last one.
        assert found is not None
        assert example.level <= found


def test_large_pictures_are_cut() -> None:
    example = next(make_examples(0, np.zeros((MAX_SIDE + 100, 40, 3), np.uint8), ("clean",)))
    assert example.pixels.shape == (MAX_SIDE, 40, 3)
