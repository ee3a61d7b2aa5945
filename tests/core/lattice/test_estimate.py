"""Pixels -> exact level: all levels, crops, samplings and encoders; and no answer where there is no lattice."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import jpeglib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import ORIGINALS, PHOTOGRAPHS, compress, load_original, make_picture
from PIL import Image

from q1net_core.images.decode import decode
from q1net_core.jpeg.tables import (
    PHOTOSHOP_TABLES,
    SAVE_FOR_WEB_TABLES,
    fit_quality,
    mozjpeg_table,
    standard_tables,
)
from q1net_core.lattice.blocks import choose_blocks, count_busy
from q1net_core.lattice.estimate import estimate_lattice
from q1net_core.lattice.grid import find_grid
from q1net_core.lattice.noise import regular_noise
from q1net_core.records import LatticeEstimate, UInt8Array

BUSY = "messenger/houses.jpg"


def with_table(pixels: UInt8Array, steps: list[int], **options: object) -> UInt8Array:
    return compress(pixels, qtables=[steps, steps], **options)


@pytest.mark.parametrize(
    ("name", "levels"),
    [*((BUSY, range(first, 101, 10)) for first in range(1, 11)), ("camera/airplane.png", range(1, 101, 9))],
)
def test_every_level_is_exact(name: str, levels: range) -> None:
    for level in levels:
        estimate = estimate_lattice(compress(load_original(name), level))
        assert (estimate.quality, estimate.match, estimate.level) == (level, "exact", level)
        assert (estimate.last_quality, estimate.grid, estimate.ties) == (level, (0, 0), ())
        assert estimate.steps == tuple(standard_tables(level)[0].tolist())
        assert estimate.margin >= 4
        assert estimate.evidence > 0.9


@given(st.data())
def test_random_crops_are_exact_and_tell_their_grid(data: st.DataObject) -> None:
    level = data.draw(st.integers(3, 99))
    pixels = compress(load_original(BUSY), level)
    side = 128
    top, left = data.draw(st.integers(0, len(pixels) - side)), data.draw(st.integers(0, pixels.shape[1] - side))
    estimate = estimate_lattice(pixels[top : top + side, left : left + side])
    # Of a small crop another level may be too near to be told apart; then it is named.
    assert level in (estimate.quality, *estimate.ties)
    assert estimate.quality == pytest.approx(level, abs=1)
    assert estimate.grid == (-left % 8, -top % 8)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"optimize": True}], ids=str)
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0", "grey"])
def test_neither_sampling_nor_coding_matters(subsampling: str, options: dict[str, bool]) -> None:
    original = load_original(BUSY)
    if subsampling == "grey":
        original = np.asarray(Image.fromarray(original).convert("L"))
    else:
        options = options | {"subsampling": subsampling}
    for level in (12, 50, 91):
        assert estimate_lattice(compress(original, level, **options)).quality == level


@pytest.mark.parametrize("level", PHOTOSHOP_TABLES)
def test_photoshops_levels_are_named(level: int) -> None:
    luma, chroma, subsampling = (getattr(PHOTOSHOP_TABLES[level], name) for name in ("luma", "chroma", "subsampling"))
    pixels = compress(load_original(BUSY), qtables=[list(luma), list(chroma)], subsampling=subsampling)
    estimate = estimate_lattice(pixels)
    assert (estimate.match, estimate.level, estimate.steps) == ("photoshop", level, luma)
    assert estimate.quality == estimate.last_quality == fit_quality(luma)


@pytest.mark.parametrize("level", SAVE_FOR_WEB_TABLES)
def test_save_for_webs_levels_are_named(level: int) -> None:
    luma = SAVE_FOR_WEB_TABLES[level].luma
    estimate = estimate_lattice(with_table(load_original(BUSY), list(luma)))
    # One of them is a table that Photoshop itself has too.
    expected = ("photoshop", 10) if luma == PHOTOSHOP_TABLES[10].luma else ("save_for_web", level)
    assert (estimate.match, estimate.level, estimate.steps) == (*expected, luma)


@pytest.mark.parametrize("level", range(5, 100, 10))
def test_mozjpegs_tables_are_named(level: int) -> None:
    table = mozjpeg_table(level)
    estimate = estimate_lattice(with_table(load_original(BUSY), table.tolist()))
    assert (estimate.match, estimate.level, estimate.quality) == ("mozjpeg", level, fit_quality(table))


@pytest.mark.parametrize("level", [20, 50, 75, 90, 97])
def test_mozjpeg_itself_is_named_although_it_chooses_coefficients_for_size(level: int, tmp_path: Path) -> None:
    path = tmp_path / "mozjpeg.jpg"
    with jpeglib.version("mozjpeg403"):
        jpeglib.from_spatial(load_original("camera/airplane.png").copy()).write_spatial(str(path), qt=level)
    estimate = estimate_lattice(decode(path.read_bytes()).pixels)
    assert (estimate.match, estimate.level) == ("mozjpeg", level)


CUSTOM_TABLES = {
    "flat": [8] * 64,
    "ramp": [3 + row + 3 * column // 2 for row in range(8) for column in range(8)],
    "random": np.random.default_rng(3).integers(4, 30, 64).tolist(),
    "a level made coarser": np.rint(standard_tables(80)[0] * 1.13).astype(int).tolist(),
}


@pytest.mark.parametrize("table", CUSTOM_TABLES.values(), ids=CUSTOM_TABLES)
@pytest.mark.parametrize("name", ORIGINALS)
def test_a_table_of_nobody_is_custom_with_its_steps(name: str, table: list[int]) -> None:
    estimate = estimate_lattice(with_table(load_original(name), table))
    assert (estimate.match, estimate.level, estimate.margin, estimate.grid) == ("custom", None, None, (0, 0))
    steps = np.array(estimate.steps)
    known = steps > 0
    assert known.sum() >= 30
    assert (steps == table)[known].mean() > 0.97
    assert estimate.quality == estimate.last_quality == pytest.approx(fit_quality(tuple(table)), abs=1)


@pytest.mark.parametrize("level", [1, 2])
@pytest.mark.parametrize("name", ORIGINALS)
def test_ties_are_broken_where_one_block_of_the_picture_can(name: str, level: int) -> None:
    pixels = compress(load_original(name), level)
    assert not np.array_equal(pixels, compress(load_original(name), 3 - level))
    estimate = estimate_lattice(pixels)
    assert (estimate.quality, estimate.ties) == (level, ())


def test_levels_that_leave_the_same_pixels_are_ties() -> None:
    # The tables of levels 1 and 2 differ in one low frequency alone, which is zero throughout this part.
    part = load_original("camera/airplane.png")[96:192, 144:240]
    pixels = compress(part, 1)
    assert np.array_equal(pixels, compress(part, 2))
    estimate = estimate_lattice(pixels)
    assert (estimate.quality, estimate.ties, estimate.margin) == (1, (2,), 0)


def resize(pixels: UInt8Array, factor: float) -> UInt8Array:
    height, width = (round(side * factor) for side in pixels.shape[:2])
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS))


def add_noise(pixels: UInt8Array) -> UInt8Array:
    noisy = pixels + np.random.default_rng(0).normal(0, 2, pixels.shape)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def rotate(pixels: UInt8Array) -> UInt8Array:
    height, width = pixels.shape[:2]
    return np.asarray(Image.fromarray(pixels).rotate(3, Image.Resampling.BICUBIC))[40 : height - 40, 40 : width - 40]


def convert(pixels: UInt8Array, format: str) -> UInt8Array:
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, format, quality=70)
    return decode(buffer.getvalue()).pixels


ALTERATIONS: dict[str, Callable[[UInt8Array], UInt8Array]] = {
    "half the size": lambda pixels: resize(pixels, 0.5),
    "a little smaller": lambda pixels: resize(pixels, 0.9),
    "a little larger": lambda pixels: resize(pixels, 1.03),
    "noise": add_noise,
    "rotated": rotate,
    "WebP": lambda pixels: convert(pixels, "WEBP"),
    "AVIF": lambda pixels: convert(pixels, "AVIF"),
}


@pytest.mark.parametrize("name", ORIGINALS)
def test_pictures_that_were_never_compressed_are_abstained_on_with_evidence_against_a_lattice(name: str) -> None:
    estimate = estimate_lattice(load_original(name))
    assert estimate == LatticeEstimate(evidence=estimate.evidence, busy_blocks=estimate.busy_blocks)
    assert estimate.evidence < -1


@pytest.mark.parametrize("alter", ALTERATIONS.values(), ids=ALTERATIONS)
@pytest.mark.parametrize("name", ORIGINALS)
def test_pictures_altered_after_their_compression_are_abstained_on(
    name: str, alter: Callable[[UInt8Array], UInt8Array]
) -> None:
    for level in (40, 75, 95):
        estimate = estimate_lattice(alter(compress(load_original(name), level)[:256]))
        assert estimate == LatticeEstimate(evidence=estimate.evidence, busy_blocks=estimate.busy_blocks)
        assert estimate.busy_blocks > 64


@pytest.mark.parametrize("codec", ["WEBP", "AVIF"])
@pytest.mark.parametrize("name", ORIGINALS)
def test_other_codecs_are_not_mistaken_for_jpeg(name: str, codec: str) -> None:
    assert estimate_lattice(convert(load_original(name)[:256], codec)).quality is None


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 300), (7, 7), (8, 8), (9, 300), (15, 15), (20, 20)])
def test_tiny_pictures_are_abstained_on(height: int, width: int) -> None:
    assert estimate_lattice(make_picture(0, 64, 320)[:height, :width]).quality is None


@pytest.mark.parametrize("value", [0, 128, 255])
def test_blank_pictures_tell_nothing_for_or_against(value: int) -> None:
    assert estimate_lattice(np.full((100, 100, 3), value, np.uint8)) == LatticeEstimate()


def test_a_luma_plane_is_judged_as_the_grey_picture_of_it() -> None:
    grey = np.asarray(Image.fromarray(load_original(BUSY)).convert("L"))
    pixels = compress(grey, 60)[3:, 2:]
    assert np.array_equal(pixels[..., 0], pixels[..., 2])
    estimate = estimate_lattice(pixels)
    assert (estimate.quality, estimate.grid) == (60, (6, 5))
    assert estimate_lattice(np.ascontiguousarray(pixels[..., 0])) == estimate


def test_the_layout_in_memory_does_not_matter_and_pixels_stay_as_they_are() -> None:
    pixels = compress(load_original(BUSY), 60)
    expected = estimate_lattice(pixels)
    before = pixels.copy()
    for same in (np.asfortranarray(pixels), np.repeat(pixels, 2, axis=0)[::2], pixels.copy()):
        assert estimate_lattice(same) == expected
    assert np.array_equal(pixels, before)
    mirrored = estimate_lattice(pixels[:, ::-1])
    assert (mirrored.quality, mirrored.grid) == (60, (0, 0))


@pytest.mark.parametrize(
    ("file", "quality", "last_quality", "match", "grid"),
    [
        ("camera/parrots.jpg", 92, 92, "exact", (0, 0)),
        ("camera/barn.jpg", 70, 70, "photoshop", (0, 0)),
        ("camera/statue.jpg", 80, 80, "exact", (0, 0)),
        ("messenger/sailing.jpg", 60, 60, "exact", (0, 0)),
        ("messenger/rafting.jpg", 40, 95, "exact", (0, 0)),
        ("messenger/wreck.png", 70, 70, "exact", (0, 0)),
        ("messenger/chalet.png", 50, 50, "exact", (5, 3)),
    ],
)
def test_bundled_photographs(file: str, quality: int, last_quality: int, match: str, grid: tuple[int, int]) -> None:
    estimate = estimate_lattice(decode((PHOTOGRAPHS / file).read_bytes()).pixels)
    assert (estimate.quality, estimate.last_quality, estimate.match) == (quality, last_quality, match)
    assert estimate.grid == grid


def test_busy_blocks_are_counted_whichever_thread_made_the_noise_model() -> None:
    pixels = load_original(ORIGINALS[0])
    before = estimate_lattice(pixels).busy_blocks
    group = choose_blocks(pixels, find_grid(pixels))[0]
    regular_noise.cache_clear()
    assert count_busy([group]) == before > 0
