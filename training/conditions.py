"""What has happened to whole pictures before an audit sees them, as data, with the level that is left to be found.

For measuring and calibrating on validation pictures. Training alters patches instead (training.alterations).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from q1net_core import alterations as change
from q1net_core.arrays import UInt8Array
from q1net_core.codecs.base import load
from q1net_core.codecs.jpeg import compress_jpeg, encode_jpeg
from q1net_core.codecs.table import CODECS
from q1net_core.patches import BLOCK

Random = np.random.Generator
# Decoded pixels -> the pixels that an audit sees, and the level of a JPEG compression that this adds, if any.
Alter = Callable[[UInt8Array, Random], tuple[UInt8Array, int | None]]

NEVER_COMPRESSED = 100
# Larger pictures are cut, for speed.
MAX_SIDE = 1024
CROP = 256
SCALES = (0.4, 2.0)
# A level is drawn from each of these ranges.
LEVEL_RANGES = ((5, 36), (36, 68), (68, 96))
SECOND_LEVELS = (50, 97)
SETTINGS = (60, 96)


@dataclass(frozen=True, slots=True)
class Example:
    """A picture that something happened to: ``pixels`` uint8 [height, width, 3].

    ``level`` is that of the coarsest compression, ``compressed`` says if there was one. ``picture`` is the number of
    the lossless one.
    """

    condition: str
    picture: int
    level: int
    compressed: bool
    pixels: UInt8Array


def plain(alter: Callable[..., UInt8Array], *values: float) -> Alter:
    """A condition without draws, which compresses nothing."""
    return lambda pixels, rng: (alter(pixels, *values), None)


def cut(pixels: UInt8Array, rng: Random) -> tuple[UInt8Array, None]:
    """A window of 256 pixels, at any phase of the block grid."""
    top, left = (int(rng.integers(0, max(side - CROP, 0) + 1)) for side in pixels.shape[:2])
    return pixels[top : top + CROP, left : left + CROP], None


def scale(pixels: UInt8Array, rng: Random, factor: float | None = None) -> tuple[UInt8Array, None]:
    """Resized by Lanczos' kernel and ``factor``, or with any kernel by a factor that is drawn."""
    drawn = float(np.exp(rng.uniform(*np.log(SCALES)))) if factor is None else factor
    kernel = change.Resampling.LANCZOS if factor else change.KERNELS[rng.integers(len(change.KERNELS))]
    height, width = (round(side * drawn) for side in pixels.shape[:2])
    return change.resize(pixels, (width, height), kernel), None


def turn(pixels: UInt8Array, rng: Random) -> tuple[UInt8Array, None]:
    """The inner half, turned by 1-10 degrees."""
    height, width = pixels.shape[:2]
    turned = change.rotate(pixels, rng.uniform(1, 10))
    return turned[height // 4 : height * 3 // 4, width // 4 : width * 3 // 4], None


def add_noise(pixels: UInt8Array, rng: Random, sigma: float) -> tuple[UInt8Array, None]:
    """Gaussian noise."""
    return change.add_noise(pixels, sigma, rng), None


def change_tone(pixels: UInt8Array, rng: Random) -> tuple[UInt8Array, None]:
    """Contrast and brightness, then gamma."""
    toned = change.change_tone(pixels, rng.uniform(0.85, 1.15), rng.uniform(-20, 20))
    return change.change_gamma(toned, rng.uniform(0.8, 1.25)), None


def convert(pixels: UInt8Array, rng: Random, codec: str) -> tuple[UInt8Array, None]:
    """Saved by another codec."""
    return CODECS[codec].compress(pixels, int(rng.integers(*SETTINGS))), None


def save_again(pixels: UInt8Array, rng: Random) -> tuple[UInt8Array, int]:
    """Cut off the block grid, then saved as JPEG once more."""
    top, left = divmod(int(rng.integers(1, BLOCK * BLOCK)), BLOCK)
    level = int(rng.integers(*SECOND_LEVELS))
    return load(encode_jpeg(pixels[top:, left:], level)), level


CLEAN: dict[str, Alter] = {"clean": lambda pixels, rng: (pixels, None), "cut": cut}
ALTERED: dict[str, Alter] = {
    "resize-0.5": partial(scale, factor=0.5),
    "resize-0.9": partial(scale, factor=0.9),
    "resize-1.03": partial(scale, factor=1.03),
    "resize": scale,
    "rotate": turn,
    "noise-1": partial(add_noise, sigma=1.0),
    "noise-2": partial(add_noise, sigma=2.0),
    "blur": plain(change.blur, 0.8),
    "median": plain(change.filter_median),
    "sharpen": plain(change.sharpen, 1.0, 0.8),
    "tone": change_tone,
    "webp": partial(convert, codec="webp"),
    "avif": partial(convert, codec="avif"),
    "jpeg": save_again,
}
CONDITIONS = CLEAN | ALTERED
# Codecs leave traces of their own: after these nobody can tell that there was no JPEG before.
COMPRESSING = ("webp", "avif", "jpeg")


def make_examples(picture: int, pixels: UInt8Array, conditions: tuple[str, ...], seed: int = 0) -> Iterator[Example]:
    """A lossless picture under each condition: compressed at three levels before it, and not compressed at all.

    Draws depend on seed, picture and the condition's place in CONDITIONS alone.
    """
    pixels = pixels[:MAX_SIDE, :MAX_SIDE]
    for condition in conditions:
        rng = np.random.default_rng([seed, picture, list(CONDITIONS).index(condition)])
        levels: list[int | None] = [int(rng.integers(*ends)) for ends in LEVEL_RANGES]
        for level in [*levels, *([] if condition in COMPRESSING else [None])]:
            decoded = pixels if level is None else compress_jpeg(pixels, level)
            altered, added = CONDITIONS[condition](decoded, rng)
            coarsest = min(level or NEVER_COMPRESSED, added or NEVER_COMPRESSED)
            yield Example(condition, picture, coarsest, level is not None, np.ascontiguousarray(altered))
