"""Codecs: a window compressed with its surroundings equals the same window of the whole compressed image."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import make_texture
from PIL import Image

from q1net_core.codecs import (
    CHROMA_REACH,
    CODECS,
    MCU,
    Codec,
    compress_jpeg,
    compress_tiles,
    compress_windows,
    cut_tiles,
    encode_jpeg,
    tile_starts,
)
from q1net_core.errors import ConfigError
from q1net_core.jpeg_header import read_jpeg_header
from q1net_core.patches import PATCH, cut_windows, sample_blocks
from q1net_core.records import UInt8Array

PHOTOGRAPH = Path(__file__).parent / "photographs" / "camera" / "airplane.png"
LEVELS = CODECS["jpeg"].levels


@pytest.fixture(scope="module")
def photograph() -> UInt8Array:
    return np.asarray(Image.open(PHOTOGRAPH))


def assert_windows_match(pixels: UInt8Array, tops: np.ndarray, lefts: np.ndarray, level: int, size: int) -> None:
    whole = cut_windows(compress_jpeg(pixels, level), tops, lefts, size)
    assert np.array_equal(compress_windows(pixels, tops, lefts, level, size), whole)


@settings(derandomize=True, deadline=None, max_examples=150)
@given(
    st.integers(0, 2**32 - 1), st.integers(48, 130), st.integers(48, 130), st.sampled_from(LEVELS), st.integers(1, 40)
)
def test_windows_anywhere_are_bit_identical_to_the_whole_image(
    seed: int, height: int, width: int, level: int, size: int
) -> None:
    rng = np.random.default_rng(seed)
    tops, lefts = rng.integers(0, height - size + 1, 5), rng.integers(0, width - size + 1, 5)
    (ys, tall), (xs, wide) = tile_starts(tops, size), tile_starts(lefts, size)
    inside = (ys + max(tall, wide) <= height) & (xs + max(tall, wide) <= width) & (lefts >= CHROMA_REACH)
    if inside.any():
        assert_windows_match(make_texture(seed, height, width), tops[inside], lefts[inside], level, size)


@settings(derandomize=True, deadline=None, max_examples=100)
@given(st.data(), st.sampled_from(LEVELS))
def test_windows_that_touch_no_far_edge_always_fit(data: st.DataObject, level: int) -> None:
    height, width = data.draw(st.integers(64, 150)), data.draw(st.integers(64, 150))
    count = data.draw(st.integers(1, 6))
    tops, lefts = (
        np.array(data.draw(st.lists(st.integers(first, last), min_size=count, max_size=count)))
        for first, last in ((0, height // MCU * MCU - 48), (CHROMA_REACH, width // MCU * MCU - 48))
    )
    assert_windows_match(make_texture(level, height, width), tops, lefts, level, PATCH)


@pytest.mark.parametrize("level", [1, 2, 5, *range(10, 100, 10), 95, 99, 100])
def test_aligned_patches_of_a_photograph_are_bit_identical(photograph: UInt8Array, level: int) -> None:
    corner = sample_blocks(photograph.shape[0] - 32, photograph.shape[1] - 32, 144) - 4
    assert_windows_match(photograph, corner[:, 0], corner[:, 1], level, PATCH)


@pytest.mark.parametrize("level", [1, 35, 80, 100])
def test_windows_of_a_photograph_of_odd_size_are_bit_identical(photograph: UInt8Array, level: int) -> None:
    rng = np.random.default_rng(level)
    tops, lefts = rng.integers(0, 301 - 64, 50), rng.integers(2, 413 - 64, 50)
    assert_windows_match(photograph[:301, :413], tops, lefts, level, PATCH)


@pytest.mark.parametrize(("top", "left"), [(47, 4), (4, 95), (48, 96)])
def test_tile_beyond_the_image_is_refused(top: int, left: int) -> None:
    with pytest.raises(ConfigError, match=r"leaves the 112 x 64 image"):
        cut_tiles(np.zeros((64, 112, 3), np.uint8), np.array([top]), np.array([left]), PATCH)


@pytest.mark.parametrize("left", [0, 1])
def test_window_at_the_left_edge_is_refused(left: int) -> None:
    with pytest.raises(ConfigError, match=f"starts {left} pixels from the left edge"):
        cut_tiles(np.zeros((64, 64, 3), np.uint8), np.array([0, 0]), np.array([9, left]), PATCH)


def test_no_windows_give_none() -> None:
    none = np.array([], np.intp)
    tiles, tops, lefts = cut_tiles(np.zeros((32, 32, 3), np.uint8), none, none, PATCH)
    assert (len(tiles), len(tops), len(lefts)) == (0, 0, 0)


def test_tiles_of_one_mosaic_do_not_touch_each_other(photograph: UInt8Array) -> None:
    tiles = np.stack([photograph[:32, :32], photograph[200:232, 200:232], 255 - photograph[:32, :32]])
    together = compress_tiles(tiles, 10)
    alone = [compress_tiles(tile[None], 10)[0] for tile in tiles]
    # The outermost columns of a tile blend with the neighbour's chroma; windows keep away from them.
    assert np.array_equal(together[:, :, 2:-2], np.stack(alone)[:, :, 2:-2])


def test_more_windows_than_one_mosaic_holds_are_bit_identical(photograph: UInt8Array) -> None:
    rng = np.random.default_rng(1)
    tops, lefts = rng.integers(2, 300, 2100), rng.integers(2, 400, 2100)
    assert_windows_match(photograph, tops, lefts, 50, PATCH)


def test_jpeg_is_standard_420_at_the_level_asked_for(photograph: UInt8Array) -> None:
    for level in (1, 50, 93, 100):
        header = read_jpeg_header(encode_jpeg(photograph[:64, :64], level))
        assert header is not None
        assert (header.quality, header.match, header.subsampling) == (level, "exact", "4:2:0")


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
def test_every_codec_keeps_the_shape_and_gets_better_with_level(codec: Codec, photograph: UInt8Array) -> None:
    picture = photograph[96:233, 128:301]
    tried = [codec.levels[0], *codec.levels[len(codec.levels) // 4 :: len(codec.levels) // 4], codec.levels[-1]]
    errors = []
    for level in tried:
        compressed = codec.compress(picture, level)
        assert compressed.shape == picture.shape
        assert compressed.dtype == np.uint8
        assert np.array_equal(compressed, codec.compress(picture, level))
        errors.append(np.abs(compressed.astype(float) - picture).mean())
    assert errors[:-1] == sorted(errors[:-1], reverse=True)
    assert errors[0] > 4 * errors[-1] > 0
