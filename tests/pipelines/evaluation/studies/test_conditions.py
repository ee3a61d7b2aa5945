"""The conditions of the stress study: the answers that they call right are right."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import make_picture

from pipelines.evaluation.studies.conditions import CONDITIONS, Sample, crop, draw_finer, levels_of, standard
from q1net_core.arrays import UInt8Array
from q1net_core.codecs.base import load
from q1net_core.codecs.jpeg import encode_jpeg
from q1net_core.images.decode import decode
from q1net_core.jpeg.header import read_jpeg_header
from q1net_core.jpeg.tables import PHOTOSHOP_TABLES


def make(condition: str, pixels: UInt8Array, level: int, seed: int = 3) -> Sample:
    return CONDITIONS[condition].make(pixels, level, np.random.default_rng(seed))


@pytest.mark.parametrize("condition", CONDITIONS)
def test_every_condition_makes_files_that_depend_on_picture_and_level_alone(condition: str) -> None:
    pixels = make_picture(1, 80, 96)
    for level in levels_of(condition, (20, 100))[:2]:
        made = make(condition, pixels, level)
        assert decode(made.encoded).pixels.size > 0
        assert made == make(condition, pixels, level)
        assert (made.table is None) == (made.grid is None)
        if condition.startswith(("resize", "rotate", "webp", "avif", "never")) and not condition.endswith("of-jpeg"):
            assert made.table is None
        else:
            assert made.table is not None


@pytest.mark.parametrize("condition", ["full", "jpeg-422", "jpeg-444", "jpeg-grey", "progressive", "twice-coarser"])
def test_the_right_answer_is_the_files_own_level(condition: str) -> None:
    for level in (1, 60, 100):
        made = make(condition, make_picture(2), level)
        header = read_jpeg_header(made.encoded)
        assert header is not None
        assert (header.quality, header.match) == (level, "exact")
        assert made.table == standard(level)
        assert header.progressive == (condition == "progressive")


def test_the_right_answer_for_other_encoders_is_their_level() -> None:
    for level, tables in PHOTOSHOP_TABLES.items():
        made = make("photoshop", make_picture(2), level)
        assert made.table is not None
        assert (made.table.match, made.table.level, made.table.steps) == ("photoshop", level, tables.luma)
    assert levels_of("photoshop", (50,)) == tuple(range(13))
    assert levels_of("mozjpeg", (50,)) == (50,)


@given(
    seed=st.integers(0, 2**32),
    size=st.sampled_from((None, 32, 64, 256)),
    aligned=st.booleans(),
)
def test_cut_windows_lie_on_the_grid_that_is_said(seed: int, size: int | None, aligned: bool) -> None:
    pixels = make_picture(4, 72, 88)
    whole, made = load(encode_jpeg(pixels, 90)), crop(pixels, 90, np.random.default_rng(seed), size, aligned)
    cut = decode(made.encoded).pixels
    height, width = cut.shape[:2]
    assert size is None or (height, width) == (min(size, 72), min(size, 88))
    windows = np.lib.stride_tricks.sliding_window_view(whole, cut.shape)[:, :, 0]
    ((top, left),) = np.argwhere((windows == cut).all(axis=(2, 3, 4)))
    assert made.grid is not None
    x, y = made.grid
    assert ((top + y) % 8, (left + x) % 8) == (0, 0)
    assert max(x, y) < 8
    assert not aligned or (x, y) == (0, 0)


@pytest.mark.parametrize("level", [1, 30, 70, 99, 100])
def test_finer_levels_are_finer(level: int) -> None:
    rng = np.random.default_rng(0)
    drawn = {draw_finer(level, rng) for _ in range(60)}
    half = {draw_finer(level, rng, 2) for _ in range(60)}
    assert min(drawn) > level or level == 100
    assert max(half) <= 100
    steps = np.array(standard(level).steps)
    # Below 30 steps are clipped at 255, at 99 they are hardly above 1.
    for finer in half if 30 <= level < 99 else ():
        assert (np.array(standard(finer).steps) <= steps / 2 + 1).all()


def test_a_second_compression_off_the_grid_hides_the_first() -> None:
    pixels = make_picture(5)
    for condition, coarse_first in (("twice-finer", True), ("twice-finer-shifted", True), ("twice-coarser", False)):
        made = make(condition, pixels, 40)
        header = read_jpeg_header(made.encoded)
        assert header is not None
        assert made.table is not None
        assert header.quality is not None
        assert (header.quality > 40) == coarse_first
        assert made.table.level == (header.quality if condition.endswith("shifted") else 40)
