"""`q1net shards`: lossless images -> patches at every level, in training shards.

Two passes. The first looks at every image and writes what it found. Images that cannot be used stop the command there;
the others get their split. The second compresses the surroundings of each image's places and writes the shards.
"""

import argparse
import sys
from functools import partial
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pvalue import AsList

from pipelines import text
from pipelines.files import read_json
from pipelines.inputs import ReadInputs
from pipelines.runtime.local import run_pipeline
from pipelines.runtime.options import add_workers, is_local, parse_flags, parse_levels
from pipelines.shards.config import ENCODERS, SCREENS, ShardsConfig
from pipelines.shards.dataset import WriteShards, commit_dataset
from pipelines.shards.images import read_sources
from pipelines.shards.plan import Corpus, Plan, list_corpus, make_work, plan_shards
from pipelines.shards.survey import SurveyImages
from q1net_core import storage
from q1net_core.codecs.positions import PHASES
from q1net_core.codecs.table import CODECS
from q1net_core.errors import ConfigError


def survey_images(root: beam.Pipeline, config: ShardsConfig, corpus: Corpus, work: str) -> beam.PCollection[str]:
    """The first pass; its elements are the uris of its files."""
    inputs = root | "InputFiles" >> beam.Create(corpus.files) | "Inputs" >> ReadInputs()
    return inputs | "Survey" >> SurveyImages(config, corpus.images, work)


def write_dataset(
    root: beam.Pipeline, config: ShardsConfig, plan: Plan, work: str, local: bool
) -> beam.PCollection[str]:
    """The second pass; its one element is the uri of dataset.json."""
    shards = (
        root
        | "Files" >> beam.Create(plan.files)
        | "ReadSources" >> beam.FlatMap(read_sources)
        | "Spread" >> beam.Reshuffle()
        | "WriteShards" >> WriteShards(config, plan.images, work, local)
    )
    once = root | "Once" >> beam.Create([None])
    return once | "Commit" >> beam.Map(commit_dataset, AsList(shards), plan.images, plan.screened, config)


def make_shards(config: ShardsConfig, options: PipelineOptions) -> dict[str, Any]:
    """Run both passes to the commit; returns what dataset.json says.

    Raises:
        ConfigError: before any work starts, or after the first pass, which found images that cannot be used.
    """
    corpus, local = list_corpus(config), is_local(options)
    work = make_work(config, corpus.images, local)
    try:
        first = partial(survey_images, config=config, corpus=corpus, work=work)
        run_pipeline(first, options, "shard_images", corpus.images, "image", with_keras=False)
        plan = plan_shards(config, corpus)
        second = partial(write_dataset, config=config, plan=plan, work=work, local=local)
        run_pipeline(second, options, "shard_images", sum(plan.images.values()), "image", with_keras=False)
    finally:
        storage.remove(work)
    return read_json(storage.join(config.output, "dataset.json"))


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
        type=parse_levels,
        default=(),
        metavar="LEVELS",
        help="such as 10-90:5 (all of the codec)",
    )
    parser.add_argument(
        "--patches-per-image", type=int, default=defaults.patches_per_image, metavar="N", help="places (%(default)s)"
    )
    parser.add_argument("--phases", default=defaults.phases, choices=PHASES, help="of the block grid (%(default)s)")
    parser.add_argument("--seed", type=int, default=defaults.seed, help="of places and order (%(default)s)")
    parser.add_argument("--format", default=defaults.format, choices=ENCODERS, help="of the files (%(default)s)")
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
    add_workers(parser)
    return parser


def parse(argv: list[str]) -> tuple[ShardsConfig, PipelineOptions]:
    """Command line -> config and Beam's options."""
    values, options = parse_flags(make_parser(), argv)
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
