"""`q1net shards`: lossless images -> patches at every level, in globally shuffled training shards.

Two passes. The first looks at every image: what cannot be used stops the run, the others get their split. The second
compresses the surroundings of each image's places and sends every row, by a hash, to its shard and its order inside.
"""

import argparse
import json
import os
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b, sha256
from typing import Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import PIL
import pyarrow as pa
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pvalue import AsDict, AsList, TaggedOutput
from PIL import features

from pipelines import counters, runner, sources, tables, text
from pipelines.shard_files import FORMATS, PATCH_BYTES, ShardRows, to_table
from pipelines.transforms import FINISHED, Encoded, ReadImages
from q1net_core import __version__, storage
from q1net_core.codecs import CODECS
from q1net_core.decode import Limits, decode
from q1net_core.errors import ConfigError, ImageError
from q1net_core.places import PHASES, check_room, compress_places, draw_places
from q1net_core.records import ImageRecord, ListedImage, Status, UInt8Array

# Shares of an unknown corpus, as the paper splits DIV2K: 700, 100, 100.
SHARES = {"train": 7, "valid": 1, "test": 1}
DIV2K = re.compile(r"(?:^|/)DIV2K_(train|valid)_[^/]+/(?:.*/)?(\d{4})(?:x\d+\w*)?\.\w+$")
LOSSY_FORMATS = ("JPEG", "MPO")
UNUSABLE = "unusable"
UNUSABLE_SHOWN = 5
# With fewer rows in a shard on average, hashing might leave one empty.
LEAST_ROWS_PER_SHARD = 100
# The local runner shuffles in memory, and was seen to hold up to eight times the bytes of the patches.
MEMORY_PER_BYTE = 16

Key = tuple[str, int]


