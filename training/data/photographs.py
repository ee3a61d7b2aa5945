"""Lossless photographs -> batches of compressed patches with their levels, each batch a function of seed and step."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from itertools import count
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from q1net_core import patches
from q1net_core.codecs.base import Codec
from q1net_core.codecs.jpeg import JPEG
from q1net_core.codecs.positions import draw_position
from q1net_core.codecs.tiles import compress_tiles, cut_inner, cut_tiles
from q1net_core.errors import ConfigError
from q1net_core.images.decode import decode
from q1net_core.listing import list_images
from q1net_core.records import Float32Array, UInt8Array
from q1net_core.sampling import PATCHES, InputKind, sample
from q1net_core.storage import read_bytes
from training.alterations import ALTERATIONS, TILE, UNIT, alter_group, draw_large_tile, spread_large_tiles
from training.config import TrainConfig
from training.data.provenance import Provenance, describe_files
from training.variations import vary

MAX_IMAGE_BYTES = 1 << 28
LEVELS = JPEG.levels
# At two of these each validation image is seen in each alteration.
ALTERED_LEVELS = range(5, 96, 10)
# Windows of photographs from which the places of a batch are drawn; before each batch some are replaced.
WINDOWS = 256
NEW_WINDOWS = 1

Batch = tuple[UInt8Array, Float32Array]
# Patches of images uint8 [images, N, 16, 16, 3], and the images' levels float32.
Labelled = tuple[UInt8Array, Float32Array]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Data:
    """Where a training's patches come from.

    Args:
        batches: (config, start) -> endless batches from that step on, batch i depending on the config and i alone.
        patch_sets: (levels, count) -> the validation images at every level, so many patches of each.
        altered: (alteration, count) -> the validation images after one of ALTERATIONS.
        inference_sets: levels -> the validation images at every level, sampled as inference samples them.
        provenance: what the card of the weights tells of the data; reads every file once.
    """

    batches: Callable[[TrainConfig, int], Iterator[Batch]]
    patch_sets: Callable[[Sequence[int], int], Labelled]
    altered: Callable[[str, int], Labelled]
    inference_sets: Callable[[Sequence[int]], Labelled]
    provenance: Callable[[], Provenance]


def prefetch(endless: Iterator[T], ahead: int = 8) -> Iterator[T]:
    """The same items, up to ``ahead`` of them made by a thread before they are asked for."""
    maker = ThreadPoolExecutor(1, thread_name_prefix="prefetch")
    try:
        made = deque(maker.submit(next, endless) for _ in range(ahead))
        while True:
            made.append(maker.submit(next, endless))
            yield made.popleft().result()
    finally:
        maker.shutdown(wait=False, cancel_futures=True)


def list_corpus(pattern: str) -> list[str]:
    """The uris of all images matched by a file, folder or glob, in order; raises ConfigError if nothing matches."""
    uris = [image.uri for image in list_images(pattern)]
    if not uris:
        raise ConfigError(f"no image matches {pattern!r}; expected a folder, file or glob of lossless images")
    return uris


def load_images(uris: Sequence[str]) -> list[UInt8Array]:
    """Images, decoded: uint8 [height, width, 3] each.

    Raises:
        ImageError: an image cannot be used; training data is never skipped silently.
    """
    progress = tqdm(uris, desc="load corpus", unit="image", disable=None)
    return [decode(read_bytes(uri, MAX_IMAGE_BYTES)).pixels for uri in progress]


def load_corpus(pattern: str) -> list[UInt8Array]:
    """All images matched by a file, folder or glob, in order of their uris; raises what the two above raise."""
    return load_images(list_corpus(pattern))


def describe_images(uris: Sequence[str]) -> dict[str, Any]:
    """How many files, and a hash of their contents, whatever their names and order."""
    return describe_files(sha256(read_bytes(uri, MAX_IMAGE_BYTES)).hexdigest() for uri in uris)


def draw_levels(rng: np.random.Generator, count: int) -> npt.NDArray[np.int64]:
    """``count`` levels in random order, all levels equally often up to one."""
    rounds = -(-count // len(LEVELS))
    levels = np.concatenate([rng.permutation(LEVELS) for _ in range(rounds)])[:count]
    return rng.permutation(levels)


def draw_tiles(
    rng: np.random.Generator, corpus: list[UInt8Array], weights: npt.NDArray[np.float64], count: int
) -> tuple[UInt8Array, patches.IntArray, patches.IntArray]:
    """Tiles around ``count`` random places in as many random images, and where their patches lie inside them."""
    tiles, tops, lefts = [], [], []
    for index in rng.choice(len(corpus), size=count, p=weights):
        top, left = draw_position(rng, corpus[index])
        tile, inner_top, inner_left = cut_tiles(corpus[index], np.array([top]), np.array([left]), patches.PATCH)
        tiles.append(tile)
        tops.append(inner_top)
        lefts.append(inner_left)
    return np.concatenate(tiles), np.concatenate(tops), np.concatenate(lefts)


def draw_batch(
    rng: np.random.Generator, corpus: list[UInt8Array], weights: npt.NDArray[np.float64], size: int, config: TrainConfig
) -> Batch:
    """One batch: patches uint8 [size, 16, 16, 3] of random places, and their levels float32.

    Every place is seen at several levels, so that within a batch the picture cancels out and the compression is left.
    """
    per_level = config.locations_per_level
    levels = draw_levels(rng, size // per_level).reshape(-1, config.levels_per_location)
    samples: list[UInt8Array] = []
    labels: list[int] = []
    for shared, alteration in zip(levels, draw_alterations(rng, len(levels), config), strict=True):
        if alteration is None:
            tiles, tops, lefts = draw_tiles(rng, corpus, weights, per_level)
            compressed = (compress_tiles(tiles, int(level)) for level in shared)
            samples += [cut_inner(tiles, tops, lefts, patches.PATCH) for tiles in compressed]
            labels += shared.tolist()
        else:
            images = rng.choice(len(corpus), size=per_level, p=weights)
            tiles = np.stack([draw_large_tile(rng, corpus[index]) for index in images])
            altered, dominating = alter_group(rng, tiles, shared, alteration)
            samples += altered
            labels += dominating
    return np.concatenate(samples), np.repeat(np.array(labels, np.float32), per_level)


def draw_alterations(rng: np.random.Generator, count: int, config: TrainConfig) -> list[str | None]:
    """What happens to each of ``count`` groups of places, by the config's shares; None where nothing does."""
    if not config.alterations:
        return [None] * count
    names, shares = zip(*config.alterations, strict=True)
    chosen = rng.choice(len(names) + 1, size=count, p=[*shares, 1 - sum(shares)])
    return [(*names, None)[index] for index in chosen]


