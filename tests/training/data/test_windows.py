"""Large training windows: as in the whole image compressed, anywhere in it, at several levels of each place."""

from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from networks import CROP, TINY
from pictures import make_picture
from PIL import Image

from q1net_core.codecs.jpeg import compress_jpeg
from q1net_core.errors import ConfigError
from q1net_core.network.variants import NEVER_COMPRESSED, VARIANTS
from training.config import TrainConfig, default_preset, preset
from training.data.images import image_data
from training.data.windows import batches, draw_start, draw_windows, room_for


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VARIANTS, "tiny-crop", TINY["tiny-crop"])


@pytest.fixture
def config() -> TrainConfig:
    return preset("window", variant="tiny-crop", batch_size=8, seed=5)


def test_windows_are_those_of_the_whole_image_compressed() -> None:
    pixels = make_picture(3, 90, 117)
    rng, same = np.random.default_rng(4), np.random.default_rng(4)
    for _ in range(20):
        windows = draw_windows(rng, pixels, 30, (7, 60, 0))
        top, left = (draw_start(same, length, 30) for length in pixels.shape[:2])
        for window, whole in zip(windows, (compress_jpeg(pixels, 7), compress_jpeg(pixels, 60), pixels), strict=True):
            assert np.array_equal(window, whole[top : top + 30, left : left + 30])


def test_windows_start_at_every_phase_and_stay_inside() -> None:
    starts = {draw_start(np.random.default_rng(seed), 100, 48) for seed in range(500)}
    assert {start % 8 for start in starts} == set(range(8))
    assert min(starts) == 2
    assert max(starts) == 96 - 48 - 2
    assert room_for(48) == 64
    assert draw_start(np.random.default_rng(0), room_for(48), 44) in range(2, 19)


def test_a_batch_has_places_at_several_levels_and_depends_on_seed_and_step_alone(config: TrainConfig) -> None:
    corpus = [make_picture(seed, 80, 96) for seed in range(3)]
    first = list(islice(batches(corpus, config), 3))
    windows, levels = first[2]
    assert (windows.shape, windows.dtype) == ((8, CROP, CROP, 3), np.uint8)
    assert levels.dtype == np.float32
    assert len(set(levels.tolist())) == 8
    again = next(batches(corpus, config, 2))
    assert np.array_equal(again[0], windows)
    assert np.array_equal(again[1], levels)
    other = next(batches(corpus, replace(config, seed=6), 2))
    assert not np.array_equal(other[1], levels)
    # Four levels of a place are alike, two places are not.
    means = windows.reshape(2, 4, -1).astype(float)
    within = np.abs(means[:, 0] - means[:, 1]).mean()
    assert within < np.abs(means[0, 0] - means[1, 0]).mean()


def test_jqe_learns_what_was_never_compressed() -> None:
    corpus = [make_picture(1, 80, 96)]
    config = preset("window", variant="jqe", batch_size=400)
    windows, levels = next(batches(corpus, config))
    assert windows.shape == (400, 60, 60, 3)
    assert 0.1 < np.mean(levels == NEVER_COMPRESSED) < 0.3
    assert set(levels.tolist()) - {NEVER_COMPRESSED} <= set(range(1, 101))


def test_validation_images_are_centre_windows(tmp_path: Path, config: TrainConfig) -> None:
    pixels = make_picture(1, 71, 90)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    data = image_data(str(tmp_path), str(tmp_path), VARIANTS[config.variant])
    windows, levels = data.patch_sets((10, 90), 64)
    assert windows.shape == (2, 1, CROP, CROP, 3)
    assert levels.tolist() == [10, 90]
    assert np.array_equal(windows[1, 0], compress_jpeg(pixels, 90)[11 : 11 + CROP, 21 : 21 + CROP])
    assert next(data.batches(config, 0))[0].shape == (8, CROP, CROP, 3)


def test_an_image_that_is_too_small_is_named(tmp_path: Path, config: TrainConfig) -> None:
    for name, side in {"large": 80, "small": 63}.items():
        Image.fromarray(make_picture(1, side, 80)).save(tmp_path / f"{name}.png")
    data = image_data(str(tmp_path), str(tmp_path), VARIANTS[config.variant])
    with pytest.raises(ConfigError, match=r"small\.png is 80 x 63 pixels; windows of 48 pixels need at least 64 x 64"):
        data.batches(config, 0)
    with pytest.raises(ConfigError, match=r"small\.png is 80 x 63"):
        data.patch_sets((10,), 1)


def test_recipes_of_patches_are_refused() -> None:
    assert default_preset("q-est") == "window"
    assert default_preset("q1net-k6") == default_preset(None) == "cpu"
    with pytest.raises(ConfigError, match="sees a centre crop; expected no alterations, variations"):
        preset("cpu", variant="tiny-crop")
