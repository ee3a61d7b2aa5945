"""Alterations: what they do to compressed tiles, their labels, phases, and batches that mix them by share."""

from collections import Counter

import numpy as np
import pytest
from pictures import make_picture

from q1net_core.codecs.jpeg import compress_jpeg
from q1net_core.errors import ConfigError
from q1net_core.patches import cut_windows, sample_patches
from training.alterations import (
    ALTERATIONS,
    MAX_SIGMA,
    TILE,
    alter_group,
    cut_patches,
    draw_large_tile,
    draw_offset,
    draw_recompression,
    draw_resize,
    draw_rotation,
    spread_large_tiles,
)
from training.config import PRESETS, TrainConfig, preset
from training.data.photographs import altered_set, batches, draw_alterations

LEVELS = np.array([90, 30])


def altering(*alterations: tuple[str, float], **changes: object) -> TrainConfig:
    return preset("smoke", batch_size=64, alterations=alterations, **changes)


@pytest.fixture(scope="module")
def tiles() -> np.ndarray:
    return np.stack([make_picture(seed, TILE, TILE) for seed in range(3)])


@pytest.mark.parametrize("name", ALTERATIONS)
def test_alteration_gives_patches_and_a_label_no_higher_than_the_level(name: str, tiles: np.ndarray) -> None:
    again = []
    for _ in range(2):
        patches, labels = alter_group(np.random.default_rng(1), tiles, LEVELS, name)
        assert [part.shape for part in patches] == [(3, 16, 16, 3)] * 2
        assert {part.dtype for part in patches} == {np.dtype(np.uint8)}
        if name == "never":
            assert labels == [100, 100]
        else:
            assert all(1 <= label <= level for label, level in zip(labels, LEVELS, strict=True))
        again.append(np.stack(patches))
    assert np.array_equal(*again)
    other, _ = alter_group(np.random.default_rng(2), tiles, LEVELS, name)
    assert not np.array_equal(again[0], np.stack(other))


@pytest.mark.parametrize("aligned", [True, False])
def test_offsets_reach_all_phases_of_the_coding_units(aligned: bool) -> None:
    rng = np.random.default_rng(1)
    for length in (TILE, TILE - 16):
        drawn = {draw_offset(rng, length, aligned) for _ in range(4000)}
        ys = {y for y, _ in drawn}
        assert drawn == {(y, x) for y in ys for x in ys}
        assert {y % 16 for y in ys} == ({4, 12} if aligned else set(range(16)))
        assert min(ys) >= 2
        assert max(ys) + 16 <= length - 2


def test_patches_off_the_grid_are_those_of_the_whole_image() -> None:
    picture = make_picture(3, 128, 96)
    tile = picture[16 : 16 + TILE, 32 : 32 + TILE]
    (patches,), labels = alter_group(np.random.default_rng(5), tile[None], np.array([40]), "off-grid")
    whole = compress_jpeg(picture, 40)
    ys, xs = (grid.ravel() for grid in np.meshgrid(np.arange(128 - 16), np.arange(96 - 16), indexing="ij"))
    assert (cut_windows(whole, ys, xs, 16) == patches[0]).all(axis=(1, 2, 3)).sum() == 1
    assert labels == [40]


def test_resized_patch_is_cut_out_of_the_resized_tile() -> None:
    # A ramp keeps its values where it is resized, so that places and factor can be read from them.
    ramp = np.tile(np.arange(TILE, dtype=np.uint8)[None, :, None] * 3, (TILE, 1, 3))
    steps = set()
    for seed in range(40):
        patches, _ = draw_resize(np.random.default_rng(seed))(ramp[None], 100)
        row = patches[0, 8, :, 0].astype(float)
        step = (row[-1] - row[0]) / 15 / 3
        assert np.allclose(row, row[0] + np.arange(16) * step * 3, atol=4)
        steps.add(round(step, 1))
    assert 0.4 <= min(steps) <= 0.7
    assert 1.6 < max(steps) <= 2.1


def test_rotation_turns_to_both_sides_and_shows_no_corner() -> None:
    white = np.full((1, TILE, TILE, 3), 255, np.uint8)
    ramp = np.tile(np.arange(TILE, dtype=np.uint8)[None, None, :, None] * 3, (1, TILE, 1, 3))
    slopes = []
    for seed in range(20):
        patches, _ = draw_rotation(np.random.default_rng(seed))(white, 90)
        assert patches.min() == 255
        patches, _ = draw_rotation(np.random.default_rng(seed))(ramp, 95)
        slopes.append(float(np.diff(patches[0, :, :, 0].astype(float), axis=0).mean()))
    assert min(slopes) < -0.05
    assert max(slopes) > 0.05


def test_patches_that_were_never_compressed_are_the_lossless_ones(tiles: np.ndarray) -> None:
    patches, labels = alter_group(np.random.default_rng(1), tiles, LEVELS, "never")
    assert labels == [100, 100]
    ys, xs = (grid.ravel() for grid in np.meshgrid(np.arange(TILE - 15), np.arange(TILE - 15), indexing="ij"))
    for part in patches:
        assert (cut_windows(tiles[1], ys, xs, 16) == part[1]).all(axis=(1, 2, 3)).any()
    assert not np.array_equal(*patches)


def test_noise_is_gaussian_and_at_most_the_named_sigma(tiles: np.ndarray) -> None:
    grey = np.full_like(tiles, 128)
    sigmas = []
    for seed in range(40):
        patches, labels = ALTERATIONS["noise"](np.random.default_rng(seed))(grey, 70)
        assert labels == 70
        sigmas.append((patches.astype(float) - 128).std())
    assert 1.5 < max(sigmas) < MAX_SIGMA + 0.2
    assert min(sigmas) < 0.5


