"""Codecs: a window compressed with its surroundings equals the same window of the whole compressed image."""

import sys
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import make_texture
from PIL import Image

from q1net_core.codecs import video
from q1net_core.codecs.base import (
    CODECS,
    SAMPLINGS,
    Codec,
    compress_tiles,
    compress_windows,
    cut_tiles,
    encode_jpeg,
    encode_tables,
    mozjpeg_tables,
    tile_shapes,
    tile_spans,
)
from q1net_core.errors import ConfigError, ImageError
from q1net_core.jpeg.header import read_jpeg_header
from q1net_core.jpeg.tables import PHOTOSHOP_TABLES, SAVE_FOR_WEB_TABLES, TablePair
from q1net_core.patches import PATCH, cut_windows, sample_blocks
from q1net_core.records import Status, UInt8Array

PHOTOGRAPH = Path(__file__).parents[2] / "photographs" / "camera" / "airplane.png"
JPEG = CODECS["jpeg"]
# The codecs whose windows can be compressed on their own, and those that need the whole image.
CUTTING = [name for name, codec in CODECS.items() if codec.geometry]
WHOLE = [name for name, codec in CODECS.items() if not codec.geometry]


@pytest.fixture(scope="module")
def photograph() -> UInt8Array:
    return np.asarray(Image.open(PHOTOGRAPH))


def assert_windows_match(
    pixels: UInt8Array, tops: np.ndarray, lefts: np.ndarray, level: int, size: int, codec: Codec = JPEG
) -> None:
    whole = cut_windows(codec.compress(pixels, level), tops, lefts, size)
    assert np.array_equal(compress_windows(pixels, tops, lefts, level, size, codec), whole)


def test_all_codecs_of_jpeg_cut_and_no_others() -> None:
    assert set(CUTTING) == {name for name in CODECS if name.startswith("jpeg")} - {"jpeg2000"}
    assert {CODECS[name].geometry for name in CUTTING} == set(SAMPLINGS.values())


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


@pytest.mark.parametrize("name", WHOLE)
def test_codecs_without_a_geometry_compress_the_whole_image(photograph: UInt8Array, name: str) -> None:
    tops, lefts = np.array([0, 3, 117 - PATCH]), np.array([0, 141 - PATCH, 50])
    assert_windows_match(photograph[:117, :141], tops, lefts, CODECS[name].levels[9], PATCH, CODECS[name])


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


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_jpeg_has_standard_tables_at_the_level_and_sampling_asked_for(photograph: UInt8Array, sampling: str) -> None:
    for level in (1, 50, 93, 100):
        header = read_jpeg_header(encode_jpeg(photograph[:64, :64], level, sampling))
        assert header is not None
        assert (header.quality, header.match, header.subsampling) == (level, "exact", sampling)


@pytest.mark.parametrize(
    ("family", "tables"),
    [
        ("photoshop", PHOTOSHOP_TABLES),
        ("save_for_web", SAVE_FOR_WEB_TABLES),
        ("mozjpeg", {level: mozjpeg_tables(level) for level in (40, 50, 90)}),
    ],
)
def test_tables_of_other_encoders_are_written_as_they_are(
    photograph: UInt8Array, family: str, tables: dict[int, TablePair]
) -> None:
    for level, pair in tables.items():
        encoded = encode_tables(photograph[:64, :64], pair)
        header = read_jpeg_header(encoded)
        assert header is not None
        assert (header.match, header.subsampling) == (family, pair.subsampling)
        codec = CODECS[f"jpeg-{family.replace('_', '-')}"]
        decoded = np.asarray(Image.open(BytesIO(encoded)))
        assert np.array_equal(codec.compress(photograph[:64, :64], level), decoded)
        written = Image.open(BytesIO(encoded)).quantization
        assert tuple(written[0]) == pair.luma


