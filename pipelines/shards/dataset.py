"""The files of a dataset: shards, and dataset.json, which is written when every row is accounted for."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa

from pipelines import files
from pipelines.files import Part, write_part
from pipelines.runtime.versions import find_versions
from pipelines.shards.config import ENCODERS, ShardsConfig
from pipelines.shards.images import Source
from pipelines.shards.parquet import PATCH_BYTES, SHARD_SCHEMA
from pipelines.shards.rows import Key, ShardRows, count_shards, cut_rows
from pipelines.shards.shuffle import ShuffleOnDisk
from pipelines.shards.splits import SPLIT_SHARES
from q1net_core import storage
from q1net_core.codecs.positions import phases_of
from q1net_core.codecs.table import CODECS

# Of dataset.json and of where rows lie. In version 1, which has no number, the rows of all splits were shuffled.
DATASET_VERSION = 2


@dataclass(frozen=True, slots=True)
class Shard:
    """One written file, its split, and how many rows it has of each level."""

    part: Part
    split: str
    levels: dict[int, int]


def to_table(packed: Iterable[ShardRows]) -> pa.Table:
    """The rows of one shard in order of their keys, whatever the order in which they arrive."""
    parts = sorted(packed, key=lambda rows: (rows.source, int(rows.keys[0])))
    order = np.argsort(np.concatenate([rows.keys for rows in parts]), kind="stable")
    lengths = [len(rows.keys) for rows in parts]
    patches = np.concatenate([rows.patches for rows in parts])[order]
    positions = np.concatenate([rows.positions for rows in parts])[order]
    phases = phases_of(positions)
    columns = {
        "patch": pa.Array.from_buffers(pa.binary(PATCH_BYTES), len(order), [None, pa.py_buffer(patches)]),
        "level": np.concatenate([rows.levels for rows in parts])[order],
        "source": np.repeat(np.array([rows.source for rows in parts], object), lengths)[order],
        "y": positions[:, 0],
        "x": positions[:, 1],
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
    part = write_part(config.output, name, content, len(table))
    levels, rows = np.unique(table["level"].to_numpy(), return_counts=True)
    counts = dict(zip(levels.tolist(), rows.tolist(), strict=True))
    return Shard(part, split, counts)


class WriteShards(beam.PTransform):
    """Source -> Shard.

    Args:
        images: how many images each split has.
        work: the folder where the first pass kept what it found.
        local: whether all workers are on this machine; a cluster has a shuffle of its own.
    """

    def __init__(self, config: ShardsConfig, images: dict[str, int], work: str, local: bool) -> None:
        super().__init__()
        self.config, self.images, self.work, self.local = config, images, work, local

    def expand(self, sources: beam.PCollection[Source]) -> beam.PCollection[Shard]:
        """One output, in no order."""
        if self.local:
            grouped = sources | "ShuffleOnDisk" >> ShuffleOnDisk(self.config, self.images, self.work)
        else:
            cut = sources | "CutRows" >> beam.FlatMap(cut_rows, self.work, self.images, self.config)
            grouped = cut | "ByShard" >> beam.GroupByKey()
        return grouped | "WriteShard" >> beam.Map(write_shard, self.images, self.config)


def commit_dataset(
    _: None, shards: list[Shard], images: dict[str, int], screened: list[dict[str, Any]], config: ShardsConfig
) -> str:
    """Check that every row is there, then write dataset.json, last; returns its uri.

    Raises:
        RuntimeError: rows are missing or doubled; nothing is committed.
    """
    counts = {split: Counter[int]() for split in SPLIT_SHARES}
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
        "version": DATASET_VERSION,
        "seed": config.seed,
        "arguments": asdict(config),
        "versions": find_versions() | CODECS[config.codec].versions(),
        "splits": splits,
        "screened": screened,
    }
    return files.commit(storage.join(config.output, "dataset.json"), about, [shard.part for shard in shards])
