"""Lossless photographs -> batches of patches of frames as a video encoder leaves them, each with its level.

A video encoder spends bits over the whole picture, so whole windows of photographs are compressed, and many patches are
taken from each. Before every batch some of these windows are replaced.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import count

import numpy as np
import numpy.typing as npt

from q1net_core.arrays import UInt8Array
from q1net_core.codecs.table import CODECS
from q1net_core.network.variants import VARIANTS
from q1net_core.patches import cut_windows
from q1net_core.sampling import MACROBLOCK, macroblock_starts
from training.config import TrainConfig
from training.data.photographs import Batch
from training.variations import cut_window

# Height and width of a frame, where the photograph has as much.
FRAME = 384
# Frames from which the places of a batch are drawn; before each batch some are replaced.
FRAMES = 32
NEW_FRAMES = 1

# A picture at some levels, uint8 [levels, H, W, 3], and these levels.
Frames = tuple[UInt8Array, npt.NDArray[np.int64]]


def make_frames(
    corpus: Sequence[UInt8Array], weights: npt.NDArray[np.float64], config: TrainConfig, number: int
) -> Frames:
    """Frames ``number`` of a training, a function of the seed and this number alone."""
    rng = np.random.default_rng([config.seed, number, FRAME])
    codec = CODECS[VARIANTS[config.variant].codec]
    window = cut_window(corpus[rng.choice(len(corpus), p=weights)], rng, FRAME)
    levels = rng.choice(codec.levels, config.levels_per_location, replace=False)
    return np.stack([codec.compress(window, int(level)) for level in levels]), levels


def draw_places(rng: np.random.Generator, frames: Frames, size: int, places: int) -> Batch:
    """Patches of random macroblocks, each at every level: uint8 [places * levels, size, size, 3], levels float32."""
    pictures, levels = frames
    border = (size - MACROBLOCK) // 2
    ys, xs = (rng.choice(macroblock_starts(length, border), places) - border for length in pictures.shape[1:3])
    seen = [cut_windows(picture, ys, xs, size) for picture in pictures]
    return np.concatenate(seen), np.repeat(levels, places).astype(np.float32)


def batches(corpus: Sequence[UInt8Array], config: TrainConfig, start: int = 0) -> Iterator[Batch]:
    """Endless batches from step ``start`` on; batch i depends on the seed and i alone.

    ``locations_per_level`` places are taken of one picture, each at ``levels_per_location`` levels.
    """
    weights = np.sqrt([pixels.shape[0] * pixels.shape[1] for pixels in corpus])
    make = partial(make_frames, corpus, weights / weights.sum(), config)
    size, places = VARIANTS[config.variant].training_size, config.locations_per_level
    first = start * NEW_FRAMES
    pool = deque((make(number) for number in range(first, first + FRAMES)), maxlen=FRAMES)
    for step in count(start):
        rng = np.random.default_rng([config.seed, step])
        pictures = rng.integers(len(pool), size=config.batch_size // (places * config.levels_per_location))
        drawn = [draw_places(rng, pool[picture], size, places) for picture in pictures]
        yield np.concatenate([patches for patches, _ in drawn]), np.concatenate([levels for _, levels in drawn])
        first += NEW_FRAMES
        pool.extend(make(first + FRAMES - 1 - ahead) for ahead in reversed(range(NEW_FRAMES)))
