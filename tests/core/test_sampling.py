"""What a network sees of an image: patches, the centre, or all of it, and what is too small for each."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from q1net_core.errors import ImageError
from q1net_core.patches import sample_patches
from q1net_core.records import Status
from q1net_core.sampling import PATCHES, SAMPLERS, WHOLE_IMAGE, InputKind, centre_crop, macroblocks, sample


def numbered(height: int, width: int) -> np.ndarray:
    """Pixels that tell their row and column."""
    rows, columns = np.indices((height, width), np.uint8)
    return np.stack([rows, columns, rows ^ columns], axis=-1)


def test_patches_are_those_of_the_grid() -> None:
    pixels = numbered(90, 120)
    for patches, grid in ((16, (0, 0)), (64, (3, 5))):
        assert np.array_equal(sample(pixels, PATCHES, patches, grid), sample_patches(pixels, patches, grid))
    assert np.array_equal(sample(pixels), sample_patches(pixels))


@given(st.integers(1, 40), st.integers(0, 30), st.integers(0, 30))
def test_a_crop_lies_in_the_middle(size: int, more_rows: int, more_columns: int) -> None:
    pixels = numbered(size + more_rows, size + more_columns)
    (crop,) = sample(pixels, centre_crop(size))
    assert crop.shape == (size, size, 3)
    top, left = int(crop[0, 0, 0]), int(crop[0, 0, 1])
    assert (top, left) == (more_rows // 2, more_columns // 2)
    assert np.array_equal(crop, pixels[top : top + size, left : left + size])


@pytest.mark.parametrize(("height", "width"), [(31, 90), (90, 31)])
def test_an_image_without_room_for_the_crop_is_too_small(height: int, width: int) -> None:
    with pytest.raises(ImageError, match=f"is {width} x {height} pixels; the network sees 32 x 32 of it") as raised:
        sample(numbered(height, width), centre_crop(32))
    assert raised.value.status is Status.TOO_SMALL


def test_whole_images_are_one_sample_whatever_is_asked_for() -> None:
    pixels = numbered(13, 50)
    assert np.array_equal(sample(pixels, WHOLE_IMAGE, 64, (3, 5)), pixels[None])


def test_kinds_know_how_many_samples_they_give() -> None:
    kinds = (PATCHES, macroblocks(24), centre_crop(224), WHOLE_IMAGE)
    assert [kind.most(64) for kind in kinds] == [64, 64, 1, 1]
    assert {kind.sampler for kind in kinds} == set(SAMPLERS)
    assert centre_crop(224) == InputKind("centre crop", 224) != centre_crop(256)


@pytest.mark.parametrize("size", [16, 24, 32])
def test_macroblocks_lie_on_their_grid_with_what_is_around_them(size: int) -> None:
    pixels, border = numbered(90, 120), (size - 16) // 2
    seen = sample(pixels, macroblocks(size), 576)
    assert seen.shape == (5 * 7 if size == 16 else 4 * 6, size, size, 3)
    for window in seen:
        top, left = int(window[border, border, 0]), int(window[border, border, 1])
        assert top % 16 == left % 16 == 0
        assert np.array_equal(window, pixels[top - border : top + 16 + border, left - border : left + 16 + border])
    assert len(sample(pixels, macroblocks(size), 16)) == 16


def test_a_picture_without_room_around_a_macroblock_is_too_small() -> None:
    with pytest.raises(ImageError, match="40 x 35 pixels; no macroblock has 4 pixels around it") as caught:
        sample(numbered(35, 40), macroblocks(24))
    assert caught.value.status is Status.TOO_SMALL
