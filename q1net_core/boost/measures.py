"""Quality of a decoded picture, and curves of rate and quality: PSNR, MS-SSIM, gains at equal rate, BD-rate.

Layer: numpy only.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from q1net_core.arrays import Float64Array, UInt8Array
from q1net_core.errors import ConfigError

PEAK = 255.0
# PSNR and MS-SSIM in dB of what equals its original.
MOST_DB = 100.0
# BT.601, as most implementations of MS-SSIM take it.
LUMA_WEIGHTS = (0.299, 0.587, 0.114)
# Source: Wang, Simoncelli and Bovik, Asilomar 2003.
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
WINDOW, SIGMA = 11, 1.5
LEAST_SIDE = WINDOW * 2 ** (len(SCALE_WEIGHTS) - 1)
# Points of the integral of a BD-rate.
GRID = 1000


def psnr(original: UInt8Array, decoded: UInt8Array) -> float:
    """PSNR in dB over all three channels of pictures uint8 [H, W, 3]; 100 where they are equal."""
    error = float(np.mean((original.astype(np.float64) - decoded) ** 2))
    return min(MOST_DB, 10 * float(np.log10(PEAK**2 / error))) if error else MOST_DB


def ms_ssim(original: UInt8Array, decoded: UInt8Array) -> float | None:
    """MS-SSIM of luma in dB, -10 log10(1 - MS-SSIM); None where a side has less than 176 pixels.

    Source: Wang, Simoncelli and Bovik, "Multiscale structural similarity for image quality assessment", 2003.
    """
    if min(original.shape[:2]) < LEAST_SIDE:
        return None
    weights = np.array(LUMA_WEIGHTS, np.float64)
    x, y = original @ weights, decoded @ weights
    product = 1.0
    for scale, weight in enumerate(SCALE_WEIGHTS):
        luminance, contrast = ssim_parts(x, y)
        last = scale == len(SCALE_WEIGHTS) - 1
        product *= max(0.0, float(np.mean(luminance * contrast if last else contrast))) ** weight
        x, y = halve(x), halve(y)
    return min(MOST_DB, -10 * float(np.log10(max(1 - product, 1e-10))))


def ssim_parts(x: Float64Array, y: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Luminance, and contrast with structure, of each window of two planes."""
    first, second = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2
    mean_x, mean_y = blur(x), blur(y)
    variances = blur(x * x) - mean_x**2 + blur(y * y) - mean_y**2
    covariance = blur(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + first) / (mean_x**2 + mean_y**2 + first)
    return luminance, (2 * covariance + second) / (variances + second)


def blur(plane: Float64Array) -> Float64Array:
    """Gaussian means of windows of 11x11 that lie inside."""
    offsets = np.arange(WINDOW) - WINDOW // 2
    kernel = np.exp(-(offsets**2) / (2 * SIGMA**2))
    kernel /= kernel.sum()
    for axis in (0, 1):
        count = plane.shape[axis] - WINDOW + 1
        total = np.zeros([count if other == axis else side for other, side in enumerate(plane.shape)])
        for start, weight in enumerate(kernel):
            total += weight * (plane[start : start + count] if axis == 0 else plane[:, start : start + count])
        plane = total
    return plane


