"""What cameras and editors do to pictures before their compression, as data: scale, blur, noise, sharpening, colours.

A variation changes a window of a lossless photograph, which stays lossless: nothing here is a compression.
"""

from collections.abc import Callable

import numpy as np

from q1net_core import alterations as change
from q1net_core.arrays import UInt8Array

# A window has this side where the photograph is large enough; after scaling, this one at most.
SOURCE = 512
WINDOW = 256
# Room for a tile of any alteration at any phase.
LEAST = 96
SCALES = (0.5, 3.0)
BLURS = (0.3, 2.0)
NOISES = (0.3, 5.0)
GREY_NOISE_SHARE = 0.5
DENOISING_SIGMAS = (0.6, 1.6)
DENOISING_THRESHOLDS = (1.0, 6.0)
SHARPENING_SIGMAS = (0.5, 2.0)
SHARPENING_AMOUNTS = (0.3, 1.5)
GAMMAS = (0.6, 1.7)
SATURATIONS = (0.2, 1.6)

Random = np.random.Generator
Vary = Callable[[UInt8Array, Random], UInt8Array]


def draw_factor(rng: Random, ends: tuple[float, float]) -> float:
    """A factor between two ends, every ratio equally likely."""
    return float(np.exp(rng.uniform(*np.log(ends))))


def cut_window(pixels: UInt8Array, rng: Random, side: int) -> UInt8Array:
    """A window of ``side`` pixels anywhere in the picture, or the whole of an axis that is shorter."""
    top, left = (int(rng.integers(0, max(length - side, 0) + 1)) for length in pixels.shape[:2])
    return pixels[top : top + side, left : left + side]


def scale(pixels: UInt8Array, rng: Random) -> UInt8Array:
    """Made smaller or larger, with any kernel: the picture as a camera of another resolution, or a website, has it."""
    factor = max(draw_factor(rng, SCALES), LEAST / min(pixels.shape[:2]))
    window = cut_window(pixels, rng, max(round(WINDOW / factor), 1))
    height, width = (max(round(length * factor), LEAST) for length in window.shape[:2])
    return change.resize(window, (width, height), change.KERNELS[rng.integers(len(change.KERNELS))])


def blur(pixels: UInt8Array, rng: Random) -> UInt8Array:
    """Out of focus."""
    return change.blur(pixels, draw_factor(rng, BLURS))


def add_noise(pixels: UInt8Array, rng: Random) -> UInt8Array:
    """A sensor's noise, in all channels alike or in each by itself."""
    return change.add_noise(pixels, draw_factor(rng, NOISES), rng, bool(rng.random() < GREY_NOISE_SHARE))


def denoise(pixels: UInt8Array, rng: Random) -> UInt8Array:
    """Small details taken away, as cameras take away noise."""
    return change.denoise(pixels, rng.uniform(*DENOISING_SIGMAS), rng.uniform(*DENOISING_THRESHOLDS))


def sharpen(pixels: UInt8Array, rng: Random) -> UInt8Array:
    """Unsharp masking."""
    return change.sharpen(pixels, rng.uniform(*SHARPENING_SIGMAS), rng.uniform(*SHARPENING_AMOUNTS))


def change_gamma(pixels: UInt8Array, rng: Random) -> UInt8Array:
    """Brighter or darker by a power of the values."""
    return change.change_gamma(pixels, draw_factor(rng, GAMMAS))


def change_saturation(pixels: UInt8Array, rng: Random) -> UInt8Array:
    """Paler or stronger colours."""
    return change.change_saturation(pixels, rng.uniform(*SATURATIONS))


def drop_colours(pixels: UInt8Array, rng: Random) -> UInt8Array:
    """Black and white."""
    return change.change_saturation(pixels, 0.0)


# In the order in which a picture meets them.
VARIATIONS: dict[str, Vary] = {
    "scale": scale,
    "blur": blur,
    "noise": add_noise,
    "denoise": denoise,
    "sharpen": sharpen,
    "gamma": change_gamma,
    "saturation": change_saturation,
    "grey": drop_colours,
}


def vary(pixels: UInt8Array, rng: Random, shares: tuple[tuple[str, float], ...]) -> UInt8Array:
    """A window of a photograph uint8 [height, width, 3], changed by each variation with its share's probability.

    Returns:
        uint8, 96 to 256 pixels a side.
    """
    window, probabilities = cut_window(pixels, rng, SOURCE), dict(shares)
    for name, change_window in VARIATIONS.items():
        if rng.random() < probabilities.get(name, 0.0):
            window = change_window(window, rng)
            if name == "scale":
                window = cut_window(window, rng, WINDOW)
    return cut_window(window, rng, WINDOW)