@dataclass(frozen=True, slots=True)
class ShardsConfig:
    """One dataset: places of the lossless ``images`` x ``levels`` of a ``codec``, written to the folder ``output``."""

    images: str
    output: str
    codec: str = "jpeg"
    levels: tuple[int, ...] = tuple(CODECS["jpeg"].levels)
    patches_per_image: int = 64
    phases: str = "aligned"
    seed: int = 0
    format: str = "parquet"
    rows_per_shard: int = 1 << 16

    def __post_init__(self) -> None:
        for name, known in (("codec", CODECS), ("phases", PHASES), ("format", FORMATS)):
            if getattr(self, name) not in known:
                raise ConfigError(f"{name} is {getattr(self, name)!r}; expected one of {', '.join(known)}")
        possible = CODECS[self.codec].levels
        if not self.levels or not set(self.levels) <= set(possible):
            raise ConfigError(f"levels are {list(self.levels)}; expected some of {possible[0]}..{possible[-1]}")
        for name, least in (("patches_per_image", 1), ("seed", 0), ("rows_per_shard", LEAST_ROWS_PER_SHARD)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected at least {least}")


@dataclass(frozen=True, slots=True)
class Job:
    """A run before its work starts: the files that list its images, how many these are, and the folder of them all."""

    input_files: list[str]
    images: int
    folder: str


@dataclass(frozen=True, slots=True)
class Source:
    """A usable image: its ``name`` inside the corpus, its pixels' sha256, and its split once that is known."""

    uri: str
    name: str
    fingerprint: str
    split: str = ""


@dataclass(frozen=True, slots=True)
class Shard:
    """One written file: its name below the output, its split, and how many rows it has of each level."""

    name: str
    split: str
    rows: int
    bytes: int
    sha256: str
    levels: Counter[int]


def fingerprint_of(pixels: UInt8Array) -> str:
    """What makes two images the same picture, whatever their files: sha256 of size and pixels."""
    return sha256(b"%dx%d:" % pixels.shape[1::-1] + pixels.tobytes()).hexdigest()


def div2k_split(uri: str) -> str | None:
    """The split of an image of DIV2K, also of its downscaled versions: 0001-0700, 0701-0800, 0801-0900."""
    found = DIV2K.search(uri)
    number = int(found[2]) if found else 0
    if found and found[1] == "valid" and 801 <= number <= 900:
        return "test"
    if found and found[1] == "train" and 1 <= number <= 800:
        return "train" if number <= 700 else "valid"
    return None


def choose_split(fingerprint: str, uris: Iterable[str]) -> str:
    """The one split of all images with the same pixels: DIV2K's if one of them is of it, else by their hash."""
    known = [split for split in map(div2k_split, sorted(uris)) if split]
    if known:
        return known[0]
    share = int(fingerprint[:16], 16) % sum(SHARES.values())
    return [split for split, parts in SHARES.items() for _ in range(parts)][share]


def assign_split(same: tuple[str, Iterable[Source]]) -> Iterator[Source]:
    """Images with the same pixels -> the same, each with its split."""
    fingerprint, images = same
    images = list(images)
    split = choose_split(fingerprint, [image.uri for image in images])
    for image in images:
        yield replace(image, split=split)


def load_pixels(encoded: bytes, config: ShardsConfig) -> UInt8Array:
    """Decode an image that shards can be cut from; raises ImageError for any other."""
    decoded = decode(encoded)
    if decoded.format in LOSSY_FORMATS:
        raise ImageError(Status.UNSUPPORTED, f"image is {decoded.format}; expected a lossless one, never compressed")
    check_room(decoded.pixels, config.patches_per_image, config.phases)
    return decoded.pixels


def survey(image: Encoded, config: ShardsConfig, folder: str) -> Iterator[Any]:
    """An image -> a Source; or, on the output UNUSABLE, its uri and why it cannot be used."""
    listed, encoded = image
    try:
        fingerprint = fingerprint_of(load_pixels(encoded, config))
        yield Source(listed.uri, listed.uri.removeprefix(folder), fingerprint)
    except ImageError as error:
        yield TaggedOutput(UNUSABLE, (listed.uri, f"{error.status}: {error}"))
    counters.inc("shard_images")


def describe_failure(record: ImageRecord) -> tuple[str, str]:
    """An image that could not be read -> its uri and why."""
    return record.image.uri, f"{record.status}: {record.error}"


def refuse_unusable(_: None, unusable: list[tuple[str, str]], output: str) -> None:
    """List all unusable images in unusable.json and stop the run, if there are any."""
    if unusable:
        images = [{"uri": storage.printable_uri(uri), "error": error} for uri, error in sorted(unusable)]
        tables.write_json(storage.join(output, "unusable.json"), {"images": images})
        raise RuntimeError(f"{len(images)} images cannot be used, the first is {images[0]['uri']}")


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
    storage.write_bytes(storage.join(config.output, name), content)
    levels = Counter(table["level"].to_pylist())
    return Shard(name, split, len(table), len(content), sha256(content).hexdigest(), levels)


def codec_versions() -> dict[str, str | None]:
    """The libraries that pixels and files depend on, where this runs."""
    return {
        "q1net": __version__,
        "pillow": PIL.__version__,
        "libjpeg_turbo": features.version("libjpeg_turbo"),
        "numpy": np.__version__,
        "pyarrow": pa.__version__,
        "beam": beam.__version__,
    }


def commit(_: None, shards: list[Shard], images: dict[str, int], config: ShardsConfig) -> str:
    """Check that every row is there, then write dataset.json, last.

    Raises:
        RuntimeError: rows are missing or doubled; nothing is committed.
    """
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
    files = [
        {"name": shard.name, "rows": shard.rows, "bytes": shard.bytes, "sha256": shard.sha256}
        for shard in sorted(shards, key=lambda shard: shard.name)
    ]
    about = {"seed": config.seed, "arguments": asdict(config), "versions": codec_versions()}
    uri = storage.join(config.output, "dataset.json")
    tables.write_json(uri, about | {"splits": splits, "files": files})
    return uri


class SurveyImages(beam.PTransform):
    """ListedImage -> Source with its split; and on the output UNUSABLE, uri and reason of what cannot be used."""

    def __init__(self, config: ShardsConfig, folder: str) -> None:
        super().__init__()
        self.config, self.folder = config, folder

    def expand(self, images: beam.PCollection[ListedImage]) -> Any:
        """Two outputs, ``sources`` and UNUSABLE."""
        read = images | "ReadImages" >> ReadImages()
        surveyed = read.read | "Survey" >> beam.FlatMap(survey, self.config, self.folder).with_outputs(
            UNUSABLE, main="usable"
        )
        unread = read[FINISHED] | "Describe" >> beam.Map(describe_failure)
        usable = (
            surveyed.usable
            | "ByPixels" >> beam.Map(lambda source: (source.fingerprint, source)).with_output_types(tuple[str, Source])
            | "SamePixels" >> beam.GroupByKey()
            | "AssignSplit" >> beam.FlatMap(assign_split)
            | "Spread" >> beam.Reshuffle()
        )
        return {"sources": usable, UNUSABLE: (unread, surveyed[UNUSABLE]) | "Unusable" >> beam.Flatten()}


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


def build(root: beam.Pipeline, config: ShardsConfig, job: Job, rounds: int = 1) -> beam.PCollection[str]:
    """The whole pipeline; its one output element is the uri of dataset.json."""
    surveyed = root | "Inputs" >> sources.ReadInputs(job.input_files) | "Survey" >> SurveyImages(config, job.folder)
    once = root | "Once" >> beam.Create([None])
    refused = once | "RefuseUnusable" >> beam.Map(refuse_unusable, AsList(surveyed[UNUSABLE]), config.output)
    images = AsDict(
        surveyed["sources"]
        | "Split" >> beam.Map(lambda source: source.split)
        | "Count" >> beam.combiners.Count.PerElement()
    )
    written: list[beam.PCollection[Shard]] = []
    for number in range(rounds):
        after = AsList(written[-1] if written else refused)
        label = f"Round{number + 1}"
        written.append(surveyed["sources"] | label >> WriteShards(config, number, rounds, images, after))
    shards = written | "Written" >> beam.Flatten()
    return once | "Commit" >> beam.Map(commit, AsList(shards), images, config)


def start(config: ShardsConfig) -> Job:
    """Check the output, sweep away what a killed run left there, list the images.

    Raises:
        ConfigError: the output has a finished dataset, or files that are no run's remains.
    """
    storage.ensure_writable(config.output)
    if storage.exists(storage.join(config.output, "dataset.json")):
        raise ConfigError(
            f"output {config.output} already has a finished dataset (dataset.json); choose another, or delete it first"
        )
    images = list(sources.list_inputs([config.images]))
    inputs = storage.join(config.output, "_inputs")
    leftovers = [folder for split in SHARES if storage.exists(folder := storage.join(config.output, f"split={split}"))]
    if leftovers and not storage.exists(inputs):
        raise ConfigError(f"output has {leftovers[0]}, which no run of q1net shards left there; choose another output")
    # _inputs goes last: as long as it is there, what lies beside it is known to be a killed run's.
    for leftover in [*leftovers, storage.join(config.output, "unusable.json"), inputs]:
        storage.remove(leftover)
    files, count = sources.write_inputs(images, config.output)
    shared = os.path.commonprefix([images[0].uri, images[-1].uri])  # noqa: RUF071 (cut at a slash below)
    return Job(files, count, shared[: shared.rfind("/") + 1])


def count_rounds(images: int, config: ShardsConfig, options: PipelineOptions) -> int:
    """Rounds over the images: as many as keep the shuffle within half of this machine's memory, one on a cluster."""
    size = images * config.patches_per_image * len(config.levels) * PATCH_BYTES
    return max(1, -(-size * MEMORY_PER_BYTE // memory_bytes())) if runner.is_local(options) else 1


def memory_bytes() -> int:
    """The physical memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def make_shards(config: ShardsConfig, options: PipelineOptions) -> dict[str, Any]:
    """Run to the commit; returns what dataset.json says.

    Raises:
        ConfigError: before any work starts, or when the first pass found images that cannot be used.
    """
    job = start(config)
    rounds = count_rounds(job.images, config, options)
    unusable = storage.join(config.output, "unusable.json")
    passes = job.images * (1 + rounds)
    try:
        runner.run_pipeline(
            lambda root: build(root, config, job, rounds), options, "shard_images", passes, "image", with_model=False
        )
    except Exception as error:
        if not storage.exists(unusable):
            raise
        raise ConfigError(describe_unusable(json.loads(tables.read_uri(unusable))["images"], unusable)) from error
    dataset: dict[str, Any] = json.loads(tables.read_uri(storage.join(config.output, "dataset.json")))
    return dataset


def describe_unusable(images: list[dict[str, str]], uri: str) -> str:
    """Which images stopped the run, and what to do about it."""
    shown = [f"  {image['uri']}: {image['error']}" for image in images[:UNUSABLE_SHOWN]]
    more = [f"  and {len(images) - len(shown)} more, in {uri}"] if len(images) > len(shown) else []
    return "\n".join(
        [
            f"{len(images)} images cannot be used; mend or remove them and start again (nothing is skipped):",
            *shown,
            *more,
        ]
    )


def make_parser() -> argparse.ArgumentParser:
    """The command's flags."""
    defaults = ShardsConfig("", "")
    parser = argparse.ArgumentParser(
        prog="q1net shards",
        description="Cut patches from lossless images, compressed at every level, into shuffled training shards.",
        epilog="All other flags go to Apache Beam: --runner, --project, --region, --temp_location, ...",
        allow_abbrev=False,
    )
    parser.add_argument("--images", required=True, metavar="URI", help="folder, file or glob of lossless images")
    parser.add_argument("--output", required=True, metavar="URI", help="folder that gets split=.../ and dataset.json")
    parser.add_argument("--codec", default=defaults.codec, choices=CODECS, help="codec (%(default)s)")
    parser.add_argument(
        "--levels", type=runner.parse_levels, default=defaults.levels, metavar="LEVELS", help="such as 1-100 (all)"
    )
    parser.add_argument(
        "--patches-per-image", type=int, default=defaults.patches_per_image, metavar="N", help="places (%(default)s)"
    )
    parser.add_argument("--phases", default=defaults.phases, choices=PHASES, help="of the block grid (%(default)s)")
    parser.add_argument("--seed", type=int, default=defaults.seed, help="of places and order (%(default)s)")
    parser.add_argument("--format", default=defaults.format, choices=FORMATS, help="of the files (%(default)s)")
    parser.add_argument(
        "--rows-per-shard", type=int, default=defaults.rows_per_shard, metavar="N", help="about (%(default)s)"
    )
    return parser


def parse(argv: list[str]) -> tuple[ShardsConfig, PipelineOptions]:
    """Command line -> config and Beam's options."""
    values, options = runner.parse_flags(make_parser(), argv)
    return ShardsConfig(**values), options


def run(argv: list[str]) -> int:
    """The command; returns its exit status, 0 only when dataset.json is written."""
    try:
        config, options = parse(argv)
        dataset = make_shards(config, options)
    except ConfigError as error:
        print(f"q1net shards: {error}", file=sys.stderr)
        return 2
    cells = [(split, *(str(about[name]) for name in ("images", "rows"))) for split, about in dataset["splits"].items()]
    print(text.render_table(("split", "images", "rows"), cells))
    size = sum(file["bytes"] for file in dataset["files"])
    print(f"dataset: {config.output}, {len(dataset['files'])} files, {size / 1e6:.1f} MB")
    return 0