def check_sizes(corpus: list[UInt8Array], config: TrainConfig) -> None:
    """Raise ConfigError if an image has no room for the tiles that this training cuts."""
    least = TILE if config.alterations else 2 * UNIT
    small = [pixels.shape for pixels in corpus if min(pixels.shape[:2]) < least]
    if small:
        raise ConfigError(f"an image is {small[0][1]} x {small[0][0]} pixels; expected at least {least} x {least}")


def make_window(
    corpus: list[UInt8Array], weights: npt.NDArray[np.float64], config: TrainConfig, number: int
) -> UInt8Array:
    """Window ``number`` of a training, a function of the seed and this number alone: a part of a varied photograph."""
    rng = np.random.default_rng([config.seed, number, WINDOWS])
    return vary(corpus[rng.choice(len(corpus), p=weights)], rng, config.variations)


def draw_windows(
    corpus: list[UInt8Array], weights: npt.NDArray[np.float64], config: TrainConfig, start: int
) -> Iterator[list[UInt8Array]]:
    """For every step from ``start`` on the windows of its batch: the same as for the step before, but for some."""
    make = partial(make_window, corpus, weights, config)
    first = start * NEW_WINDOWS
    windows = deque((make(number) for number in range(first, first + WINDOWS)), maxlen=WINDOWS)
    while True:
        yield list(windows)
        first += NEW_WINDOWS
        windows.extend(make(first + WINDOWS - 1 - ahead) for ahead in reversed(range(NEW_WINDOWS)))


def batches(corpus: list[UInt8Array], config: TrainConfig, start: int = 0) -> Iterator[Batch]:
    """Endless batches from step ``start`` on; batch i depends on the seed and i alone, so a resumed run sees the same.

    Larger images are drawn more often, by the square root of their area: variety counts more than size. With
    variations the places of a batch lie in windows of varied images.
    """
    check_sizes(corpus, config)
    weights = np.sqrt([pixels.shape[0] * pixels.shape[1] for pixels in corpus])
    weights /= weights.sum()
    equal = np.full(WINDOWS, 1 / WINDOWS)
    windows = draw_windows(corpus, weights, config, start) if config.variations else None
    for step in count(start):
        images, shares = (corpus, weights) if windows is None else (next(windows), equal)
        rng = np.random.default_rng([config.seed, step])
        yield draw_batch(rng, images, shares, config.batch_size_at(step), config)


def validation_set(
    corpus: list[UInt8Array], levels: Sequence[int], count: int, codec: Codec = JPEG, kind: InputKind = PATCHES
) -> Labelled:
    """Every image at every level as a network sees it in an audit: uint8 [images * levels, N, h, w, 3], levels float32.

    N is ``count`` for patches, else 1.
    """
    stacks = [
        sample(codec.compress(pixels, level), kind, count)
        for pixels in tqdm(corpus, desc="compress validation images", unit="image", disable=None)
        for level in levels
    ]
    if len({stack.shape for stack in stacks}) != 1:
        raise ConfigError(f"a validation image holds fewer than {count} patches; expected larger images")
    return np.stack(stacks), np.tile(np.array(levels, np.float32), len(corpus))


def altered_set(corpus: list[UInt8Array], alteration: str, count: int) -> Labelled:
    """Every image altered at two levels: uint8 [images * 2, count, 16, 16, 3], the dominating levels float32.

    One alteration for all patches of an image, as it would be, and patches spread as inference spreads them; always
    the same ones, so that trainings compare.
    """
    rng = np.random.default_rng(list(ALTERATIONS).index(alteration))
    stacks: list[UInt8Array] = []
    labels: list[int] = []
    apart = len(ALTERED_LEVELS) // 2
    for number, pixels in enumerate(corpus):
        levels = np.array([ALTERED_LEVELS[(number + shift) % len(ALTERED_LEVELS)] for shift in (0, apart)])
        altered, dominating = alter_group(rng, spread_large_tiles(pixels, count), levels, alteration)
        stacks += altered
        labels += dominating
    return np.stack(stacks), np.array(labels, np.float32)
