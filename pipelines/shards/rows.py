"""The second pass of `q1net shards`: images are compressed, cut, and every row goes to its shard and its order inside.

Rows of ``train`` are spread over all shards of the split, by a hash of seed, source, position and level. Images of the
other splits stay whole, one after the other. So nothing depends on who computes it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b, sha256
from typing import Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from apache_beam.pvalue import AsList

from pipelines.runtime import counters
from pipelines.shards.config import ENCODERS, ShardsConfig
from pipelines.shards.dataset import Shard
from pipelines.shards.images import Source, fingerprint_of, load_pixels
from pipelines.shards.parquet import PATCH_BYTES, SHARD_SCHEMA
from q1net_core import storage
from q1net_core.codecs.positions import compress_patches, draw_positions, phases_of
from q1net_core.codecs.table import CODECS
from q1net_core.errors import ImageError
from q1net_core.images.decode import Limits
from q1net_core.patches import IntArray
from q1net_core.records import UInt8Array

SHUFFLED = "train"

Key = tuple[str, int]
Keys = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class ShardRows:
    """Some rows of one image, packed: ``keys`` uint64 [N] are their order in the shard, ``places`` int [N, 2]."""

    source: str
    split: str
    keys: Keys
    levels: npt.NDArray[np.int16]
    places: IntArray
    patches: UInt8Array


def count_shards(split: str, images: int, config: ShardsConfig) -> int:
    """How many shards a split of so many images has."""
    if split == SHUFFLED:
        return -(-images * config.rows_per_image // config.rows_per_shard)
    return -(-images // images_per_shard(config))


def images_per_shard(config: ShardsConfig) -> int:
    """How many images lie in one shard where they stay whole."""
    return max(1, config.rows_per_shard // config.rows_per_image)


def hash_rows(source: Source, config: ShardsConfig) -> Keys:
    """A hash of seed, source, position and level for every row: uint64 [levels, places].

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


