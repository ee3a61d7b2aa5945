"""What `q1net shards` wrote -> batches and validation images, each batch a function of seed and step.

Shards may be larger than the memory. They are read in another order in every epoch, some at a time, and the rows of
those are mixed; neighbours in the mix are a place at several levels, as on the fly. Parquet is read as documented, by
dataset.json and the columns: training knows no pipelines.
"""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from q1net_core.errors import ConfigError, ImageError
from q1net_core.network.variants import VARIANTS
from q1net_core.patches import DEFAULT_PATCHES, PATCH, IntArray, spread_evenly
from q1net_core.records import UInt8Array
from q1net_core.storage import join, printable_uri, read_bytes
from training.config import TrainConfig
from training.data.photographs import (
    LEVELS,
    Batch,
    Data,
    Labelled,
    describe_images,
    list_corpus,
    load_images,
    prefetch,
    validation_set,
)
from training.data.provenance import Provenance, describe_files

# Rows that are mixed at a time: 100 MB of patches, and as much again for those that come next.
POOL_ROWS = 1 << 17
MAX_SHARD_BYTES = 1 << 32
PLACE = ("source", "y", "x")

Pool = tuple[UInt8Array, npt.NDArray[np.float32], IntArray]


@dataclass(frozen=True, slots=True)
class ShardDataset:
    """A finished dataset: ``files`` are (name below ``uri``, rows) of each split, ``about`` is its dataset.json."""

    uri: str
    levels: tuple[int, ...]
    patches_per_image: int
    files: dict[str, list[tuple[str, int]]]
    about: dict[str, Any]

    def rows(self, split: str) -> int:
        """How many rows a split has."""
        return sum(rows for _, rows in self.files.get(split, []))


def open_dataset(uri: str) -> ShardDataset:
    """Read dataset.json of a folder of shards.

    Raises:
        ConfigError: there is none, it is not readable, or the shards are no Parquet.
    """
    try:
        about = json.loads(read_bytes(join(uri, "dataset.json"), MAX_SHARD_BYTES))
        arguments = about["arguments"]
        files: dict[str, list[tuple[str, int]]] = {}
        for file in about["files"]:
            split = file["name"].split("/")[0].removeprefix("split=")
            files.setdefault(split, []).append((file["name"], int(file["rows"])))
        dataset = ShardDataset(uri, tuple(arguments["levels"]), int(arguments["patches_per_image"]), files, about)
    except (ImageError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"shards are {uri!r}, which has no dataset.json that can be used ({error}); expected the --output of a "
            "finished q1net shards"
        ) from error
    if arguments["format"] != "parquet":
        raise ConfigError(
            f"shards in {uri} are {arguments['format']} files; training reads parquet: make them with --format parquet"
        )
    for split in ("train", "valid"):
        if not dataset.rows(split):
            raise ConfigError(f"shards in {uri} have no rows in the split {split!r}; make them from more images")
    return dataset


def read_shard(dataset: ShardDataset, name: str, rows: int) -> pa.Table:
    """One file; raises ConfigError if it is not there or not the one that dataset.json lists."""
    uri = join(dataset.uri, name)
    try:
        table = pq.read_table(pa.BufferReader(read_bytes(uri, MAX_SHARD_BYTES)))
    except (ImageError, pa.ArrowInvalid, OSError) as error:
        raise ConfigError(f"shard {uri} cannot be read: {error}; make the shards again") from error
    if len(table) != rows:
        raise ConfigError(f"shard {uri} has {len(table)} rows and dataset.json says {rows}; make the shards again")
    return table


def patches_of(table: pa.Table) -> UInt8Array:
    """The column of patches: uint8 [N, 16, 16, 3], not copied where the table is one piece."""
    column = pa.concat_arrays(table["patch"].chunks)
    values = np.frombuffer(column.buffers()[1], np.uint8).reshape(-1, PATCH, PATCH, 3)
    return values[column.offset : column.offset + len(column)]


def number_places(table: pa.Table) -> npt.NDArray[np.int64]:
    """One number for each place, the same for all its levels: int64 [N]."""
    source, y, x = (table[name] for name in PLACE)
    codes = pa.concat_arrays(source.chunks).dictionary_encode().indices.to_numpy()
    return (codes.astype(np.int64) << 40) | (y.to_numpy().astype(np.int64) << 20) | x.to_numpy()


def mix(rng: np.random.Generator, places: npt.NDArray[np.int64], together: int) -> IntArray:
    """A random order of rows, in which ``together`` neighbours are one place at several levels where there are any."""
    by_place = np.lexsort((rng.random(len(places)), places))
    whole = len(places) // together * together
    runs = rng.permutation(by_place[:whole].reshape(-1, together))
    return np.concatenate([runs.ravel(), by_place[whole:]])


def group_files(files: Sequence[tuple[str, int]]) -> Iterator[list[tuple[str, int]]]:
    """Files in their order, as many together as make a pool of rows."""
    pool: list[tuple[str, int]] = []
    for file in files:
        pool.append(file)
        if sum(rows for _, rows in pool) >= POOL_ROWS:
            yield pool
            pool = []
    if pool:
        yield pool


