"""`q1net shards`: lossless images -> patches at every level, in globally shuffled training shards.

Two passes. The first looks at every image: what cannot be used stops the run, the others get their split. The second
compresses the surroundings of each image's places and sends every row, by a hash, to its shard and its order inside.
"""

import argparse
import os
import sys
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pvalue import AsDict, AsList

from pipelines import files, inputs, text
from pipelines.runtime import local
from pipelines.shards.config import SCREENS, ShardsConfig
from pipelines.shards.files import FORMATS, PATCH_BYTES
from pipelines.shards.rows import Shard, WriteShards, commit
from pipelines.shards.survey import SCREENED, SHARES, UNUSABLE, SurveyImages, describe_unusable, refuse_unusable
from q1net_core import storage
from q1net_core.codecs.base import CODECS
from q1net_core.codecs.places import PHASES
from q1net_core.errors import ConfigError

# The local runner shuffles in memory, and was seen to hold up to eight times the bytes of the patches.
MEMORY_PER_BYTE = 16


@dataclass(frozen=True, slots=True)
class Job:
    """A run before its work starts: the files that list its images, how many these are, and the folder of them all."""

    input_files: list[str]
    images: int
    folder: str


def build(root: beam.Pipeline, config: ShardsConfig, job: Job, rounds: int = 1) -> beam.PCollection[str]:
    """The whole pipeline; its one output element is the uri of dataset.json."""
    surveyed = root | "Inputs" >> inputs.ReadInputs(job.input_files) | "Survey" >> SurveyImages(config, job.folder)
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
    return once | "Commit" >> beam.Map(commit, AsList(shards), images, AsList(surveyed[SCREENED]), config)


def start(config: ShardsConfig) -> Job:
    """Check the output, sweep away what a killed run left there, list the images.

    Raises:
        ConfigError: the codec is not installed; the output has a finished dataset, or files that are no run's remains.
    """
    CODECS[config.codec].versions()
    storage.ensure_writable(config.output)
    if storage.exists(storage.join(config.output, "dataset.json")):
        raise ConfigError(
            f"output {config.output} already has a finished dataset (dataset.json); choose another, or delete it first"
        )
    images = list(inputs.list_inputs([config.images]))
    kept = storage.join(config.output, "_inputs")
    leftovers = [folder for split in SHARES if storage.exists(folder := storage.join(config.output, f"split={split}"))]
    if leftovers and not storage.exists(kept):
        raise ConfigError(f"output has {leftovers[0]}, which no run of q1net shards left there; choose another output")
    # _inputs goes last: as long as it is there, what lies beside it is known to be a killed run's.
    for leftover in [*leftovers, storage.join(config.output, "unusable.json"), kept]:
        storage.remove(leftover)
    listed, count = inputs.write_inputs(images, config.output)
    shared = os.path.commonprefix([images[0].uri, images[-1].uri])  # noqa: RUF071 (cut at a slash below)
    return Job(listed, count, shared[: shared.rfind("/") + 1])


def count_rounds(images: int, config: ShardsConfig, options: PipelineOptions) -> int:
    """Rounds over the images: as many as keep the shuffle within half of this machine's memory, one on a cluster."""
    size = images * config.patches_per_image * len(config.levels) * PATCH_BYTES
    return max(1, -(-size * MEMORY_PER_BYTE // memory_bytes())) if local.is_local(options) else 1


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
        local.run_pipeline(
            lambda root: build(root, config, job, rounds), options, "shard_images", passes, "image", with_model=False
        )
    except Exception as error:
        if not storage.exists(unusable):
            raise
        raise ConfigError(describe_unusable(files.read_json(unusable)["images"], unusable)) from error
    return files.read_json(storage.join(config.output, "dataset.json"))


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
        "--levels",
        type=local.parse_levels,
        default=(),
        metavar="LEVELS",
        help="such as 10-90:5 (all of the codec)",
    )
    parser.add_argument(
        "--patches-per-image", type=int, default=defaults.patches_per_image, metavar="N", help="places (%(default)s)"
    )
    parser.add_argument("--phases", default=defaults.phases, choices=PHASES, help="of the block grid (%(default)s)")
    parser.add_argument("--seed", type=int, default=defaults.seed, help="of places and order (%(default)s)")
    parser.add_argument("--format", default=defaults.format, choices=FORMATS, help="of the files (%(default)s)")
    parser.add_argument(
        "--screen",
        default=defaults.screen,
        choices=SCREENS,
        help="what to do with images whose pixels were JPEG compressed before: name them, or leave them out as well "
        "(%(default)s)",
    )
    parser.add_argument(
        "--rows-per-shard", type=int, default=defaults.rows_per_shard, metavar="N", help="about (%(default)s)"
    )
    return parser


def parse(argv: list[str]) -> tuple[ShardsConfig, PipelineOptions]:
    """Command line -> config and Beam's options."""
    values, options = local.parse_flags(make_parser(), argv)
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
    if dataset["screened"]:
        done = "left out" if config.screen == "drop" else "used all the same, see --screen drop"
        print(f"{len(dataset['screened'])} images were JPEG compressed before, {done}: dataset.json names them")
    size = sum(file["bytes"] for file in dataset["files"])
    print(f"dataset: {config.output}, {len(dataset['files'])} files, {size / 1e6:.1f} MB")
    return 0
