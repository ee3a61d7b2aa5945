"""The second pass of `q1net shards`: images are compressed, cut, and every row goes to its shard and its order inside.

Both are a hash of seed, source, position and level, so nothing depends on who computes them.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from hashlib import blake2b
from operator import itemgetter
from typing import Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt
from apache_beam.pvalue import AsDict, AsList

from pipelines import files
from pipelines.runtime import counters
from pipelines.runtime.versions import find_versions
from pipelines.shards.config import ShardsConfig
from pipelines.shards.files import FORMATS, ShardRows, to_table
from pipelines.shards.survey import SHARES, Source, fingerprint_of, load_pixels
from q1net_core import storage
from q1net_core.codecs.base import CODECS
from q1net_core.codecs.places import compress_places, draw_places
from q1net_core.errors import ImageError
from q1net_core.images.decode import Limits
from q1net_core.records import UInt8Array

Key = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Shard:
    """One written file: its split, and how many rows it has of each level."""

    part: files.Part
    split: str
    levels: Counter[int]


def count_shards(images: int, config: ShardsConfig) -> int:
    """How many shards a split of so many images has."""
    return -(-images * config.patches_per_image * len(config.levels) // config.rows_per_shard)


def row_keys(source: Source, config: ShardsConfig) -> npt.NDArray[np.uint64]:
    """Where each row goes: uint64 [levels, places], a hash of seed, source, position and level (SplitMix64)."""
    name = f"{config.seed}:".encode() + source.name.encode(errors="surrogateescape")
    start = np.uint64(int.from_bytes(blake2b(name, digest_size=8).digest()))
    levels = np.array(config.levels, np.uint64)
    rows = np.arange(1, config.patches_per_image + 1, dtype=np.uint64) << np.uint64(16) | levels[:, None]
    keys = rows * np.uint64(0x9E3779B97F4A7C15) + start
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        keys = (keys ^ keys >> np.uint64(shift)) * np.uint64(factor)
    return keys ^ keys >> np.uint64(31)


def cut_rows(
    source: Source,
    images: dict[str, int],
    _: list[Any],
    config: ShardsConfig,
    number: int,
    rounds: int,
) -> Iterator[tuple[Key, ShardRows]]:
    """The rows of one image that belong to shards of round ``number``, one packed element for each such shard.

    Raises:
        RuntimeError: the image is not what it was in the first pass.
    """
    shards = count_shards(images[source.split], config)
    if number < shards:
        try:
            pixels = load_pixels(storage.read_bytes(source.uri, Limits().max_bytes), config)
        except ImageError as error:
            raise RuntimeError(f"{source.uri} was usable before and is not any more: {error}") from error
        if fingerprint_of(pixels) != source.fingerprint:
            raise RuntimeError(f"{source.uri} changed while shards were made from it; start again")
        yield from pack_rows(source, pixels, shards, config, number, rounds)
    counters.inc("shard_images")


def pack_rows(
    source: Source, pixels: UInt8Array, shards: int, config: ShardsConfig, number: int = 0, rounds: int = 1
) -> Iterator[tuple[Key, ShardRows]]:
    """Draw places, compress what this round wants of them, and sort it by shard."""
    rng = np.random.default_rng([config.seed, int(source.fingerprint[:16], 16)])
    places = draw_places(rng, pixels, config.patches_per_image, config.phases)
    levels = np.array(config.levels, np.intp)
    keys = row_keys(source, config)
    shard_of = (keys % np.uint64(shards)).astype(np.intp)
    wanted = shard_of % rounds == number
    with counters.timed("compress_usec"):
        patches = compress_places(pixels, places, levels, wanted, CODECS[config.codec])
    counters.inc("shard_rows", len(patches))
    level_rows, place_rows = np.nonzero(wanted)
    shard_rows = shard_of[wanted]
    order = np.argsort(shard_rows, kind="stable")
    starts = np.flatnonzero(np.diff(shard_rows[order], prepend=-1))
    name = storage.printable_uri(source.name)
    for rows in np.split(order, starts[1:]) if len(order) else ():
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


def write_shard(grouped: tuple[Key, Iterable[ShardRows]], images: dict[str, int], config: ShardsConfig) -> Shard:
    """Write one shard; a retry writes the same bytes to the same name."""
    (split, number), packed = grouped
    table = to_table(packed)
    content = FORMATS[config.format](table)
    shards = count_shards(images[split], config)
    name = f"split={split}/part-{number:05d}-of-{shards:05d}.{config.format}"
    part = files.write_part(config.output, name, content, len(table))
    return Shard(part, split, Counter(table["level"].to_pylist()))


def commit(
    _: None, shards: list[Shard], images: dict[str, int], screened: list[dict[str, Any]], config: ShardsConfig
) -> str:
    """Check that every row is there, then write dataset.json, last.

    Raises:
        RuntimeError: rows are missing or doubled, or no image is left; nothing is committed.
    """
    if not images:
        raise RuntimeError(f"all {len(screened)} images were JPEG compressed before and dropped; nothing is committed")
    counts = {split: Counter[int]() for split in SHARES}
    for shard in shards:
        counts[shard.split].update(shard.levels)
    for split, levels in counts.items():
        expected = images.get(split, 0) * config.patches_per_image
        wrong = {level: levels[level] for level in config.levels if levels[level] != expected}
        if wrong:
            level, rows = next(iter(wrong.items()))
            raise RuntimeError(
                f"split {split} has {rows} rows of level {level} instead of {expected}; nothing is committed, "
                "start again"
            )
    splits = {
        split: {
            "images": images.get(split, 0),
            "rows": levels.total(),
            "rows_by_level": {str(level): levels[level] for level in config.levels},
        }
        for split, levels in counts.items()
    }
    about = {
        "seed": config.seed,
        "arguments": asdict(config),
        "versions": find_versions() | CODECS[config.codec].versions(),
        "splits": splits,
        "screened": sorted(screened, key=itemgetter("uri")),
    }
    return files.commit(storage.join(config.output, "dataset.json"), about, (shard.part for shard in shards))


class WriteShards(beam.PTransform):
    """Source -> Shard: the files of one round.

    Args:
        images: side input, how many images each split has.
        after: side input that must be complete before this round starts, so that rounds do not share memory.
    """

    def __init__(self, config: ShardsConfig, number: int, rounds: int, images: AsDict, after: AsList) -> None:
        super().__init__()
        self.config, self.number, self.rounds, self.images, self.after = config, number, rounds, images, after

    def expand(self, images: beam.PCollection[Source]) -> beam.PCollection[Shard]:
        """One output, in no order."""
        return (
            images
            | "CutRows" >> beam.FlatMap(cut_rows, self.images, self.after, self.config, self.number, self.rounds)
            | "ByShard" >> beam.GroupByKey()
            | "WriteShard" >> beam.Map(write_shard, self.images, self.config)
        )
