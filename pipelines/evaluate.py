"""`q1net evaluate`: lossless images, compressed at known levels, estimated as in an audit, compared with the truth.

The pipeline writes one JSON file of statistics; tables and pictures are made of it afterwards, where the command runs.
"""

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from operator import itemgetter
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from pipelines import evaluate_steps as steps
from pipelines import evaluate_tables, photoshop, runner, tables
from pipelines.inference import Q1NetHandler
from pipelines.runner import parse_levels
from pipelines.sources import list_inputs
from pipelines.transforms import EstimateQuality, FusePredictions, ReadImages, SamplePatches
from q1net_core import __version__, storage
from q1net_core.codecs import CODECS
from q1net_core.errors import ConfigError, WeightsError
from q1net_core.estimator import EstimatorConfig, configure
from q1net_core.fusion import FUSIONS
from q1net_core.metrics import QualityErrors
from q1net_core.patches import DEFAULT_PATCHES, PATCHES_PER_SIDE
from q1net_core.records import ListedImage
from q1net_core.weights import WeightsFile, packaged_variants, read_weights

LEVELS = CODECS["jpeg"].levels
# What is evaluated, and the name of the JSON file with its statistics.
STUDIES = {
    "levels": "metrics.json",
    "table2": "table2.json",
    "table4": "table4.json",
    "photoshop": "photoshop.json",
}
# Table 4 of the paper: 4 x 4, 8 x 8, ... 24 x 24 patches.
SIZES = tuple(side**2 for side in PATCHES_PER_SIDE if side % 4 == 0)


@dataclass(frozen=True, slots=True)
class EvaluateConfig:
    """One evaluation: lossless ``images`` x ``levels``, with some ``weights``; results go to the folder ``output``."""

    images: str
    output: str
    levels: tuple[int, ...] = tuple(LEVELS)
    weights: tuple[str, ...] = ("q1net-k8",)
    fusion: str | None = None
    threshold: float | None = None
    patches: int = DEFAULT_PATCHES
    study: str = "levels"

    def __post_init__(self) -> None:
        if self.study not in STUDIES:
            raise ConfigError(f"study is {self.study!r}; expected one of {', '.join(STUDIES)}")
        known = levels_of(self.study)
        if not self.levels or not set(self.levels) <= set(known):
            raise ConfigError(f"levels are {list(self.levels)}; expected some of {known[0]}..{known[-1]}")
        if not self.weights or (len(self.weights) > 1 and self.study != "table2"):
            raise ConfigError(f"variants are {', '.join(self.weights)}; expected one, or --study table2")
        if self.study == "table4" and self.patches != DEFAULT_PATCHES:
            raise ConfigError(f"patches per image is {self.patches}; table4 takes {SIZES}: leave --patches out")

    @property
    def sizes(self) -> tuple[int, ...]:
        """The numbers of patches per image that are evaluated."""
        return SIZES if self.study == "table4" else (self.patches,)


def levels_of(study: str) -> tuple[int, ...]:
    """All levels of what a study compresses with: libjpeg's 1-100, or Photoshop's 0-12."""
    return photoshop.LEVELS if study == "photoshop" else tuple(LEVELS)


def write_errors(
    cases: list[tuple[steps.Case, QualityErrors]],
    uri: str,
    about: dict[str, Any],
    estimators: list[dict[str, Any]],
) -> str:
    """Write the metrics of one evaluation, or of all that a study compares, each with what it was made with."""
    evaluations = [
        estimators[weights] | {"patches": patches} | steps.describe(errors)
        for (weights, patches), errors in sorted(cases, key=itemgetter(0))
    ]
    single = about["arguments"]["study"] == "levels"
    tables.write_json(uri, about | (evaluations[0] if single else {"evaluations": evaluations}))
    return uri


def write_rows(rows: list[dict[str, Any]], uri: str, about: dict[str, Any], estimators: list[dict[str, Any]]) -> str:
    """Write the rows of the Photoshop study, in order."""
    tables.write_json(uri, about | estimators[0] | {"rows": sorted(rows, key=itemgetter("image", "level"))})
    return uri


def read_estimators(config: EvaluateConfig) -> list[tuple[WeightsFile, EstimatorConfig]]:
    """The weights, and how each judges images; raises ConfigError or WeightsError."""
    files = [read_weights(source) for source in config.weights]
    return [(file, configure(file.rule(config.fusion), config.threshold, config.patches)) for file in files]


