"""The second pass of `q1net shards`: images are compressed and cut, and every row is told its shard and order there.

Rows of ``train`` are spread over all shards of the split, by a hash of seed, source, position and level. Images of the
other splits stay whole, one after the other. So nothing depends on who computes it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from pipelines.inputs.members import read_input
from pipelines.runtime import counters
from pipelines.shards.config import ShardsConfig
from pipelines.shards.images import Source, draw_image_positions, fingerprint_of, load_pixels
from pipelines.shards.tiles import read_tiles
from q1net_core import storage
from q1net_core.arrays import IntArray, UInt8Array
from q1net_core.codecs.positions import compress_mosaics, compress_patches
from q1net_core.codecs.table import CODECS
from q1net_core.errors import ImageError
from q1net_core.images.decode import Limits
from q1net_core.records import ListedImage

SHUFFLED = "train"

Key = tuple[str, int]
Keys = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class ShardRows:
    """Some rows of one image, packed: ``keys`` uint64 [N] are their order in the shard, ``positions`` int [N, 2]."""

    source: str
    split: str
    keys: Keys
    levels: npt.NDArray[np.int16]
    positions: IntArray
    patches: UInt8Array


def count_shards(split: str, images: int, config: ShardsConfig) -> int:
    """How many shards a split of so many images has."""
    if split == SHUFFLED:
        return -(-images * config.rows_per_image // config.rows_per_shard)
    return -(-images // images_per_shard(config))


def images_per_shard(config: ShardsConfig) -> int:
    """How many images lie in one shard where they stay whole."""
    return max(1, config.rows_per_shard // config.rows_per_image)


def images_of_shard(key: Key, images: int, config: ShardsConfig) -> range:
    """The indices of the images whose rows are in one shard, in a split of so many ``images``."""
    split, number = key
    if split == SHUFFLED:
        return range(images)
    together = images_per_shard(config)
    return range(number * together, min((number + 1) * together, images))


def hash_rows(source: Source, config: ShardsConfig) -> Keys:
    """A hash of seed, source, position and level for every row: uint64 [levels, positions].

    It is SplitMix64, since 64 bits for each row can be had for some of the levels alone, and the order of the rows in
    published shards hangs on it.
    """
    name = f"{config.seed}:".encode() + source.name.encode(errors="surrogateescape")
    start = np.uint64(int.from_bytes(blake2b(name, digest_size=8).digest()))
    levels = np.array(config.levels, np.uint64)
    rows = np.arange(1, config.patches_per_image + 1, dtype=np.uint64) << np.uint64(16) | levels[:, None]
    keys = rows * np.uint64(0x9E3779B97F4A7C15) + start
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        keys = (keys ^ keys >> np.uint64(shift)) * np.uint64(factor)
    return keys ^ keys >> np.uint64(31)


def locate_rows(source: Source, images: int, config: ShardsConfig) -> tuple[IntArray, Keys]:
    """Where each row of an image goes in a split of so many ``images``.

    Returns:
        number of its shard, int [levels, positions], and order in the shard, uint64 [levels, positions].
    """
    if source.split == SHUFFLED:
        shards = count_shards(source.split, images, config)
        keys = hash_rows(source, config)
        return (keys % np.uint64(shards)).astype(np.intp), keys
    shape = len(config.levels), config.patches_per_image
    return np.full(shape, source.index // images_per_shard(config)), np.full(shape, source.index, np.uint64)


def cut_rows(
    source: Source, work: str, images: dict[str, int], config: ShardsConfig
) -> Iterator[tuple[Key, ShardRows]]:
    """The rows of one image, one packed element for each shard that gets some.

    Raises:
        RuntimeError: the image is read again, and is not what it was in the first pass.
    """
    levels = np.array(config.levels, np.intp)
    if source.split != SHUFFLED:
        levels = np.sort(levels)
    positions, patches = compress_source(source, work, levels, config)
    counters.inc("shard_images")
    counters.inc("shard_rows", patches.shape[0] * patches.shape[1])
    yield from pack_rows(source, levels, positions, patches, images[source.split], config)


def compress_source(source: Source, work: str, levels: IntArray, config: ShardsConfig) -> tuple[IntArray, UInt8Array]:
    """The positions of one image, int [N, 2], and its patches there at each level, uint8 [levels, N, 16, 16, 3]."""
    codec = CODECS[config.codec]
    if codec.geometry:
        positions, mosaics = read_tiles(work, source.fingerprint)
        with counters.timed("compress_usec"):
            return positions, compress_mosaics(mosaics, levels, codec)
    pixels = reload_pixels(source, config)
    positions = draw_image_positions(pixels, source.fingerprint, config)
    with counters.timed("compress_usec"):
        return positions, compress_patches(pixels, positions, levels, codec)


def reload_pixels(source: Source, config: ShardsConfig) -> UInt8Array:
    """The pixels of an image of the first pass; raises RuntimeError if they are not the same any more."""
    try:
        pixels = load_pixels(read_input(ListedImage(source.uri), Limits().max_bytes), config)
    except ImageError as error:
        raise RuntimeError(f"{source.uri} was usable before and is not any more: {error}") from error
    if fingerprint_of(pixels) != source.fingerprint:
        raise RuntimeError(f"{source.uri} changed while shards were made from it; start again")
    return pixels


def pack_rows(
    source: Source, levels: IntArray, positions: IntArray, patches: UInt8Array, images: int, config: ShardsConfig
) -> Iterator[tuple[Key, ShardRows]]:
    """Patches of one image, uint8 [levels, positions, 16, 16, 3], sorted by shard in a split of so many ``images``."""
    if source.split != SHUFFLED:
        order = np.lexsort(positions.T[::-1])
        positions, patches = positions[order], patches[:, order]
    shards, keys = locate_rows(source, images, config)
    shard_of = shards.ravel()
    order = np.argsort(shard_of, kind="stable")
    starts = np.flatnonzero(np.diff(shard_of[order], prepend=-1))
    name = storage.printable_uri(source.name)
    for rows in np.split(order, starts[1:]):
        key = source.split, int(shard_of[rows[0]])
        level, position = np.divmod(rows, len(positions))
        yield (
            key,
            ShardRows(
                name,
                source.split,
                keys[level, position],
                levels[level].astype(np.int16),
                positions[position],
                patches[level, position],
            ),
        )
