"""What cameras, editors and websites do to pixels, as pure functions of one picture uint8 [height, width, 3].

Layer: numpy and Pillow; no keras, no beam, no pyarrow. Training draws their settings at random, before or after a
compression; the stress study tries fixed ones.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageEnhance, ImageFilter

from q1net_core.arrays import UInt8Array

Random = np.random.Generator
Resampling = Image.Resampling
# (left, top, right, bottom) in pixels, fractions allowed.
Box = tuple[float, float, float, float]

KERNELS = (Resampling.BOX, Resampling.BILINEAR, Resampling.HAMMING, Resampling.BICUBIC, Resampling.LANCZOS)
WHITE = 255.0
MIDDLE_GREY = 128.0


def round_pixels(values: npt.NDArray[np.floating]) -> UInt8Array:
    """Values of any range -> uint8, rounded and clipped as an editor stores them.

    >>> round_pixels(np.array([-3.0, 7.6, 300.0])).tolist()
    [0, 8, 255]
    """
    rounded: UInt8Array = np.rint(np.clip(values, 0, WHITE)).astype(np.uint8)
    return rounded


def resize(
    pixels: UInt8Array, size: tuple[int, int], kernel: Resampling = Resampling.LANCZOS, box: Box | None = None
) -> UInt8Array:
    """The picture, or the ``box`` of it, at another ``size`` (width, height); large reductions are antialiased."""
    return np.asarray(Image.fromarray(pixels).resize(size, kernel, box))


def rotate(pixels: UInt8Array, degrees: float) -> UInt8Array:
    """The picture turned anticlockwise about its middle, bicubic; corners that come from outside are black."""
    return np.asarray(Image.fromarray(pixels).rotate(degrees, Resampling.BICUBIC))


def blur(pixels: UInt8Array, sigma: float) -> UInt8Array:
    """A Gaussian filter of ``sigma`` pixels, as box filters approximate it."""
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(sigma)))


def filter_median(pixels: UInt8Array, size: int = 3) -> UInt8Array:
    """The median of ``size`` x ``size`` pixels, each channel by itself."""
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.MedianFilter(size)))


def sharpen(pixels: UInt8Array, sigma: float, amount: float) -> UInt8Array:
    """Unsharp masking: ``amount`` times what a Gaussian of ``sigma`` pixels would take away is added."""
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.UnsharpMask(sigma, round(100 * amount), 0)))


def denoise(pixels: UInt8Array, sigma: float, threshold: float) -> UInt8Array:
    """Coring: details finer than ``sigma`` pixels lose up to ``threshold`` of their height; what is lower vanishes."""
    smooth = blur(pixels, sigma).astype(np.float32)
    details = pixels - smooth
    return round_pixels(smooth + np.sign(details) * np.maximum(np.abs(details) - np.float32(threshold), 0))


def add_noise(pixels: UInt8Array, sigma: float, rng: Random, grey: bool = False) -> UInt8Array:
    """Gaussian noise, independent for every pixel and, unless ``grey``, for every channel."""
    shape = (*pixels.shape[:-1], 1) if grey else pixels.shape
    return round_pixels(pixels + rng.normal(0, sigma, shape))


def change_tone(pixels: UInt8Array, contrast: float, brightness: float) -> UInt8Array:
    """Contrast about middle grey as a factor, then brightness added."""
    middle = np.float32(MIDDLE_GREY)
    return round_pixels((pixels - middle) * np.float32(contrast) + middle + np.float32(brightness))


def change_gamma(pixels: UInt8Array, gamma: float) -> UInt8Array:
    """Every value raised to the power ``gamma``, black and white stay: above 1 darker, below 1 brighter."""
    curve = round_pixels(WHITE * (np.arange(256) / WHITE) ** gamma)
    return curve[pixels]


def change_saturation(pixels: UInt8Array, factor: float) -> UInt8Array:
    """Colours ``factor`` times as far from grey; 0 leaves the luma in all three channels."""
    return np.asarray(ImageEnhance.Color(Image.fromarray(pixels)).enhance(factor))


def each_tile(change: Callable[[UInt8Array], UInt8Array], tiles: UInt8Array) -> UInt8Array:
    """A change that keeps the size, made to each of the tiles uint8 [N, T, U, 3] by itself."""
    return np.stack([change(tile) for tile in tiles]) if len(tiles) else tiles