@pytest.mark.parametrize("name", CODECS)
def test_every_codec_keeps_the_shape_and_gets_better_with_level(name: str, photograph: UInt8Array) -> None:
    codec, picture = CODECS[name], photograph[96:233, 128:301]
    # What no level can lose is left out of the comparison.
    ideal = np.asarray(Image.fromarray(picture).convert("L" if name == "jpeg-grey" else "RGB").convert("RGB"), float)
    errors = []
    for index in (0, len(codec.levels) // 4, len(codec.levels) // 2, len(codec.levels) * 3 // 4, -1):
        compressed = codec.compress(picture, codec.levels[index])
        assert compressed.shape == picture.shape
        assert compressed.dtype == np.uint8
        assert np.array_equal(compressed, codec.compress(picture, codec.levels[index]))
        errors.append(np.abs(compressed - ideal).mean())
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 2.5 * errors[-1] > 0
    assert errors[-1] < 1.6


@pytest.mark.parametrize("name", WHOLE)
def test_images_compressed_side_by_side_do_not_change_each_other(name: str, photograph: UInt8Array) -> None:
    codec, pictures = CODECS[name], [photograph[top : top + 50, 99:160] for top in range(0, 300, 50)]
    level = codec.levels[len(codec.levels) // 2]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(lambda picture: codec.compress(picture, level), pictures))
    assert np.array_equal(together, [codec.compress(picture, level) for picture in pictures])


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (7, 40), (31, 33)])
def test_every_codec_takes_pictures_of_any_size(name: str, shape: tuple[int, int]) -> None:
    picture = np.full((*shape, 3), 80, np.uint8)
    compressed = CODECS[name].compress(picture, CODECS[name].levels[-1])
    assert compressed.shape == picture.shape
    assert np.abs(compressed.astype(int) - 80).max() <= 3


@pytest.mark.parametrize("name", CODECS)
def test_every_codec_knows_its_levels_and_its_libraries(name: str) -> None:
    codec = CODECS[name]
    assert len(set(codec.levels)) == len(codec.levels) >= 10
    assert all(level >= 0 for level in codec.levels)
    for level in (min(codec.levels) - 1, max(codec.levels) + 1):
        with pytest.raises(ConfigError, match=rf"levels \[{level}\] do not exist; expected some of "):
            codec.compress(np.zeros((16, 16, 3), np.uint8), level)
    with pytest.raises(ConfigError, match="no levels; expected some of"):
        codec.check_levels([])
    assert all(version[0].isdigit() for version in codec.versions().values())


@pytest.mark.parametrize("name", WHOLE)
def test_every_codec_takes_sides_up_to_its_limit_and_names_it_beyond(name: str) -> None:
    codec = CODECS[name]
    for shape in ((1, codec.max_side, 3), (codec.max_side, 1, 3)):
        assert codec.compress(np.full(shape, 90, np.uint8), codec.levels[0]).shape == shape
    with pytest.raises(ImageError, match=f"the codec takes at most {codec.max_side} a side") as caught:
        codec.compress(np.zeros((1, codec.max_side + 1, 3), np.uint8), codec.levels[0])
    assert caught.value.status is Status.TOO_LARGE


def test_a_library_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("PIL.features.version", lambda _: None)
    with pytest.raises(ConfigError, match=r"Pillow [\d.]+ was built without avif; install"):
        CODECS["avif"].versions()
    monkeypatch.setitem(sys.modules, "av", None)
    for call in (CODECS["h264"].versions, lambda: CODECS["hevc"].compress(np.zeros((16, 16, 3), np.uint8), 20)):
        with pytest.raises(ConfigError, match=r"PyAV, which is not installed; pip install '\.\[video\]'"):
            call()


@pytest.mark.parametrize("name", ["h264", "hevc"])
def test_video_keeps_colours_and_greys(name: str, photograph: UInt8Array) -> None:
    picture = photograph[96:233, 128:301]
    change = CODECS[name].compress(picture, 0) - picture.astype(float)
    assert np.abs(change.mean(axis=(0, 1))).max() < 0.6
    greys = np.repeat(np.linspace(0, 255, 160 * 64).astype(np.uint8).reshape(64, 160, 1), 3, axis=2)
    assert np.abs(CODECS[name].compress(greys, 0).astype(int) - greys).max() <= 3
    flat = np.tile(np.array([[[200, 60, 90]]], np.uint8), (64, 64, 1))
    assert np.abs(CODECS[name].compress(flat, 0).astype(int) - flat).max() <= 3


def test_padding_repeats_the_edge_up_to_sides_that_video_takes() -> None:
    padded = video.pad(np.arange(17 * 3 * 3, dtype=np.uint8).reshape(17, 3, 3))
    assert padded.shape == (64, 64, 3)
    assert video.pad(np.zeros((65, 130, 3), np.uint8)).shape == (66, 130, 3)
    assert (padded[17:] == padded[16]).all()
    assert (padded[:, 3:] == padded[:, 2:3]).all()
