"""What `q1net shards` wrote -> batches and validation images, each batch a function of seed and step.

Shards may be larger than the memory. They are read in another order in every epoch, some at a time, and the rows of
those are mixed; neighbours in the mix are a place at several levels, as on the fly. Parquet is read as documented, by
dataset.json and the columns: training knows no pipelines.
"""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from q1net_core.codecs.table import CODECS
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
# Of datasets that can be read. In 1 the rows of every split are shuffled; since 2 those of train alone are, and the
# images of the other splits lie one after the other.
VERSIONS = (1, 2)
PLACE = ("source", "y", "x")

Pool = tuple[UInt8Array, npt.NDArray[np.float32], IntArray]


@dataclass(frozen=True, slots=True)
class ShardFile:
    """A file of a dataset: its name below the dataset's uri, how many rows it has, and its checksum."""

    name: str
    rows: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ShardDataset:
    """A finished dataset.

    Args:
        uri: of its folder.
        version: says how rows lie in the files (see VERSIONS).
        images: where the lossless images were that it is made from: a file, folder or glob.
        codec: that compressed them, a name in CODECS.
        versions: the libraries it was made with, by name.
        levels: of the codec.
        patches_per_image: positions in each image.
        files: of each split.
    """

    uri: str
    version: int
    images: str
    codec: str
    versions: dict[str, str]
    levels: tuple[int, ...]
    patches_per_image: int
    files: dict[str, list[ShardFile]]

    def rows(self, split: str) -> int:
        """How many rows a split has."""
        return sum(file.rows for file in self.files.get(split, []))


def open_dataset(uri: str) -> ShardDataset:
    """Read dataset.json of a folder of shards.

    Raises:
        ConfigError: there is none, it is not readable, of an unknown version, or the shards are no Parquet.
    """
    try:
        about = json.loads(read_bytes(join(uri, "dataset.json"), MAX_SHARD_BYTES))
        arguments = about["arguments"]
        files: dict[str, list[ShardFile]] = {}
        for file in about["files"]:
            split = file["name"].split("/")[0].removeprefix("split=")
            files.setdefault(split, []).append(ShardFile(file["name"], int(file["rows"]), file["sha256"]))
        dataset = ShardDataset(
            uri,
            int(about.get("version", 1)),
            arguments["images"],
            arguments["codec"],
            about["versions"],
            tuple(arguments["levels"]),
            int(arguments["patches_per_image"]),
            files,
        )
    except (ImageError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"shards are {uri!r}, which has no dataset.json that can be used ({error}); expected the --output of a "
            "finished q1net shards"
        ) from error
    if dataset.version not in VERSIONS:
        raise ConfigError(
            f"dataset.json in {uri} has version {dataset.version}; this q1net reads "
            f"{' and '.join(map(str, VERSIONS))}: install the one that made the shards"
        )
    if arguments["format"] != "parquet":
        raise ConfigError(
            f"shards in {uri} are {arguments['format']} files; training reads parquet: make them with --format parquet"
        )
    for split in ("train", "valid"):
        if not dataset.rows(split):
            raise ConfigError(f"shards in {uri} have no rows in the split {split!r}; make them from more images")
    return dataset


def read_shard(dataset: ShardDataset, file: ShardFile) -> pa.Table:
    """One file; raises ConfigError if it is not there, or is not the one that dataset.json lists."""
    uri = join(dataset.uri, file.name)
    try:
        content = read_bytes(uri, MAX_SHARD_BYTES)
    except ImageError as error:
        raise ConfigError(f"shard {uri} cannot be read: {error}; make the shards again") from error
    found = sha256(content).hexdigest()
    if found != file.sha256:
        raise ConfigError(
            f"shard {uri} is not the file that dataset.json lists: its sha256 is {found}, expected {file.sha256}; "
            "copy it again, or make the shards again"
        )
    return pq.read_table(pa.BufferReader(content))


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


def group_files(files: Iterable[ShardFile]) -> Iterator[list[ShardFile]]:
    """Files in their order, as many together as make a pool of rows."""
    pool: list[ShardFile] = []
    for file in files:
        pool.append(file)
        if sum(file.rows for file in pool) >= POOL_ROWS:
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
            rows = sum(file.rows for file in pool)
            if skipped < rows:
                table = pa.concat_tables([read_shard(dataset, file) for file in pool])
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


