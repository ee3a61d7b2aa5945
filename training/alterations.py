"""What happens to pictures after their compression, as data: patches that were resized, noisy, filtered, saved again.

Every alteration is drawn once for some tiles and then the same for all levels at which they are seen: what differs
within such a group is the compression alone. The label is the level that dominates what is left to see.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt

from q1net_core import alterations as change
from q1net_core.arrays import UInt8Array
from q1net_core.codecs.positions import draw_position
from q1net_core.codecs.table import CODECS
from q1net_core.codecs.tiles import compress_tiles
from q1net_core.patches import BLOCK, BORDER, PATCH, sample_blocks

# What JPEG 4:2:0 codes as one.
UNIT = 2 * BLOCK
# Room for a patch at twice its size, the reach of the resizing filter, and any phase of the coding units.
TILE = 64
FACTORS = (0.5, 2.0)
# Lanczos looks three pixels of the smaller picture around.
REACH = 3
DEGREES = (1.0, 10.0)
MAX_SIGMA = 2.5
BLURS = (0.3, 1.2)
SHARPENING_AMOUNTS = (0.3, 1.5)
CONTRASTS = (0.85, 1.15)
BRIGHTNESS = (-20.0, 20.0)
GAMMAS = (0.7, 1.4)
SATURATIONS = (0.5, 1.5)
SECOND_LEVELS = range(20, 101)
# Settings that archives use; coarser ones hide what was there before.
OTHER_CODECS = {"webp": range(60, 101), "avif": range(50, 101)}
# Of the altered pictures; the others were cut off their grid as well.
ALIGNED_SHARE = 0.5
NEVER_COMPRESSED = 100

Random = np.random.Generator
Alter = Callable[[UInt8Array, int], tuple[UInt8Array, int]]


def draw_offset(rng: Random, length: int, aligned: bool) -> tuple[int, int]:
    """Where patches lie in tiles of ``length`` pixels: near the middle, on the block grid or at any phase."""
    first = (length - PATCH) // 2 // BLOCK * BLOCK - BORDER
    step = BLOCK if aligned else 1
    y, x = first + rng.integers(UNIT // step, size=2) * step
    return int(y), int(x)


def cut_patches(tiles: UInt8Array, offset: tuple[int, int]) -> UInt8Array:
    """The patch at the same place of every tile: uint8 [N, 16, 16, 3]."""
    y, x = offset
    return tiles[:, y : y + PATCH, x : x + PATCH]


def after_jpeg(rng: Random, alter_tiles: Callable[[UInt8Array], UInt8Array]) -> Alter:
    """Compressed, then changed to tiles of the same size, then cut: on the grid half of the time."""
    offset = draw_offset(rng, TILE, rng.random() < ALIGNED_SHARE)
    return lambda tiles, level: (cut_patches(alter_tiles(compress_tiles(tiles, level)), offset), level)


def draw_off_grid(rng: Random) -> Alter:
    """Nothing but a cut: the patches lie at any of the 64 phases of the block grid."""
    offset = draw_offset(rng, TILE, aligned=False)
    return lambda tiles, level: (cut_patches(compress_tiles(tiles, level), offset), level)


def draw_resize(rng: Random) -> Alter:
    """Made smaller or larger, by half or double at most, with any kernel."""
    factor = float(np.exp(rng.uniform(*np.log(FACTORS))))
    kernel = change.KERNELS[rng.integers(len(change.KERNELS))]
    side, reach = PATCH / factor, REACH / min(factor, 1.0)
    top, left = rng.uniform(reach, TILE - side - reach, 2)
    box = (left, top, left + side, top + side)

    def resize(tiles: UInt8Array, level: int) -> tuple[UInt8Array, int]:
        pictures = (change.resize(tile, (PATCH, PATCH), kernel, box) for tile in compress_tiles(tiles, level))
        return np.stack(list(pictures)), level

    return resize


def draw_rotation(rng: Random) -> Alter:
    """Turned by some degrees to either side."""
    degrees = float(rng.uniform(*DEGREES) * rng.choice((-1, 1)))
    return after_jpeg(rng, partial(change.each_tile, partial(change.rotate, degrees=degrees)))


def draw_noise(rng: Random) -> Alter:
    """Gaussian noise, independent for every value."""
    sigma = float(rng.uniform(0, MAX_SIGMA))
    return after_jpeg(rng, lambda tiles: change.add_noise(tiles, sigma, rng))


def draw_filter(rng: Random) -> Alter:
    """Blurred, sharpened, or the median of every pixel's neighbours."""
    sigma, amount = float(rng.uniform(*BLURS)), float(rng.uniform(*SHARPENING_AMOUNTS))
    filters: tuple[Callable[[UInt8Array], UInt8Array], ...] = (
        partial(change.blur, sigma=sigma),
        partial(change.sharpen, sigma=sigma, amount=amount),
        change.filter_median,
    )
    return after_jpeg(rng, partial(change.each_tile, filters[rng.integers(len(filters))]))