def build(root: beam.Pipeline, config: EvaluateConfig, images: list[ListedImage]) -> beam.PCollection[str]:
    """The whole pipeline; its one output element is the uri of the statistics."""
    estimators = read_estimators(config)
    uri = storage.join(config.output, STUDIES[config.study])
    about = {"arguments": asdict(config), "images": len(images), "versions": {"q1net": __version__}}
    made_with = [
        {"variant": file.variant, "weights_sha256": file.sha256, "fusion": rule.fusion, "threshold": rule.threshold}
        for file, rule in estimators
    ]
    read = root | "Images" >> beam.Create(images) | "Spread" >> beam.Reshuffle() | "ReadImages" >> ReadImages()
    compress = steps.compress_photoshop if config.study == "photoshop" else steps.compress_levels
    compressed = read.read | "CompressLevels" >> beam.FlatMap(compress, config.levels, config.patches)
    failed = [read.finished]
    if len(config.sizes) == 1:
        sampled = compressed | "SamplePatches" >> SamplePatches(estimators[0][1])
        patches = sampled.sampled
        failed.append(sampled.finished)
    else:
        patches = compressed | "SampleSizes" >> beam.FlatMap(steps.sample_sizes, config.sizes)
    failed | "Failed" >> beam.Flatten() | "Refuse" >> beam.Map(steps.refuse)
    measure, write = (steps.to_row, write_rows) if config.study == "photoshop" else (steps.to_errors, write_errors)
    measured = [
        patches
        | f"EstimateQuality{number}" >> EstimateQuality(Q1NetHandler(source, file.sha256))
        | f"FusePredictions{number}" >> FusePredictions(rule)
        | f"Measure{number}" >> beam.Map(measure, number)
        for number, (source, (file, rule)) in enumerate(zip(config.weights, estimators, strict=True))
    ] | "Measured" >> beam.Flatten()
    if config.study != "photoshop":
        measured |= "Add" >> beam.CombinePerKey(steps.add_errors)
    return measured | "Together" >> beam.combiners.ToList() | "Write" >> beam.Map(write, uri, about, made_with)


def evaluate(config: EvaluateConfig, options: PipelineOptions) -> dict[str, Any]:
    """Run one evaluation; returns what its JSON file says.

    Raises:
        ConfigError, WeightsError: before any work starts.
    """
    storage.ensure_writable(config.output)
    read_estimators(config)
    images = list(list_inputs([config.images]))
    total = len(images) * len(config.levels) * len(config.weights) * len(config.sizes)
    runner.run_pipeline(lambda root: build(root, config, images), options, "rows", total, "image")
    statistics = tables.read_uri(storage.join(config.output, STUDIES[config.study]))
    metrics: dict[str, Any] = json.loads(statistics)
    return metrics


def publish(config: EvaluateConfig, metrics: dict[str, Any]) -> str:
    """Write an evaluation's tables and pictures beside its JSON file; returns what the command prints."""
    if config.study == "levels":
        return evaluate_tables.publish_levels(config.output, metrics)
    if config.study == "photoshop":
        return evaluate_tables.publish_photoshop(config.output, metrics)
    return evaluate_tables.publish_comparison(config.output, config.study, metrics, read_estimators(config))


def make_parser() -> argparse.ArgumentParser:
    """The command's flags."""
    parser = argparse.ArgumentParser(
        prog="q1net evaluate",
        description="Compress lossless images at every level, estimate, compare.",
        epilog="All other flags go to Apache Beam.",
        allow_abbrev=False,
    )
    parser.add_argument("--images", required=True, metavar="URI", help="folder, file or glob of lossless images")
    parser.add_argument("--output", required=True, metavar="URI", help="folder that gets metrics, tables and pictures")
    parser.add_argument(
        "--study",
        choices=list(STUDIES),
        default="levels",
        help="levels: error by level (default); table2: several variants beside published ones; table4: by number of "
        "patches; photoshop: which level Photoshop's levels look like",
    )
    parser.add_argument("--levels", type=parse_levels, metavar="LEVELS", help="1-100, 5-100:5 or 10,50,90 (all)")
    parser.add_argument(
        "--variant",
        "--weights",
        dest="weights",
        action="append",
        metavar="NAME",
        help="variant, or a .keras file (q1net-k8); table2 takes several, each with its flag (all packaged ones)",
    )
    parser.add_argument("--fusion", choices=list(FUSIONS), help="how patches become one estimate (the weights' best)")
    parser.add_argument("--threshold", type=float, help="confidence a patch must exceed, 0-100 (the weights' own)")
    parser.add_argument(
        "--patches", type=int, default=DEFAULT_PATCHES, help="patches per image, a square (%(default)s)"
    )
    return parser


def parse(argv: list[str]) -> tuple[EvaluateConfig, PipelineOptions]:
    """Command line -> config and Beam's options."""
    values, options = runner.parse_flags(make_parser(), argv)
    if values["levels"] is None:
        values["levels"] = levels_of(values["study"])
    if values["weights"] is None:
        values["weights"] = packaged_variants() if values["study"] == "table2" else ["q1net-k8"]
    return EvaluateConfig(**values | {"weights": tuple(values["weights"])}), options


def run(argv: list[str]) -> int:
    """The command; returns its exit status, 0 only when everything is written."""
    try:
        config, options = parse(argv)
        printed = publish(config, evaluate(config, options))
    except (ConfigError, WeightsError) as error:
        print(f"q1net evaluate: {error}", file=sys.stderr)
        return 2
    print(printed)
    return 0
