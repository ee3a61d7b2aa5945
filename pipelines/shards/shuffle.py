"""The shuffle of a run on one machine: rows wait in files, one for each image, until their shards are written.

On one machine Beam's own GroupByKey would hold the rows of all images in memory.
"""

import pickle
import shutil
from pathlib import Path
from tempfile import mkdtemp

import apache_beam as beam
import numpy as np
from apache_beam.pvalue import AsSingleton

from pipelines.shards.config import ShardsConfig
from pipelines.shards.images import Source
from pipelines.shards.parquet import PATCH_BYTES
from pipelines.shards.rows import Key, ShardRows, count_shards, cut_rows, images_of_shard
from q1net_core.errors import ConfigError

# Of a row beside its pixels: key, level, place, and its share of what surrounds them.
ROW_BYTES = PATCH_BYTES + 32
OFFSET = np.dtype("<u8")


def make_folder(config: ShardsConfig, images: int) -> str:
    """A folder on this machine with room for the rows of so many images: in a local output, else a temporary one.

    Raises:
        ConfigError: there is not enough room.
    """
    if "://" in config.output:
        folder = Path(mkdtemp(prefix="q1net-shards-"))
    else:
        folder = Path(config.output) / "_rows"
        folder.mkdir(parents=True, exist_ok=True)
    needed, free = images * config.rows_per_image * ROW_BYTES, shutil.disk_usage(folder).free
    if needed > free:
        shutil.rmtree(folder)
        raise ConfigError(
            f"the shuffle needs {needed / 1e9:.1f} GB of disk in {folder.parent}, where {free / 1e9:.1f} GB are free; "
            "make room, choose another output (or TMPDIR, where the output is remote), or fewer patches or levels"
        )
    return str(folder)


def rows_path(folder: str, split: str, position: int) -> Path:
    """The file with the rows of one image."""
    return Path(folder) / f"{split}-{position:08d}"


def spill_rows(source: Source, folder: str, images: dict[str, int], config: ShardsConfig) -> int:
    """Cut one image into rows and write them to its file, shard by shard; returns 1.

    The file begins with offsets, uint64 [shards + 1]: the rows of shard n are between the n-th and the next.
    """
    packed = {number: pickle.dumps(rows) for (_, number), rows in cut_rows(source, images, config)}
    shards = count_shards(source.split, images[source.split], config)
    parts = [packed.get(number, b"") for number in range(shards)]
    offsets = np.cumsum([(shards + 1) * OFFSET.itemsize, *map(len, parts)]).astype(OFFSET)
    path = rows_path(folder, source.split, source.position)
    partial = path.with_suffix(".partial")
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
    key: Key, spilled: int, folder: str, images: dict[str, int], config: ShardsConfig
) -> tuple[Key, list[ShardRows]]:
    """All rows of one shard, once the rows of every image are ``spilled``."""
    split, number = key
    paths = (rows_path(folder, split, position) for position in images_of_shard(key, images[split], config))
    return key, [rows for path in paths if (rows := read_rows(path, number)) is not None]


class ShuffleOnDisk(beam.PTransform):
    """Source -> shard and all of its rows, as ``cut_rows`` and GroupByKey give them, one shard in memory at a time.

    Args:
        folder: where rows wait, on this machine.
        images: how many images each split has.
    """

    def __init__(self, config: ShardsConfig, images: dict[str, int], folder: str) -> None:
        super().__init__()
        self.config, self.images, self.folder = config, images, folder

    def expand(self, sources: beam.PCollection[Source]) -> beam.PCollection[tuple[Key, list[ShardRows]]]:
        """One output, in no order."""
        spilled = (
            sources
            | "SpillRows" >> beam.Map(spill_rows, self.folder, self.images, self.config)
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
            | "GatherRows" >> beam.Map(gather_rows, AsSingleton(spilled), self.folder, self.images, self.config)
        )