def halve(plane: Float64Array) -> Float64Array:
    """Means of 2x2 pixels; an odd last row or column is left out."""
    even = plane[: plane.shape[0] // 2 * 2, : plane.shape[1] // 2 * 2]
    halves: Float64Array = (even[::2, ::2] + even[::2, 1::2] + even[1::2, ::2] + even[1::2, 1::2]) / 4
    return halves


def interpolate(x: Sequence[float], y: Sequence[float], at: Float64Array) -> Float64Array:
    """A monotone cubic through points with ascending ``x`` (PCHIP), at places within them; NaN outside.

    Source: Fritsch and Butland, "A method for constructing local monotone piecewise cubic interpolants", 1984.
    """
    xs, ys = np.asarray(x, np.float64), np.asarray(y, np.float64)
    steps = np.diff(xs)
    if len(xs) < 2 or np.any(steps <= 0):
        raise ConfigError(f"x is {[*x]}; expected two points or more, ascending")
    slopes = np.diff(ys) / steps
    tangents = find_tangents(steps, slopes)
    piece = np.clip(np.searchsorted(xs, at, side="right") - 1, 0, len(steps) - 1)
    step, slope, first, second = steps[piece], slopes[piece], tangents[piece], tangents[piece + 1]
    t = (at - xs[piece]) / step
    curve = ys[piece] + step * t * (first + t * ((3 * slope - 2 * first - second) + t * (first + second - 2 * slope)))
    return np.where((at < xs[0]) | (at > xs[-1]), np.nan, curve)


def find_tangents(steps: Float64Array, slopes: Float64Array) -> Float64Array:
    """The derivatives of a PCHIP at its points, from the lengths of its pieces and their slopes."""
    if len(steps) == 1:
        return np.repeat(slopes, 2)
    left, right = slopes[:-1], slopes[1:]
    before, after = 2 * steps[1:] + steps[:-1], steps[1:] + 2 * steps[:-1]
    same = left * right > 0
    safe_left, safe_right = np.where(same, left, 1), np.where(same, right, 1)
    inner = np.where(same, (before + after) / (before / safe_left + after / safe_right), 0)
    ends = [find_end_tangent(*steps[:2], *slopes[:2]), find_end_tangent(*steps[:-3:-1], *slopes[:-3:-1])]
    return np.concatenate([ends[:1], inner, ends[1:]])


def find_end_tangent(step: float, next_step: float, slope: float, next_slope: float) -> float:
    """The derivative at an end: of a parabola through three points, kept monotone."""
    tangent = ((2 * step + next_step) * slope - step * next_slope) / (step + next_step)
    if tangent * slope <= 0:
        return 0.0
    return 3 * slope if slope * next_slope <= 0 and abs(tangent) > abs(3 * slope) else tangent


@dataclass(frozen=True, slots=True)
class Curve:
    """Rates in bits per pixel and qualities in dB, both ascending, one point for each setting of a codec."""

    rates: tuple[float, ...]
    qualities: tuple[float, ...]

    @staticmethod
    def through(points: Sequence[tuple[float, float]]) -> "Curve":
        """Pairs of rate and quality in any order; those that cost more and are no better are left out."""
        kept: list[tuple[float, float]] = []
        for rate, quality in sorted(points):
            if not kept or (rate > kept[-1][0] and quality > kept[-1][1]):
                kept.append((rate, quality))
        return Curve(tuple(rate for rate, _ in kept), tuple(quality for _, quality in kept))

    def quality_at(self, rate: float) -> float | None:
        """The quality at a rate, interpolated over the logarithm of the rate; None outside of the curve."""
        if len(self.rates) < 2 or not self.rates[0] <= rate <= self.rates[-1]:
            return None
        return float(interpolate(np.log(self.rates).tolist(), self.qualities, np.log([rate]))[0])


def bd_rate(base: Curve, other: Curve, low: float = -np.inf, high: float = np.inf) -> float | None:
    """How many percent more bits ``other`` needs for the same quality, the mean over qualities; negative is better.

    Over the qualities that both curves have, within ``low`` and ``high`` dB; None where they share none.
    Source: Bjontegaard, VCEG-M33, with PCHIP.
    """
    if min(len(base.rates), len(other.rates)) < 2:
        return None
    low = max(low, base.qualities[0], other.qualities[0])
    high = min(high, base.qualities[-1], other.qualities[-1])
    if low >= high:
        return None
    at = np.linspace(low, high, GRID)
    logs = [interpolate(curve.qualities, np.log(curve.rates).tolist(), at) for curve in (other, base)]
    return 100 * float(np.exp(np.mean(logs[0] - logs[1])) - 1)