def test_tone_changes_pixels_and_no_label(tiles: np.ndarray) -> None:
    coloured = tiles.copy()
    coloured[..., 2] //= 2
    off_grid = [(y, x) for y in range(TILE - 16) for x in range(TILE - 16)]
    plain = np.stack([compress_jpeg(tile, 60) for tile in coloured])
    for seed in range(6):
        patches, label = ALTERATIONS["tone"](np.random.default_rng(seed))(coloured, 60)
        assert label == 60
        assert not any(np.array_equal(cut_patches(plain, offset), patches) for offset in off_grid)


def test_recompression_is_labelled_with_the_level_that_dominates(tiles: np.ndarray) -> None:
    labels = {draw_recompression(np.random.default_rng(seed))(tiles, 60)[1] for seed in range(30)}
    assert max(labels) == 60
    assert len(labels) > 3
    first = np.stack([compress_jpeg(tile, 30) for tile in tiles])
    patches, _ = draw_recompression(np.random.default_rng(1))(first, 30)
    assert not any((cut_patches(first, (y, x)) == patches).all() for y in range(48) for x in range(48))


def test_large_tiles_lie_on_the_grid_of_coding_units() -> None:
    ys, xs = np.mgrid[:112, :150]
    coordinates = np.stack([ys, xs, (ys * 7 + xs * 13) % 200], axis=-1).astype(np.uint8)
    starts = Counter()
    for seed in range(200):
        tile = draw_large_tile(np.random.default_rng(seed), coordinates)
        assert tile.shape == (TILE, TILE, 3)
        starts[tuple(tile[0, 0, :2].tolist())] += 1
    assert set(starts) == {(y, x) for y in (0, 16, 32, 48) for x in (0, 16, 32, 48, 64, 80)}


def test_shares_of_places_are_those_of_the_config() -> None:
    config = altering(("resize", 0.3), ("noise", 0.2))
    drawn = Counter(draw_alterations(np.random.default_rng(1), 10_000, config))
    assert {name: round(count / 10_000, 1) for name, count in drawn.items()} == {None: 0.5, "resize": 0.3, "noise": 0.2}


def test_altered_batches_depend_on_seed_and_step_alone() -> None:
    corpus = [make_picture(seed, 64, 80) for seed in range(3)]
    config = altering(*((name, 0.1) for name in ALTERATIONS))
    stream, resumed = batches(corpus, config), batches(corpus, config, start=2)
    next(stream), next(stream)
    for _ in range(2):
        (patches, levels), (again, levels_again) = next(stream), next(resumed)
        assert patches.shape == (64, 16, 16, 3)
        assert levels.dtype == np.float32
        assert np.array_equal(patches, again)
        assert np.array_equal(levels, levels_again)


def test_alterations_leave_the_untouched_places_as_they_were() -> None:
    corpus = [make_picture(seed, 64, 80) for seed in range(3)]
    plain, none = (next(batches(corpus, config)) for config in (preset("smoke", batch_size=64), altering()))
    assert np.array_equal(plain[0], none[0])
    never = next(batches(corpus, altering(("noise", 0.0))))
    assert len(np.unique(never[1])) == 16


def test_images_must_have_room_for_the_larger_tiles() -> None:
    with pytest.raises(ConfigError, match="80 x 48 pixels; expected at least 64 x 64"):
        next(batches([make_picture(1, 48, 80)], altering(("noise", 0.5))))


@pytest.mark.parametrize("name", ALTERATIONS)
def test_validation_images_are_altered_alike_in_every_training(name: str) -> None:
    corpus = [make_picture(seed, 64, 80) for seed in range(2)]
    stacks, labels = altered_set(corpus, name, 16)
    assert (stacks.shape, labels.shape) == ((4, 16, 16, 16, 3), (4,))
    again, _ = altered_set(corpus, name, 16)
    assert np.array_equal(stacks, again)


@pytest.mark.parametrize(
    ("alterations", "message"),
    [
        ((("blur", 0.1),), "alterations name 'blur'; expected some of off-grid, resize"),
        ((("noise", 0.6), ("tone", 0.5)), r"shares \[0.6, 0.5\]; expected none below 0 and a sum of at most 1"),
        ((("noise", -0.1),), "shares"),
    ],
)
def test_impossible_alterations_are_refused(alterations: tuple[tuple[str, float], ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        altering(*alterations)


def test_robust_preset_sees_every_alteration_and_untouched_places() -> None:
    robust = PRESETS["robust"]
    assert [name for name, _ in robust.alterations] == list(ALTERATIONS)
    assert 0.05 <= 1 - sum(share for _, share in robust.alterations) <= 0.5
    assert (robust.variant, robust.start_from) == ("q1net-k8-robust", "q1net-k8")


def test_spread_tiles_hold_the_patches_that_inference_samples() -> None:
    ys, xs = np.mgrid[:112, :150]
    coordinates = np.stack([ys, xs, np.zeros_like(ys)], axis=-1).astype(np.uint8)
    tiles = spread_large_tiles(coordinates, 16)
    assert tiles.shape == (16, TILE, TILE, 3)
    for tile, patch in zip(tiles, sample_patches(coordinates, 16), strict=True):
        top, left = (int(value) for value in tile[0, 0, :2])
        y, x = (int(value) for value in patch[0, 0, :2])
        assert (top % 16, left % 16) == (0, 0)
        assert top <= y <= top + TILE - 16
        assert left <= x <= left + TILE - 16