def read_images(dataset: ShardDataset, split: str, levels: Sequence[int]) -> Iterator[pa.Table]:
    """The images of a split one after the other, each the rows of its places at each of ``levels``, by (level, y, x).

    One file is in memory at a time; of version 1 all files are, since images are scattered over them.
    """
    files = (read_shard(dataset, file) for file in dataset.files.get(split, []))
    tables: Iterable[pa.Table] = (table.filter(np.isin(table["level"].to_numpy(), levels)) for table in files)
    if dataset.version == 1:
        tables = [pa.concat_tables(tables).sort_by([(name, "ascending") for name in ("source", "level", "y", "x")])]
    rows = dataset.patches_per_image * len(levels)
    for table in tables:
        for start in range(0, len(table), rows):
            yield table.slice(start, rows)


def shard_patch_sets(dataset: ShardDataset, split: str, levels: Sequence[int], count: int) -> Labelled:
    """Images of a split at each level: ``count`` patches of each, uint8 [images * levels, count, 16, 16, 3].

    Levels that the dataset does not have are left out, and all of its levels are taken if none remains; images that
    have fewer patches give what they have.

    Raises:
        ConfigError: the split has no images, or a file is not the one that dataset.json lists.
    """
    if not dataset.rows(split):
        raise ConfigError(f"shards in {dataset.uri} have no rows in the split {split!r}; make them from more images")
    wanted = choose_levels(dataset, levels)
    per_image = dataset.patches_per_image
    chosen = spread_evenly(per_image, count)
    images = dataset.rows(split) // (per_image * len(dataset.levels))
    patch_sets: UInt8Array = np.empty((images, len(wanted), len(chosen), PATCH, PATCH, 3), np.uint8)
    for image, table in zip(patch_sets, read_images(dataset, split, wanted), strict=True):
        image[:] = patches_of(table).reshape(len(wanted), per_image, PATCH, PATCH, 3)[:, chosen]
    return patch_sets.reshape(-1, *patch_sets.shape[2:]), np.tile(np.array(wanted, np.float32), images)


def choose_levels(dataset: ShardDataset, levels: Sequence[int]) -> list[int]:
    """Those of ``levels`` that a dataset has; all of its own if it has none of them."""
    return sorted(set(dataset.levels) & set(levels) or dataset.levels)


def find_originals(dataset: ShardDataset, split: str) -> list[str]:
    """The uris of the lossless images that a split was made from, in order.

    Raises:
        ConfigError: they are not where they were when the shards were made.
    """
    help = f"give the lossless images of the split {split!r} with --validation-images"
    tables = (read_shard(dataset, file) for file in dataset.files.get(split, []))
    names = {name for table in tables for name in table["source"].unique().to_pylist()}
    try:
        uris = list_corpus(dataset.images)
    except (ConfigError, ImageError) as error:
        raise ConfigError(f"shards in {dataset.uri} were made from images that are gone: {error}; {help}") from error
    shared = os.path.commonprefix(uris)  # noqa: RUF071 (cut at a slash below)
    folder = shared[: shared.rfind("/") + 1]
    found = [uri for uri in uris if printable_uri(uri.removeprefix(folder)) in names]
    if len(found) != len(names):
        raise ConfigError(
            f"shards in {dataset.uri} were made from {dataset.images}, where {len(found)} of the {len(names)} images "
            f"of the split {split!r} are left; {help}"
        )
    return found


def shard_data(uri: str, split: str = "valid", validation_images: str | None = None) -> Data:
    """A training's data from shards.

    Args:
        uri: folder of the shards.
        split: whose images validate.
        validation_images: where the lossless images of this split are; None: where they were when the shards were made.

    Raises:
        ConfigError: as open_dataset and find_originals do.
    """
    dataset = open_dataset(uri)
    originals = list_corpus(validation_images) if validation_images else find_originals(dataset, split)

    def refuse(alteration: str, count: int) -> Labelled:
        raise ConfigError(
            f"alterations name {alteration!r}, which needs whole images; shards hold finished patches: use --images"
        )

    def inference_sets(levels: Sequence[int]) -> Labelled:
        codec = CODECS[dataset.codec]
        return validation_set(load_images(originals), choose_levels(dataset, levels), DEFAULT_PATCHES, codec)

    def describe() -> Provenance:
        training = describe_files(file.sha256 for file in dataset.files["train"])
        pictures = {"training": training, "validation": describe_images(originals)}
        return Provenance(dataset.codec, dataset.versions, pictures)

    return Data(
        batches=lambda config, start: shard_batches(dataset, config, start),
        patch_sets=lambda levels, count: shard_patch_sets(dataset, split, levels, count),
        altered=refuse,
        inference_sets=inference_sets,
        provenance=describe,
    )
