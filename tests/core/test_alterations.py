"""Alterations of whole pictures: what each does to known pixels, and what none may do."""

from functools import partial

import numpy as np
import pytest
from pictures import make_picture

from q1net_core import alterations as change

RNG_SEED = 3
SAME_SIZE = {
    "rotate": partial(change.rotate, degrees=4.0),
    "blur": partial(change.blur, sigma=1.0),
    "median": change.filter_median,
    "sharpen": partial(change.sharpen, sigma=1.0, amount=0.8),
    "denoise": partial(change.denoise, sigma=1.0, threshold=2.0),
    "noise": lambda pixels: change.add_noise(pixels, 2.0, np.random.default_rng(RNG_SEED)),
    "tone": partial(change.change_tone, contrast=1.1, brightness=-5.0),
    "gamma": partial(change.change_gamma, gamma=1.3),
    "saturation": partial(change.change_saturation, factor=0.4),
}


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return make_picture(7, 48, 64)


def flat(value: int) -> np.ndarray:
    return np.full((32, 40, 3), value, np.uint8)


def detail(pixels: np.ndarray) -> float:
    return float(np.abs(np.diff(pixels.astype(float), axis=1)).mean())


@pytest.mark.parametrize("name", SAME_SIZE)
def test_picture_is_changed_and_keeps_size_and_type_and_the_original_stays(name: str, picture: np.ndarray) -> None:
    before = picture.copy()
    changed = SAME_SIZE[name](picture)
    assert changed.shape == picture.shape
    assert changed.dtype == np.uint8
    assert not np.array_equal(changed, picture)
    assert np.array_equal(picture, before)


@pytest.mark.parametrize("name", ["blur", "median", "sharpen", "denoise", "saturation"])
def test_filters_leave_flat_pictures_as_they_are(name: str) -> None:
    assert np.array_equal(SAME_SIZE[name](flat(90)), flat(90))


def test_blur_median_and_denoising_take_detail_away_and_sharpening_adds_some(picture: np.ndarray) -> None:
    before = detail(picture)
    assert detail(change.blur(picture, 1.0)) < before
    assert detail(change.filter_median(picture)) < before
    assert detail(change.denoise(picture, 1.0, 3.0)) < before
    assert detail(change.sharpen(picture, 1.0, 1.0)) > before


def test_denoising_removes_a_low_ripple_and_keeps_most_of_an_edge() -> None:
    ripple = flat(100)
    ripple[:, ::2] += 2
    smoothed = change.denoise(ripple, 1.5, 4.0)[:, 8:-8].astype(int)
    assert np.ptp(smoothed) <= 1
    edge = flat(40)
    edge[:, 20:] = 200
    assert np.ptp(change.denoise(edge, 1.5, 4.0)[:, 18:22].astype(int)) > 140


@pytest.mark.parametrize("sigma", [0.5, 2.0])
def test_noise_has_the_sigma_asked_for(sigma: float) -> None:
    noisy = change.add_noise(np.full((128, 128, 3), 128, np.uint8), sigma, np.random.default_rng(RNG_SEED))
    # Rounding adds the variance of a uniform step.
    assert (noisy.astype(float) - 128).std() == pytest.approx(np.hypot(sigma, 12**-0.5), rel=0.03)


def test_grey_noise_is_the_same_in_all_channels() -> None:
    noisy = change.add_noise(flat(128), 3.0, np.random.default_rng(RNG_SEED), grey=True)
    assert np.array_equal(noisy[..., 0], noisy[..., 2])
    assert noisy.std() > 1


def test_tone_is_worked_out_by_hand() -> None:
    assert change.change_tone(flat(108), 1.5, 10.0)[0, 0].tolist() == [108] * 3
    assert change.change_tone(flat(250), 1.0, 6.0)[0, 0].tolist() == [255] * 3
    assert change.change_tone(flat(3), 1.0, -6.0)[0, 0].tolist() == [0] * 3


def test_gamma_keeps_black_and_white_and_the_order_between() -> None:
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    curved = change.change_gamma(ramp, 2.0)[0, :, 0].astype(int)
    assert (curved[0], curved[255], curved[128]) == (0, 255, round(255 * (128 / 255) ** 2))
    assert (np.diff(curved) >= 0).all()


def test_no_saturation_is_grey(picture: np.ndarray) -> None:
    grey = change.change_saturation(picture, 0.0)
    assert np.array_equal(grey[..., 0], grey[..., 1])
    assert np.array_equal(grey[..., 1], grey[..., 2])


def test_resizing_a_box_is_resizing_the_cut(picture: np.ndarray) -> None:
    boxed = change.resize(picture, (20, 10), change.Resampling.BOX, (8, 4, 48, 24))
    assert np.array_equal(boxed, change.resize(picture[4:24, 8:48], (20, 10), change.Resampling.BOX))
    assert boxed.shape == (10, 20, 3)


def test_turning_by_nothing_changes_nothing(picture: np.ndarray) -> None:
    assert np.array_equal(change.rotate(picture, 0.0), picture)


def test_tiles_are_changed_each_by_itself(picture: np.ndarray) -> None:
    tiles = np.stack([picture, picture[::-1]])
    blurred = change.each_tile(SAME_SIZE["blur"], tiles)
    assert np.array_equal(blurred[1], SAME_SIZE["blur"](picture[::-1]))
    assert change.each_tile(SAME_SIZE["blur"], tiles[:0]).shape == (0, 48, 64, 3)
