"""Lossless photographs -> batches of large compressed windows, for networks that see one window of an image.

Windows lie at any pixel offset, so at all phases of the block grid, and look as in the whole image compressed.
"""

from collections.abc import Iterator, Sequence
from itertools import count

import numpy as np
import numpy.typing as npt

from q1net_core.arrays import UInt8Array
from q1net_core.codecs.jpeg import MCU, SAMPLINGS
from q1net_core.codecs.tiles import compress_tiles, cut_inner, cut_tiles
from q1net_core.errors import ConfigError
from q1net_core.network.variants import NEVER_COMPRESSED, VARIANTS
from training.config import TrainConfig
from training.data.photographs import Batch, draw_levels

REACH = max(SAMPLINGS["4:2:0"].reach)
# Of places, where a network tells pictures that were never compressed; JQE's authors do not say theirs.
NEVER_SHARE = 0.2


def room_for(size: int) -> int:
    """The least height and width of an image that a window of ``size`` pixels can be cut from, with its tile."""
    return -(-(size + 2 * REACH) // MCU) * MCU


def check_room(uris: Sequence[str], corpus: Sequence[UInt8Array], size: int) -> None:
    """Raise ConfigError, with the name of the image, if one is too small for windows of ``size`` pixels."""
    for uri, pixels in zip(uris, corpus, strict=True):
        height, width = pixels.shape[:2]
        if min(height, width) < room_for(size):
            raise ConfigError(
                f"{uri} is {width} x {height} pixels; windows of {size} pixels need at least {room_for(size)} x "
                f"{room_for(size)}: leave it out"
            )


def draw_start(rng: np.random.Generator, length: int, size: int) -> int:
    """A random start, along one axis, of a window whose tile lies inside the image."""
    return int(rng.integers(REACH, length // MCU * MCU - size - REACH + 1))


def draw_windows(rng: np.random.Generator, pixels: UInt8Array, size: int, levels: Sequence[int]) -> UInt8Array:
    """One random window of an image at each level, 0 for never compressed: uint8 [levels, size, size, 3]."""
    top, left = (np.array([draw_start(rng, length, size)]) for length in pixels.shape[:2])
    tile, inner_top, inner_left = cut_tiles(pixels, top, left, size)
    seen = [compress_tiles(tile, level) if level else tile for level in levels]
    return np.concatenate([cut_inner(tiles, inner_top, inner_left, size) for tiles in seen])


def draw_batch(
    rng: np.random.Generator, corpus: Sequence[UInt8Array], weights: npt.NDArray[np.float64], config: TrainConfig
) -> Batch:
    """One batch: windows uint8 [batch_size, size, size, 3] and their levels float32.

    Each place is seen at ``levels_per_location`` levels. Of a network that tells pictures that were never compressed
    each window is one, by chance, and has the level NEVER_COMPRESSED.
    """
    variant = VARIANTS[config.variant]
    size = variant.training_size
    levels = draw_levels(rng, config.batch_size)
    if variant.loss == "quality maps":
        levels = np.where(rng.random(len(levels)) < NEVER_SHARE, 0, levels)
    places = levels.reshape(-1, config.levels_per_location)
    images = rng.choice(len(corpus), size=len(places), p=weights)
    windows = [
        draw_windows(rng, corpus[image], size, shared.tolist()) for image, shared in zip(images, places, strict=True)
    ]
    return np.concatenate(windows), np.where(levels == 0, NEVER_COMPRESSED, levels).astype(np.float32)


def batches(corpus: Sequence[UInt8Array], config: TrainConfig, start: int = 0) -> Iterator[Batch]:
    """Endless batches from step ``start`` on; batch i depends on the seed and i alone.

    Larger images are drawn more often, by the square root of their area.
    """
    weights = np.sqrt([pixels.shape[0] * pixels.shape[1] for pixels in corpus])
    for step in count(start):
        yield draw_batch(np.random.default_rng([config.seed, step]), corpus, weights / weights.sum(), config)
