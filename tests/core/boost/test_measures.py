import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from q1net_core.boost.measures import MOST_DB, Curve, bd_rate, interpolate, ms_ssim, psnr
from q1net_core.errors import ConfigError

CURVE = Curve((0.06, 0.1, 0.2, 0.5, 1.0), (25.0, 26.5, 28.4, 32.0, 36.0))


def test_psnr_of_known_errors() -> None:
    black = np.zeros((8, 8, 3), np.uint8)
    assert psnr(black, black) == MOST_DB
    assert psnr(black, black + np.uint8(1)) == pytest.approx(48.1308, abs=1e-4)
    assert psnr(black, black + np.uint8(255)) == pytest.approx(0.0)


def test_ms_ssim_falls_with_noise_and_needs_176_pixels() -> None:
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:192, :200]
    original = np.repeat((128 + 60 * np.sin(rows / 9) * np.cos(columns / 7))[:, :, None], 3, axis=2).astype(np.uint8)
    noisy = [(original + rng.normal(0, sigma, original.shape)).clip(0, 255).astype(np.uint8) for sigma in (2, 8)]
    weak, strong = (ms_ssim(original, picture) for picture in noisy)
    assert ms_ssim(original, original) == MOST_DB
    assert weak is not None
    assert strong is not None
    assert strong < weak < MOST_DB
    assert ms_ssim(original[:175], original[:175]) is None


def test_pchip_of_a_known_curve() -> None:
    # Computed with scipy 1.17: PchipInterpolator([0, 1, 3, 4], [0, 2, 3, 3.5])([0.5, 2, 3.5]).
    got = interpolate([0, 1, 3, 4], [0, 2, 3, 3.5], np.array([0.5, 2.0, 3.5]))
    np.testing.assert_allclose(got, [1.2053571428571428, 2.5892857142857144, 3.25], atol=1e-12)
    assert np.isnan(interpolate([0, 1], [0, 2], np.array([1.01]))[0])
    with pytest.raises(ConfigError, match="ascending"):
        interpolate([0, 0], [1, 2], np.array([0.0]))


@given(st.lists(st.tuples(st.floats(0.01, 4), st.floats(20, 50)), min_size=2, max_size=12, unique_by=lambda p: p[0]))
def test_a_pchip_goes_through_its_points_and_stays_monotone(points: list[tuple[float, float]]) -> None:
    xs = np.cumsum([x for x, _ in points])
    ys = sorted(y for _, y in points)
    np.testing.assert_allclose(interpolate(xs, ys, xs), ys, atol=1e-9)
    between = interpolate(xs, ys, np.linspace(xs[0], xs[-1], 200))
    assert np.all(np.diff(between[:-1]) >= -1e-9)


def test_a_curve_gives_its_own_points_back_and_nothing_outside() -> None:
    for rate, quality in zip(CURVE.rates, CURVE.qualities, strict=True):
        assert CURVE.quality_at(rate) == pytest.approx(quality)
    assert CURVE.quality_at(0.05) is None
    assert CURVE.quality_at(1.01) is None


def test_points_that_cost_more_and_are_no_better_are_left_out() -> None:
    assert Curve.through([(0.2, 28), (0.1, 27), (0.3, 27.5), (0.4, 30)]) == Curve((0.1, 0.2, 0.4), (27, 28, 30))


def test_bd_rate_of_known_pairs() -> None:
    assert bd_rate(CURVE, CURVE) == pytest.approx(0)
    cheaper = Curve(tuple(0.9 * rate for rate in CURVE.rates), CURVE.qualities)
    assert bd_rate(CURVE, cheaper) == pytest.approx(-10)
    assert bd_rate(CURVE, cheaper, 27, 30) == pytest.approx(-10)
    assert bd_rate(CURVE, cheaper, 37, 40) is None
    assert bd_rate(CURVE, Curve((1.0,), (30.0,))) is None