def read_pools(dataset: ShardDataset, config: TrainConfig, position: int) -> Iterator[Pool]:
    """Endless pools of mixed rows, from the row ``position`` on, counted over all epochs: patches, levels, order."""
    files = dataset.files["train"]
    epoch, skipped = divmod(position, dataset.rows("train"))
    while True:
        rng = np.random.default_rng([config.seed, epoch])
        for number, pool in enumerate(group_files([files[index] for index in rng.permutation(len(files))])):
            rows = sum(rows for _, rows in pool)
            if skipped < rows:
                table = pa.concat_tables([read_shard(dataset, *file) for file in pool])
                mixing = np.random.default_rng([config.seed, epoch, number])
                order = mix(mixing, number_places(table), config.levels_per_location)
                yield patches_of(table), table["level"].to_numpy().astype(np.float32), order[skipped:]
            skipped = max(0, skipped - rows)
        epoch += 1


def shard_batches(dataset: ShardDataset, config: TrainConfig, start: int = 0) -> Iterator[Batch]:
    """Endless batches from step ``start`` on; every row once in an epoch, whatever the sizes of batches."""
    if VARIANTS[config.variant].loss == "level cross-entropy" and not set(dataset.levels) <= set(LEVELS):
        raise ConfigError(
            f"shards in {dataset.uri} have the levels {dataset.levels[0]}..{dataset.levels[-1]}; {config.variant} has "
            "a class for each of 1..100 alone"
        )
    step, parts = start, list[Batch]()
    missing = config.batch_size_at(step)
    for patches, levels, order in prefetch(read_pools(dataset, config, config.patches_until(start)), ahead=1):
        while len(order):
            taken, order = order[:missing], order[missing:]
            parts.append((patches[taken], levels[taken]))
            missing -= len(taken)
            if not missing:
                yield np.concatenate([part for part, _ in parts]), np.concatenate([part for _, part in parts])
                step, parts = step + 1, []
                missing = config.batch_size_at(step)


def shard_stacks(dataset: ShardDataset, split: str, levels: Sequence[int], count: int) -> Labelled:
    """Images of a split at each level: ``count`` patches of each, uint8 [images * levels, count, 16, 16, 3].

    Levels that the dataset does not have are left out, and all of its levels are taken if none remains; images that
    have fewer patches give what they have.
    """
    wanted = choose_levels(dataset, levels)
    tables = [read_shard(dataset, *file) for file in dataset.files.get(split, [])]
    if not tables:
        raise ConfigError(f"shards in {dataset.uri} have no rows in the split {split!r}; make them from more images")
    kept = [table.filter(np.isin(table["level"].to_numpy(), wanted)) for table in tables]
    table = pa.concat_tables(kept).sort_by([(name, "ascending") for name in ("source", "level", "y", "x")])
    shape = (-1, dataset.patches_per_image)
    chosen = spread_evenly(dataset.patches_per_image, count)
    stacks = patches_of(table).reshape(*shape, PATCH, PATCH, 3)[:, chosen]
    return stacks, table["level"].to_numpy().reshape(shape)[:, 0].astype(np.float32)


def choose_levels(dataset: ShardDataset, levels: Sequence[int]) -> list[int]:
    """Those of ``levels`` that a dataset has; all of its own if it has none of them."""
    return sorted(set(dataset.levels) & set(levels) or dataset.levels)


def find_originals(dataset: ShardDataset, split: str) -> list[str]:
    """The uris of the lossless images that a split was made from, in order.

    Raises:
        ConfigError: they are not where they were when the shards were made.
    """
    images = dataset.about["arguments"]["images"]
    names = {
        name
        for file in dataset.files.get(split, [])
        for name in pc.unique(read_shard(dataset, *file)["source"]).to_pylist()
    }
    help = f"give the lossless images of the split {split!r} with --validation-images"
    try:
        uris = list_corpus(images)
    except (ConfigError, ImageError) as error:
        raise ConfigError(
            f"shards in {dataset.uri} were made from {images!r}, now unusable: {error}; {help}"
        ) from error
    shared = os.path.commonprefix(uris)  # noqa: RUF071 (cut at a slash below)
    folder = shared[: shared.rfind("/") + 1]
    found = [uri for uri in uris if printable_uri(uri.removeprefix(folder)) in names]
    if len(found) != len(names):
        raise ConfigError(
            f"shards in {dataset.uri} were made from {len(names)} images in {images!r}, which now has {len(found)} of "
            f"them; {help}"
        )
    return found


def shard_data(uri: str, split: str = "valid", validation_images: str | None = None) -> Data:
    """A training's data from shards.

    Args:
        uri: folder of the shards.
        split: whose images validate.
        validation_images: where the lossless images of this split are; None takes those that the shards were made from.

    Raises:
        ConfigError: as open_dataset and find_originals do.
    """
    dataset = open_dataset(uri)
    originals = list_corpus(validation_images) if validation_images else find_originals(dataset, split)
    codec = dataset.about["arguments"]["codec"]

    def refuse(alteration: str, count: int) -> Labelled:
        raise ConfigError(
            f"alterations name {alteration!r}, which needs whole images; shards hold finished patches: use --images"
        )

    def inference_sets(levels: Sequence[int]) -> Labelled:
        return validation_set(load_images(originals), choose_levels(dataset, levels), DEFAULT_PATCHES, codec)

    def describe() -> Provenance:
        files = dataset.about["files"]
        training = describe_files(file["sha256"] for file in files if file["name"].startswith("split=train/"))
        pictures = {"training": training, "validation": describe_images(originals)}
        return Provenance(codec, dataset.about["versions"], pictures)

    return Data(
        batches=lambda config, start: shard_batches(dataset, config, start),
        patch_sets=lambda levels, count: shard_stacks(dataset, split, levels, count),
        altered=refuse,
        inference_sets=inference_sets,
        provenance=describe,
    )
