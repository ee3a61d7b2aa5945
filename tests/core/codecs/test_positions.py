"""Positions: where they may lie, how they are drawn, and patches identical to those of the whole compressed image."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import make_texture
from PIL import Image

from q1net_core.arrays import UInt8Array
from q1net_core.codecs.base import Codec
from q1net_core.codecs.positions import (
    PHASES,
    check_room,
    compress_mosaics,
    compress_patches,
    cut_mosaics,
    draw_position,
    draw_positions,
    phases_of,
)
from q1net_core.codecs.table import CODECS
from q1net_core.errors import ConfigError, ImageError
from q1net_core.patches import PATCH, cut_windows
from q1net_core.records import Status

PHOTOGRAPH = Path(__file__).parents[2] / "photographs" / "camera" / "airplane.png"
CUTTING = [name for name, codec in CODECS.items() if codec.geometry]


@pytest.fixture(scope="module")
def photograph() -> UInt8Array:
    return np.asarray(Image.open(PHOTOGRAPH))


def assert_patches_match(pixels: UInt8Array, positions: np.ndarray, levels: np.ndarray, codec: Codec) -> None:
    whole = np.stack([cut_windows(codec.compress(pixels, int(level)), *positions.T, PATCH) for level in levels])
    assert np.array_equal(compress_patches(pixels, positions, levels, codec), whole)


@given(
    st.data(),
    st.integers(0, 2**32 - 1),
    st.integers(48, 150),
    st.integers(48, 150),
    st.sampled_from(CUTTING),
    st.sampled_from(sorted(PHASES)),
)
def test_patches_anywhere_are_bit_identical_to_the_whole_image(
    data: st.DataObject, seed: int, height: int, width: int, name: str, phases: str
) -> None:
    levels = data.draw(st.lists(st.sampled_from(CODECS[name].levels), min_size=1, max_size=3, unique=True))
    rng = np.random.default_rng(seed)
    pixels = make_texture(seed, height, width)
    room = [length // 16 * 2 - (2 if phases == "aligned" else 5) for length in (height, width)]
    positions = draw_positions(rng, pixels, min(12, room[0] * room[1]), phases)
    assert_patches_match(pixels, positions, np.array(levels), CODECS[name])


@pytest.mark.parametrize("name", CUTTING)
@pytest.mark.parametrize("length", [48, 49, 63, 64, 72])
def test_every_position_of_a_small_image_is_bit_identical(length: int, name: str) -> None:
    pixels, level = make_texture(3, length, length + 16), CODECS[name].levels[4]
    for phases, first, last in (("aligned", 1, length // 16 * 2 - 2), ("all", 2, length // 16 * 2 - 4)):
        shifts = np.array(PHASES[phases])
        ys = (np.arange(first, last + 1)[:, None] * 8 - 4 + shifts).ravel()
        xs = (np.arange(first, last + 3)[:, None] * 8 - 4 + shifts).ravel()
        positions = np.stack(np.meshgrid(ys, xs, indexing="ij"), axis=-1).reshape(-1, 2)
        assert_patches_match(pixels, positions, np.array([level]), CODECS[name])


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("phases", PHASES)
def test_patches_of_a_photograph_are_bit_identical(photograph: UInt8Array, phases: str, name: str) -> None:
    pixels = photograph[:371, :499] if name in CUTTING else photograph[:131, :119]
    positions = draw_positions(np.random.default_rng(5), pixels, 64 if name in CUTTING else 20, phases)
    known = CODECS[name].levels
    levels = np.array([known[0], known[len(known) // 2], known[-1]])
    assert_patches_match(pixels, positions, levels, CODECS[name])


@pytest.mark.parametrize("name", CODECS)
def test_mosaics_hold_the_patches_and_are_small_where_a_codec_cuts(photograph: UInt8Array, name: str) -> None:
    positions = draw_positions(np.random.default_rng(5), photograph, 30, "all")
    mosaics = cut_mosaics(photograph, positions, CODECS[name])
    assert sorted(np.concatenate([mosaic.indices for mosaic in mosaics])) == list(range(30))
    for mosaic in mosaics:
        windows = cut_windows(mosaic.pixels, mosaic.tops, mosaic.lefts, PATCH)
        assert np.array_equal(windows, cut_windows(photograph, *positions[mosaic.indices].T, PATCH))
    size = sum(mosaic.pixels.nbytes for mosaic in mosaics)
    assert size <= 30 * 48 * 48 * 3 if name in CUTTING else size == photograph.nbytes


def test_a_mosaic_is_never_wider_than_the_codec_takes(photograph: UInt8Array) -> None:
    narrow = replace(CODECS["jpeg"], max_side=100)
    positions, levels = draw_positions(np.random.default_rng(5), photograph, 11), np.array([30, 90])
    mosaics = cut_mosaics(photograph, positions, narrow)
    assert [len(mosaic.indices) for mosaic in mosaics] == [3, 3, 3, 2]
    assert all(mosaic.pixels.shape[1] <= 100 for mosaic in mosaics)
    expected = compress_patches(photograph, positions, levels)
    assert np.array_equal(compress_mosaics(mosaics, levels, narrow), expected)


def test_positions_are_different_and_inside_at_all_their_phases() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (300, 392, 3), dtype=np.uint8)
    aligned = draw_positions(np.random.default_rng(1), pixels, 60)
    assert not phases_of(aligned).any()
    shifted = draw_positions(np.random.default_rng(1), pixels, 120, "all")
    assert {tuple(phase) for phase in phases_of(shifted).tolist()} <= {
        (y, x) for y in PHASES["all"] for x in range(-4, 4)
    }
    assert set(phases_of(shifted)[:, 0].tolist()) == set(phases_of(shifted)[:, 1].tolist()) == set(range(-4, 4))
    for positions in (aligned, shifted):
        assert len(np.unique(positions, axis=0)) == len(positions)
        assert (positions >= 2).all()
        assert (positions + PATCH + 2 <= (288, 384)).all()


def test_positions_of_a_crowded_image_seldom_repeat() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (80, 80, 3), dtype=np.uint8)
    assert len(np.unique(draw_positions(np.random.default_rng(1), pixels, 64), axis=0)) > 50


def test_all_64_phases_are_equally_likely() -> None:
    positions = draw_positions(np.random.default_rng(2), make_texture(2, 800, 800), 6400, "all")
    _, counts = np.unique(phases_of(positions), axis=0, return_counts=True)
    assert len(counts) == 64
    assert counts.min() > 60


def test_draws_stay_those_of_a_training_under_way() -> None:
    # A training resumes from seed and step alone: the order of random numbers is part of its state.
    pixels = make_texture(8, 96, 128)
    pixels[:, 40:] = 200
    rng = np.random.default_rng([7, 3])
    assert [draw_position(rng, pixels) for _ in range(6)] == GOLDEN


GOLDEN = [(28, 28), (12, 108), (68, 36), (12, 20), (76, 36), (44, 20)]


def test_flat_positions_are_drawn_again_three_times() -> None:
    pixels = np.full((64, 640, 3), 90, np.uint8)
    pixels[:, :320] = np.random.default_rng(4).integers(0, 256, (64, 320, 3))
    drawn = [draw_positions(np.random.default_rng(seed), pixels, 40, name) for seed in range(25) for name in PHASES]
    lefts = np.concatenate(drawn)[:, 1]
    # One half to the power of four, and a little more where a good position is already taken.
    assert 0.04 < (lefts >= 320).mean() < 0.11


def test_a_flat_image_has_positions_too() -> None:
    assert len(draw_positions(np.random.default_rng(1), np.zeros((64, 64, 3), np.uint8), 8)) == 8


@pytest.mark.parametrize(("phases", "side"), [("aligned", 32), ("all", 48)])
def test_images_without_room_are_refused(phases: str, side: int) -> None:
    check_room(np.zeros((side, side, 3), np.uint8), 1, phases)
    for height, width in ((side - 1, side), (side, side - 1), (1, 1), (side, 0)):
        with pytest.raises(ImageError, match=f"image is {width} x {height} pixels and holds 0 of") as caught:
            check_room(np.zeros((height, width, 3), np.uint8), 1, phases)
        assert caught.value.status is Status.TOO_SMALL
    room = 4 if phases == "aligned" else 1
    with pytest.raises(ImageError, match=f"holds {room} of the 9 blocks wanted"):
        draw_positions(np.random.default_rng(1), np.zeros((side, side, 3), np.uint8), 9, phases)


def test_unknown_phases_are_refused() -> None:
    with pytest.raises(ConfigError, match="phases are 'some'; expected one of aligned, all"):
        draw_positions(np.random.default_rng(1), np.zeros((64, 64, 3), np.uint8), 1, "some")
