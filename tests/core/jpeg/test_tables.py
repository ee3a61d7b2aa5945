"""Quantization tables: libjpeg's scaling against Pillow, mozjpeg, Photoshop, and the levels found back."""

from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.JpegPresets import presets

from q1net_core.errors import ConfigError
from q1net_core.jpeg.tables import (
    ANNEX_K_CHROMA,
    ANNEX_K_LUMA,
    JPEG_QUALITIES,
    LIBJPEG_9_CHROMA,
    PHOTOSHOP_TABLES,
    ROBIDOUX,
    SAVE_FOR_WEB_TABLES,
    ZIGZAG,
    find_chroma_levels,
    find_luma_levels,
    find_mozjpeg_levels,
    fit_quality,
    mozjpeg_table,
    scale_table,
    standard_tables,
)


def test_zigzag_is_the_order_of_the_standard() -> None:
    assert ZIGZAG[:15] == (0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4)
    assert ZIGZAG[-4:] == (47, 55, 62, 63)
    assert sorted(ZIGZAG) == list(range(64))


@pytest.mark.parametrize("level", JPEG_QUALITIES)
def test_standard_tables_are_libjpegs(level: int) -> None:
    buffer = BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, "JPEG", quality=level)
    written = Image.open(buffer).quantization
    luma, chroma = standard_tables(level)
    assert luma.dtype == chroma.dtype == np.int64
    assert written == {0: luma.tolist(), 1: chroma.tolist()}


def test_quality_50_is_the_base_and_100_is_all_ones() -> None:
    assert np.array_equal(standard_tables(50), [ANNEX_K_LUMA, ANNEX_K_CHROMA])
    assert np.array_equal(mozjpeg_table(50, baseline=False), ROBIDOUX)
    assert mozjpeg_table(50).max() == 255
    for table in (*standard_tables(100), mozjpeg_table(100)):
        assert set(table.tolist()) == {1}


@pytest.mark.parametrize("quality", [0, 101, -1])
def test_impossible_quality_is_refused(quality: int) -> None:
    with pytest.raises(ConfigError, match=str(quality)):
        standard_tables(quality)
    with pytest.raises(ConfigError, match=str(quality)):
        mozjpeg_table(quality)


def test_base_tables_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        ANNEX_K_LUMA[0] = 1


@pytest.mark.parametrize("baseline", [True, False])
def test_levels_are_found_back(baseline: bool) -> None:
    for level in JPEG_QUALITIES:
        luma, chroma = standard_tables(level, baseline=baseline)
        shared = {1, 2, 3} if baseline and level <= 3 else {level}
        assert find_luma_levels(tuple(luma.tolist())) == {level}
        assert find_chroma_levels(tuple(chroma.tolist())) == shared
        newer = scale_table(LIBJPEG_9_CHROMA, level, baseline=baseline)
        assert find_chroma_levels(tuple(newer.tolist())) == shared
        assert find_mozjpeg_levels(tuple(mozjpeg_table(level, baseline=baseline).tolist())) == shared


def test_foreign_tables_have_no_level() -> None:
    foreign = tuple(range(1, 65))
    assert not find_luma_levels(foreign) | find_chroma_levels(foreign) | find_mozjpeg_levels(foreign)


def test_fit_returns_the_level_of_standard_tables() -> None:
    for level in JPEG_QUALITIES:  # or a lower one with the same low frequencies: 46 for 47, 49 for 51, 96 for 97 to 100
        luma = standard_tables(level)[0].tolist()
        fitted = fit_quality(tuple(luma))
        assert level - 4 <= fitted <= level
        lowest = [standard_tables(fitted)[0][i] for i in ZIGZAG[:10]]
        assert lowest == [luma[i] for i in ZIGZAG[:10]]


@given(st.sampled_from(JPEG_QUALITIES), st.lists(st.integers(0, 63), unique=True, min_size=1, max_size=40))
def test_a_table_of_which_some_is_known_means_a_level_with_those_steps(level: int, known: list[int]) -> None:
    steps = np.zeros(64, np.intp)
    steps[known] = standard_tables(level)[0][known]
    found = standard_tables(fit_quality(steps))[0]
    lowest = [i for i in ZIGZAG if i in known][:10]
    assert np.array_equal(found[lowest], steps[lowest])


@pytest.mark.parametrize("level", [5, 50, 90])
def test_steps_between_two_levels_mean_the_nearer_one(level: int) -> None:
    steps = standard_tables(level)[0].copy()
    steps[2] += 1
    assert abs(fit_quality(steps) - level) <= 1


def test_photoshop_levels_fit_the_known_libjpeg_levels() -> None:
    assert list(PHOTOSHOP_TABLES) == list(range(13))
    fitted = [fit_quality(pair.luma) for pair in PHOTOSHOP_TABLES.values()]
    assert fitted == [14, 18, 27, 40, 52, 64, 74, 70, 81, 87, 92, 96, 96]
    subsamplings = [pair.subsampling for pair in PHOTOSHOP_TABLES.values()]
    assert subsamplings == ["4:2:0"] * 7 + ["4:4:4"] * 6


def test_pillow_knows_the_same_photoshop_tables() -> None:
    for name, level in {"low": 3, "medium": 5, "high": 8, "maximum": 10}.items():
        pair = PHOTOSHOP_TABLES[level]
        assert presets[name]["quantization"] == [list(pair.luma), list(pair.chroma)]
    for name, level in {"web_low": 10, "web_medium": 30, "web_high": 60, "web_very_high": 80}.items():
        pair = SAVE_FOR_WEB_TABLES[level]
        assert presets[name]["quantization"] == [list(pair.luma), list(pair.chroma)]


def test_families_do_not_collide() -> None:
    photoshop = {(pair.luma, pair.chroma) for pair in PHOTOSHOP_TABLES.values()}
    web = {(pair.luma, pair.chroma) for pair in SAVE_FOR_WEB_TABLES.values()}
    assert len(photoshop) == 13
    assert len(web) == len(SAVE_FOR_WEB_TABLES)
    assert not photoshop & web
    assert not any(find_luma_levels(luma) or find_mozjpeg_levels(luma) for luma, _ in photoshop | web)
