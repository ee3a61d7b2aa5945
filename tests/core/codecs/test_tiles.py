"""Tiles: a window compressed with its surroundings equals the same window of the whole compressed image."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import make_texture
from PIL import Image

from q1net_core.arrays import IntArray, UInt8Array
from q1net_core.codecs.base import Codec
from q1net_core.codecs.jpeg import JPEG, SAMPLINGS
from q1net_core.codecs.table import CODECS
from q1net_core.codecs.tiles import compress_tiles, cut_inner, cut_tiles, tile_shapes, tile_spans
from q1net_core.errors import ConfigError
from q1net_core.patches import PATCH, cut_windows, sample_blocks

PHOTOGRAPH = Path(__file__).parents[2] / "photographs" / "camera" / "airplane.png"
# The codecs whose windows can be compressed on their own.
CUTTING = [name for name, codec in CODECS.items() if codec.geometry]


@pytest.fixture(scope="module")
def photograph() -> UInt8Array:
    return np.asarray(Image.open(PHOTOGRAPH))


def compress_windows(
    pixels: UInt8Array, tops: IntArray, lefts: IntArray, level: int, size: int, codec: Codec
) -> UInt8Array:
    """Windows of an image by tiles around them: uint8 [N, size, size, 3]."""
    assert codec.geometry
    tiles, inner_tops, inner_lefts = cut_tiles(pixels, tops, lefts, size, codec.geometry)
    return cut_inner(compress_tiles(tiles, level, codec), inner_tops, inner_lefts, size)


def assert_windows_match(
    pixels: UInt8Array, tops: np.ndarray, lefts: np.ndarray, level: int, size: int, codec: Codec = JPEG
) -> None:
    whole = cut_windows(codec.compress(pixels, level), tops, lefts, size)
    assert np.array_equal(compress_windows(pixels, tops, lefts, level, size, codec), whole)


@given(st.data(), st.sampled_from(CUTTING), st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_windows_anywhere_are_bit_identical_to_the_whole_image(
    data: st.DataObject, name: str, seed: int, size: int
) -> None:
    codec = CODECS[name]
    assert codec.geometry
    level = data.draw(st.sampled_from(codec.levels))
    height, width = data.draw(st.integers(48, 130)), data.draw(st.integers(48, 130))
    rng = np.random.default_rng(seed)
    tops, lefts = rng.integers(0, height - size + 1, 5), rng.integers(0, width - size + 1, 5)
    # Tiles of one call have one shape, that of the largest.
    (tall, wide) = tile_shapes(tops, lefts, size, codec.geometry).max(axis=0)
    ys, xs = (
        tile_spans(starts, size, unit, reach)[0]
        for starts, unit, reach in zip((tops, lefts), codec.geometry.unit, codec.geometry.reach, strict=True)
    )
    inside = (ys + tall <= height) & (xs + wide <= width) & (lefts >= codec.geometry.reach[1])
    if inside.any():
        assert_windows_match(make_texture(seed, height, width), tops[inside], lefts[inside], level, size, codec)


@given(st.data(), st.sampled_from(CUTTING))
def test_windows_that_touch_no_far_edge_always_fit(data: st.DataObject, name: str) -> None:
    level = data.draw(st.sampled_from(CODECS[name].levels))
    height, width = data.draw(st.integers(64, 150)), data.draw(st.integers(64, 150))
    count = data.draw(st.integers(1, 6))
    tops, lefts = (
        np.array(data.draw(st.lists(st.integers(first, last), min_size=count, max_size=count)))
        for first, last in ((0, height // 16 * 16 - 48), (2, width // 16 * 16 - 48))
    )
    assert_windows_match(make_texture(level, height, width), tops, lefts, level, PATCH, CODECS[name])


@pytest.mark.parametrize("name", CUTTING)
def test_every_window_near_the_upper_left_corner_is_bit_identical(name: str) -> None:
    geometry = CODECS[name].geometry
    assert geometry
    tops, lefts = (axis.ravel() for axis in np.meshgrid(np.arange(34), np.arange(geometry.reach[1], 34)))
    pixels, level = make_texture(7, 96, 96), CODECS[name].levels[3]
    assert_windows_match(pixels, tops, lefts, level, PATCH, CODECS[name])


@pytest.mark.parametrize("level", [1, 2, 5, *range(10, 100, 10), 95, 99, 100])
def test_aligned_patches_of_a_photograph_are_bit_identical(photograph: UInt8Array, level: int) -> None:
    corner = sample_blocks(photograph.shape[0] - 32, photograph.shape[1] - 32, 144) - 4
    for name in ("jpeg", "jpeg-422", "jpeg-444", "jpeg-grey", "jpeg-mozjpeg"):
        assert_windows_match(photograph, corner[:, 0], corner[:, 1], level, PATCH, CODECS[name])


@pytest.mark.parametrize("name", CUTTING)
def test_windows_of_a_photograph_of_odd_size_are_bit_identical(photograph: UInt8Array, name: str) -> None:
    rng = np.random.default_rng(3)
    tops, lefts = rng.integers(0, 301 - 64, 50), rng.integers(2, 413 - 64, 50)
    for level in (CODECS[name].levels[0], CODECS[name].levels[-3]):
        assert_windows_match(photograph[:301, :413], tops, lefts, level, PATCH, CODECS[name])


@pytest.mark.parametrize(("top", "left"), [(47, 4), (4, 95), (48, 96)])
def test_tile_beyond_the_image_is_refused(top: int, left: int) -> None:
    with pytest.raises(ConfigError, match=r"needs a \d\d x \d\d tile that leaves the 112 x 64 image"):
        cut_tiles(np.zeros((64, 112, 3), np.uint8), np.array([top]), np.array([left]), PATCH)


@pytest.mark.parametrize("left", [0, 1])
def test_window_at_the_left_edge_is_refused_where_chroma_is_halved(left: int) -> None:
    pixels, tops, lefts = np.zeros((64, 64, 3), np.uint8), np.array([0, 0]), np.array([9, left])
    for sampling in ("4:2:0", "4:2:2"):
        with pytest.raises(ConfigError, match=f"starts {left} pixels from the left edge; keep windows 2 away"):
            cut_tiles(pixels, tops, lefts, PATCH, SAMPLINGS[sampling])
    for sampling in ("4:4:4", "grey"):
        assert len(cut_tiles(pixels, tops, lefts, PATCH, SAMPLINGS[sampling])[0]) == 2


def test_tiles_are_as_small_as_the_sampling_allows() -> None:
    shapes = {
        name: tile_shapes(np.array([4, 12]), np.array([4, 12]), PATCH, geometry).max(axis=0).tolist()
        for name, geometry in SAMPLINGS.items()
    }
    assert shapes == {"4:2:0": [32, 32], "4:2:2": [24, 32], "4:4:4": [24, 24], "grey": [24, 24]}


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
