"""What happens to pictures after their compression, as data: patches that were resized, noisy, brightened, saved again.

Every alteration is drawn once for some tiles and then the same for all levels at which they are seen: what differs
within such a group is the compression alone.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image

from q1net_core.codecs.positions import draw_position
from q1net_core.codecs.tiles import compress_tiles
from q1net_core.patches import BLOCK, BORDER, PATCH
from q1net_core.records import UInt8Array

# What JPEG 4:2:0 codes as one.
UNIT = 2 * BLOCK
# Room for a patch at twice its size, the reach of the resizing filter, and any phase of the coding units.
TILE = 64
FACTORS = (0.5, 1.05)
FILTERS = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)
# Lanczos looks three pixels of the smaller picture around.
REACH = 3
MAX_SIGMA = 2.0
CONTRASTS = (0.85, 1.15)
BRIGHTNESS = (-20.0, 20.0)
SECOND_LEVELS = range(20, 101)
# Of the altered pictures; the others were cut off their grid as well.
ALIGNED_SHARE = 0.5

Alter = Callable[[UInt8Array, int], tuple[UInt8Array, int]]


def draw_offset(rng: np.random.Generator, length: int, aligned: bool) -> tuple[int, int]:
    """Where patches lie in tiles of ``length`` pixels: near the middle, on the block grid or at any phase."""
    first = (length - PATCH) // 2 // BLOCK * BLOCK - BORDER
    step = BLOCK if aligned else 1
    y, x = first + rng.integers(UNIT // step, size=2) * step
    return int(y), int(x)


def cut_patches(tiles: UInt8Array, offset: tuple[int, int]) -> UInt8Array:
    """The patch at the same place of every tile: uint8 [N, 16, 16, 3]."""
    y, x = offset
    return tiles[:, y : y + PATCH, x : x + PATCH]


def round_pixels(values: npt.NDArray[np.float32]) -> UInt8Array:
    """Values of any range -> uint8, as an editor stores them."""
    return np.rint(np.clip(values, 0, 255)).astype(np.uint8)


def draw_off_grid(rng: np.random.Generator) -> Alter:
    """Nothing but a cut: the patches lie at any of the 64 phases of the block grid."""
    offset = draw_offset(rng, TILE, aligned=False)
    return lambda tiles, level: (cut_patches(tiles, offset), level)


def draw_resize(rng: np.random.Generator) -> Alter:
    """Made smaller, to half at most, or a little larger."""
    factor = rng.uniform(*FACTORS)
    resample = FILTERS[rng.integers(len(FILTERS))]
    side, reach = PATCH / factor, REACH / min(factor, 1.0)
    top, left = rng.uniform(reach, TILE - side - reach, 2)
    box = (left, top, left + side, top + side)

    def resize(tiles: UInt8Array, level: int) -> tuple[UInt8Array, int]:
        pictures = (Image.fromarray(tile).resize((PATCH, PATCH), resample, box) for tile in tiles)
        return np.stack([np.asarray(picture) for picture in pictures]), level

    return resize


def draw_noise(rng: np.random.Generator) -> Alter:
    """Gaussian noise, independent for every value."""
    sigma = np.float32(rng.uniform(0, MAX_SIGMA))
    offset = draw_offset(rng, TILE, rng.random() < ALIGNED_SHARE)

    def add_noise(tiles: UInt8Array, level: int) -> tuple[UInt8Array, int]:
        patches = cut_patches(tiles, offset)
        return round_pixels(patches + sigma * rng.standard_normal(patches.shape, np.float32)), level

    return add_noise


def draw_tone(rng: np.random.Generator) -> Alter:
    """Brightness and contrast changed."""
    contrast, brightness = np.float32(rng.uniform(*CONTRASTS)), np.float32(rng.uniform(*BRIGHTNESS))
    offset = draw_offset(rng, TILE, rng.random() < ALIGNED_SHARE)

    def change_tone(tiles: UInt8Array, level: int) -> tuple[UInt8Array, int]:
        patches = cut_patches(tiles, offset).astype(np.float32)
        return round_pixels((patches - 128) * contrast + 128 + brightness), level

    return change_tone


def draw_recompression(rng: np.random.Generator) -> Alter:
    """Saved once more, on the same grid or shifted; the lower of the two levels is what shows."""
    second = int(rng.choice(SECOND_LEVELS))
    down, right = (0, 0) if rng.random() < ALIGNED_SHARE else rng.integers(UNIT, size=2)
    length = TILE - UNIT
    offset = draw_offset(rng, length, rng.random() < ALIGNED_SHARE)

    def recompress(tiles: UInt8Array, level: int) -> tuple[UInt8Array, int]:
        again = compress_tiles(tiles[:, down : down + length, right : right + length], second)
        return cut_patches(again, offset), min(level, second)

    return recompress


ALTERATIONS: dict[str, Callable[[np.random.Generator], Alter]] = {
    "off-grid": draw_off_grid,
    "resize": draw_resize,
    "noise": draw_noise,
    "tone": draw_tone,
    "recompression": draw_recompression,
}


def draw_large_tile(rng: np.random.Generator, pixels: UInt8Array) -> UInt8Array:
    """A tile uint8 [64, 64, 3] on the grid of coding units, around a random place that is rarely flat."""
    starts = (
        min(max(place - (TILE - PATCH) // 2, 0) // UNIT, length // UNIT - TILE // UNIT) * UNIT
        for place, length in zip(draw_position(rng, pixels), pixels.shape[:2], strict=True)
    )
    top, left = starts
    return pixels[top : top + TILE, left : left + TILE]


def alter_group(
    rng: np.random.Generator, tiles: UInt8Array, levels: npt.NDArray[np.int64], alteration: str
) -> tuple[list[UInt8Array], list[int]]:
    """Tiles uint8 [N, 64, 64, 3] compressed at each level, then altered: patches [N, 16, 16, 3] and label of each."""
    alter = ALTERATIONS[alteration](rng)
    altered = [alter(compress_tiles(tiles, int(level)), int(level)) for level in levels]
    return [patches for patches, _ in altered], [label for _, label in altered]
