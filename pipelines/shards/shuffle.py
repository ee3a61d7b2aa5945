"""The shuffle of a run on one machine: rows wait in files, one for each image, until their shards are written.

On one machine Beam's own GroupByKey would hold the rows of all images in memory.
"""

import pickle
from pathlib import Path

import apache_beam as beam
import numpy as np
from apache_beam.pvalue import AsSingleton

from pipelines.shards.config import ShardsConfig
from pipelines.shards.images import Source
from pipelines.shards.rows import Key, ShardRows, count_shards, cut_rows, images_of_shard

OFFSET = np.dtype("<u8")


def rows_path(work: str, split: str, index: int) -> Path:
    """The file with the rows of one image."""
    return Path(work) / "rows" / f"{split}-{index:08d}"


def spill_rows(source: Source, work: str, images: dict[str, int], config: ShardsConfig) -> int:
    """Cut one image into rows and write them to its file, shard by shard; returns 1.

    The file begins with offsets, uint64 [shards + 1]: the rows of shard n are between the n-th and the next.
    """
    packed = {number: pickle.dumps(rows) for (_, number), rows in cut_rows(source, work, images, config)}
    shards = count_shards(source.split, images[source.split], config)
    parts = [packed.get(number, b"") for number in range(shards)]
    offsets = np.cumsum([(shards + 1) * OFFSET.itemsize, *map(len, parts)]).astype(OFFSET)
    path = rows_path(work, source.split, source.index)
    partial = path.with_suffix(".partial")
    path.parent.mkdir(exist_ok=True)
    partial.write_bytes(b"".join([offsets.tobytes(), *parts]))
    partial.replace(path)
    return 1


def read_rows(path: Path, number: int) -> ShardRows | None:
    """The rows of one image for shard ``number``, None if it has none there."""
    with path.open("rb") as file:
        file.seek(number * OFFSET.itemsize)
        start, end = np.frombuffer(file.read(2 * OFFSET.itemsize), OFFSET).tolist()
        file.seek(start)
        rows: ShardRows | None = pickle.loads(file.read(end - start)) if end > start else None
    return rows


def gather_rows(
    key: Key, spilled: int, work: str, images: dict[str, int], config: ShardsConfig
) -> tuple[Key, list[ShardRows]]:
    """All rows of one shard, once the rows of every image are ``spilled``."""
    split, number = key
    paths = (rows_path(work, split, index) for index in images_of_shard(key, images[split], config))
    return key, [rows for path in paths if (rows := read_rows(path, number)) is not None]


class ShuffleOnDisk(beam.PTransform):
    """Source -> shard and all of its rows, as ``cut_rows`` and GroupByKey give them, one shard in memory at a time.

    Args:
        images: how many images each split has.
        work: a folder on this machine, where the first pass kept what it found; rows wait there.
    """

    def __init__(self, config: ShardsConfig, images: dict[str, int], work: str) -> None:
        super().__init__()
        self.config, self.images, self.work = config, images, work

    def expand(self, sources: beam.PCollection[Source]) -> beam.PCollection[tuple[Key, list[ShardRows]]]:
        """One output, in no order."""
        spilled = (
            sources
            | "SpillRows" >> beam.Map(spill_rows, self.work, self.images, self.config)
            | "AllSpilled" >> beam.CombineGlobally(sum)
        )
        keys = [
            (split, number)
            for split, images in self.images.items()
            for number in range(count_shards(split, images, self.config))
        ]
        return (
            sources.pipeline
            | "Shards" >> beam.Create(keys)
            | "SpreadShards" >> beam.Reshuffle()
            | "GatherRows" >> beam.Map(gather_rows, AsSingleton(spilled), self.work, self.images, self.config)
        )