def locate_rows(source: Source, shards: int, config: ShardsConfig) -> tuple[IntArray, Keys]:
    """Where each row of an image goes: number of its shard, int [levels, places], and order in it, uint64 likewise."""
    if source.split == SHUFFLED:
        keys = hash_rows(source, config)
        return (keys % np.uint64(shards)).astype(np.intp), keys
    shape = len(config.levels), config.patches_per_image
    return np.full(shape, source.position // images_per_shard(config)), np.full(shape, source.position, np.uint64)


def cut_rows(
    source: Source,
    _: list[Any],
    images: dict[str, int],
    config: ShardsConfig,
    number: int,
    rounds: int,
) -> Iterator[tuple[Key, ShardRows]]:
    """The rows of one image that belong to shards of round ``number``, one packed element for each such shard.

    Raises:
        RuntimeError: the image is not what it was in the first pass.
    """
    shards = count_shards(source.split, images[source.split], config)
    shard_of, keys = locate_rows(source, shards, config)
    wanted = shard_of % rounds == number
    if wanted.any():
        yield from pack_rows(source, reload_pixels(source, config), shard_of, keys, wanted, config)
    counters.inc("shard_images")


def reload_pixels(source: Source, config: ShardsConfig) -> UInt8Array:
    """The pixels of an image of the first pass; raises RuntimeError if they are not the same any more."""
    try:
        pixels = load_pixels(storage.read_bytes(source.uri, Limits().max_bytes), config)
    except ImageError as error:
        raise RuntimeError(f"{source.uri} was usable before and is not any more: {error}") from error
    if fingerprint_of(pixels) != source.fingerprint:
        raise RuntimeError(f"{source.uri} changed while shards were made from it; start again")
    return pixels


def pack_rows(
    source: Source,
    pixels: UInt8Array,
    shard_of: IntArray,
    keys: Keys,
    wanted: npt.NDArray[np.bool_],
    config: ShardsConfig,
) -> Iterator[tuple[Key, ShardRows]]:
    """Draw places, compress what is ``wanted`` of them, bool [levels, places], and sort it by shard."""
    rng = np.random.default_rng([config.seed, int(source.fingerprint[:16], 16)])
    places = draw_positions(rng, pixels, config.patches_per_image, config.phases)
    levels = np.array(config.levels, np.intp)
    if source.split != SHUFFLED:
        places, levels = places[np.lexsort(places.T[::-1])], np.sort(levels)
    with counters.timed("compress_usec"):
        patches = compress_patches(pixels, places, levels, wanted, CODECS[config.codec])
    counters.inc("shard_rows", len(patches))
    level_rows, place_rows = np.nonzero(wanted)
    shard_rows = shard_of[wanted]
    order = np.argsort(shard_rows, kind="stable")
    starts = np.flatnonzero(np.diff(shard_rows[order], prepend=-1))
    name = storage.printable_uri(source.name)
    for rows in np.split(order, starts[1:]):
        yield (
            (source.split, int(shard_rows[rows[0]])),
            ShardRows(
                name,
                source.split,
                keys[wanted][rows],
                levels[level_rows[rows]].astype(np.int16),
                places[place_rows[rows]],
                patches[rows],
            ),
        )


def to_table(packed: Iterable[ShardRows]) -> pa.Table:
    """The rows of one shard in order of their keys, whatever the order in which they arrive."""
    parts = sorted(packed, key=lambda rows: (rows.source, int(rows.keys[0])))
    order = np.argsort(np.concatenate([rows.keys for rows in parts]), kind="stable")
    lengths = [len(rows.keys) for rows in parts]
    patches = np.concatenate([rows.patches for rows in parts])[order]
    places = np.concatenate([rows.places for rows in parts])[order]
    phases = phases_of(places)
    columns = {
        "patch": pa.Array.from_buffers(pa.binary(PATCH_BYTES), len(order), [None, pa.py_buffer(patches)]),
        "level": np.concatenate([rows.levels for rows in parts])[order],
        "source": np.repeat(np.array([rows.source for rows in parts], object), lengths)[order],
        "y": places[:, 0],
        "x": places[:, 1],
        "phase_y": phases[:, 0],
        "phase_x": phases[:, 1],
        "split": np.repeat(np.array([rows.split for rows in parts], object), lengths)[order],
    }
    arrays = [
        column if isinstance(column, pa.Array) else pa.array(column, SHARD_SCHEMA.field(name).type)
        for name, column in columns.items()
    ]
    return pa.Table.from_arrays(arrays, schema=SHARD_SCHEMA)


def write_shard(grouped: tuple[Key, Iterable[ShardRows]], images: dict[str, int], config: ShardsConfig) -> Shard:
    """Write one shard; a retry writes the same bytes to the same name."""
    (split, number), packed = grouped
    table = to_table(packed)
    content = ENCODERS[config.format](table)
    shards = count_shards(split, images[split], config)
    name = f"split={split}/part-{number:05d}-of-{shards:05d}.{config.format}"
    storage.write_bytes(storage.join(config.output, name), content)
    levels, rows = np.unique(table["level"].to_numpy(), return_counts=True)
    counts = dict(zip(levels.tolist(), rows.tolist(), strict=True))
    return Shard(name, split, len(table), len(content), sha256(content).hexdigest(), counts)


class WriteShards(beam.PTransform):
    """Source -> Shard: the files of one round, which are every ``rounds``-th of each split.

    Args:
        images: how many images each split has.
        after: what must be complete before this round starts, so that rounds do not share memory.
    """

    def __init__(
        self,
        config: ShardsConfig,
        images: dict[str, int],
        number: int = 0,
        rounds: int = 1,
        after: AsList | None = None,
    ) -> None:
        super().__init__()
        self.config, self.images, self.number, self.rounds, self.after = config, images, number, rounds, after or []

    def expand(self, sources: beam.PCollection[Source]) -> beam.PCollection[Shard]:
        """One output, in no order."""
        return (
            sources
            | "CutRows" >> beam.FlatMap(cut_rows, self.after, self.images, self.config, self.number, self.rounds)
            | "ByShard" >> beam.GroupByKey()
            | "WriteShard" >> beam.Map(write_shard, self.images, self.config)
        )