def draw_tone(rng: Random) -> Alter:
    """Brightness and contrast changed, or the curve between black and white, or the colours."""
    contrast, brightness = float(rng.uniform(*CONTRASTS)), float(rng.uniform(*BRIGHTNESS))
    gamma, saturation = float(rng.uniform(*GAMMAS)), float(rng.uniform(*SATURATIONS))
    tones: tuple[Callable[[UInt8Array], UInt8Array], ...] = (
        partial(change.change_tone, contrast=contrast, brightness=brightness),
        partial(change.change_gamma, gamma=gamma),
        partial(change.each_tile, partial(change.change_saturation, factor=saturation)),
    )
    return after_jpeg(rng, tones[rng.integers(len(tones))])


def draw_recompression(rng: Random) -> Alter:
    """Saved once more, on the same grid or shifted; the lower of the two levels is what shows."""
    second = int(rng.choice(SECOND_LEVELS))
    down, right = (0, 0) if rng.random() < ALIGNED_SHARE else rng.integers(UNIT, size=2)
    length = TILE - UNIT
    offset = draw_offset(rng, length, rng.random() < ALIGNED_SHARE)

    def recompress(tiles: UInt8Array, level: int) -> tuple[UInt8Array, int]:
        first = compress_tiles(tiles, level)
        again = compress_tiles(first[:, down : down + length, right : right + length], second)
        return cut_patches(again, offset), min(level, second)

    return recompress


def draw_conversion(rng: Random) -> Alter:
    """Saved as WebP or AVIF at a setting that keeps most of what JPEG left."""
    name = str(rng.choice(list(OTHER_CODECS)))
    setting = int(rng.choice(OTHER_CODECS[name]))
    return after_jpeg(rng, lambda tiles: compress_tiles(tiles, setting, CODECS[name]))


def draw_nothing(rng: Random) -> Alter:
    """Never compressed, which looks like the best of all levels; every call cuts other patches."""
    return lambda tiles, level: (cut_patches(tiles, draw_offset(rng, TILE, aligned=False)), NEVER_COMPRESSED)


ALTERATIONS: dict[str, Callable[[Random], Alter]] = {
    "off-grid": draw_off_grid,
    "resize": draw_resize,
    "rotation": draw_rotation,
    "noise": draw_noise,
    "filter": draw_filter,
    "tone": draw_tone,
    "recompression": draw_recompression,
    "conversion": draw_conversion,
    "never": draw_nothing,
}


def cut_large_tile(pixels: UInt8Array, top: int, left: int) -> UInt8Array:
    """A tile uint8 [64, 64, 3] on the grid of coding units, around the patch at (top, left) or near it at an edge."""
    y, x = (
        min(max(start - (TILE - PATCH) // 2, 0) // UNIT, length // UNIT - TILE // UNIT) * UNIT
        for start, length in zip((top, left), pixels.shape[:2], strict=True)
    )
    return pixels[y : y + TILE, x : x + TILE]


def draw_large_tile(rng: Random, pixels: UInt8Array) -> UInt8Array:
    """A tile uint8 [64, 64, 3] around a random patch that is rarely flat."""
    return cut_large_tile(pixels, *draw_position(rng, pixels))


def spread_large_tiles(pixels: UInt8Array, count: int) -> UInt8Array:
    """Tiles uint8 [count, 64, 64, 3] around patches as inference samples them."""
    height, width = pixels.shape[:2]
    starts = sample_blocks(height, width, count) - BORDER
    return np.stack([cut_large_tile(pixels, int(top), int(left)) for top, left in starts])


def alter_group(
    rng: Random, tiles: UInt8Array, levels: npt.NDArray[np.int64], alteration: str
) -> tuple[list[UInt8Array], list[int]]:
    """Tiles uint8 [N, 64, 64, 3] compressed at each level and altered: patches [N, 16, 16, 3] and label of each."""
    alter = ALTERATIONS[alteration](rng)
    altered = [alter(tiles, int(level)) for level in levels]
    return [patches for patches, _ in altered], [label for _, label in altered]
