"""`q1net evaluate`: lossless images, compressed at known levels, estimated as in an audit, compared with the truth.

The pipeline writes one JSON file of statistics; tables and pictures are made of it afterwards, where the command runs.
"""

import argparse
import sys
from dataclasses import asdict
from operator import itemgetter
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from pipelines import files
from pipelines.evaluation import render, steps, stress, stress_results
from pipelines.evaluation.config import (
    DEFAULT_WEIGHTS,
    ESTIMATORS,
    STRESS_LEVELS,
    STUDIES,
    EvaluateConfig,
    levels_of,
)
from pipelines.inference import Q1NetHandler
from pipelines.inputs import list_inputs
from pipelines.runtime.local import run_pipeline
from pipelines.runtime.options import add_workers, parse_flags, parse_levels
from pipelines.runtime.versions import find_versions
from pipelines.transforms import EstimateQuality, FusePredictions, ReadImages, SamplePatches
from q1net_core import storage
from q1net_core.errors import ConfigError, WeightsError
from q1net_core.estimator import EstimatorSettings
from q1net_core.fusion import FUSIONS
from q1net_core.metrics import QualityErrors
from q1net_core.network.weights import WeightsFile, packaged_variants, read_weights
from q1net_core.patches import DEFAULT_PATCHES
from q1net_core.records import ListedImage
from q1net_core.sampling import PATCHES


def write_errors(
    cases: list[tuple[steps.Case, QualityErrors]],
    uri: str,
    about: dict[str, Any],
    made_with: list[dict[str, Any]],
) -> str:
    """Write the metrics of one evaluation, or of all that a study compares, each with what it was made with."""
    evaluations = [
        made_with[weights] | {"patches": patches} | steps.describe(errors)
        for (weights, patches), errors in sorted(cases, key=itemgetter(0))
    ]
    single = about["arguments"]["study"] == "levels"
    files.write_json(uri, about | (evaluations[0] if single else {"evaluations": evaluations}))
    return uri


def write_rows(rows: list[dict[str, Any]], uri: str, about: dict[str, Any], made_with: list[dict[str, Any]]) -> str:
    """Write the rows of the Photoshop study, in order."""
    files.write_json(uri, about | made_with[0] | {"rows": sorted(rows, key=itemgetter("image", "level"))})
    return uri


def write_outcomes(
    cases: list[tuple[stress_results.Case, stress_results.Outcomes]],
    uri: str,
    about: dict[str, Any],
    made_with: list[dict[str, Any]],
) -> str:
    """Write the metrics of the stress study."""
    files.write_json(uri, about | made_with[0] | stress_results.describe(cases))
    return uri


# What each study does with a lossless image, with an answer, with answers of one case, and with all of them.
STEPS = dict.fromkeys(STUDIES, (steps.compress_levels, steps.to_errors, steps.add_errors, write_errors)) | {
    "photoshop": (steps.compress_photoshop, steps.to_row, None, write_rows),
    "stress": (stress.make_samples, stress_results.to_outcomes, stress_results.add_outcomes, write_outcomes),
}


def read_estimators(config: EvaluateConfig) -> list[tuple[WeightsFile, EstimatorSettings]]:
    """The weights, and how each judges images; none for the lattice. Raises ConfigError or WeightsError."""
    wanted, cascade = ESTIMATORS[config.estimator], config.estimator == "combined"
    chosen = [
        EstimatorSettings(weights, config.fusion, config.threshold, config.patches, estimators=wanted, cascade=cascade)
        for weights in config.weights
    ]
    found = [(read_weights(settings.weights), settings) for settings in chosen]
    for file, _ in found:
        if len(config.sizes) > 1 and file.network.input != PATCHES:
            sees = file.network.input.sampler
            raise ConfigError(f"{config.study} is about the number of patches; {file.variant} sees a {sees}")
    return found


def build(root: beam.Pipeline, config: EvaluateConfig, images: list[ListedImage]) -> beam.PCollection[str]:
    """The whole pipeline; its one output element is the uri of the statistics."""
    estimators = read_estimators(config)
    uri = storage.join(config.output, STUDIES[config.study])
    about = {"arguments": asdict(config), "images": len(images), "versions": find_versions()}
    rules = [(file, settings.rule_of(file)) for file, settings in estimators]
    made_with = [
        {"variant": file.variant, "weights_sha256": file.sha256, "fusion": rule.fusion, "threshold": rule.threshold}
        for file, rule in rules
    ] or [dict.fromkeys(("variant", "weights_sha256", "fusion", "threshold"))]
    compress, measure, add, write = STEPS[config.study]
    read = root | "Images" >> beam.Create(images) | "Spread" >> beam.Reshuffle() | "ReadImages" >> ReadImages()
    named = (config.conditions,) if config.study == "stress" else ()
    compressed = read.read | "Compress" >> beam.FlatMap(compress, config.levels, config.patches, *named)
    finished = [read.finished]
    if config.study == "stress" and config.estimator == "q1net":
        kind = estimators[0][0].network.input
        samples = {kind: compressed | "SampleOnGrid" >> beam.FlatMap(steps.sample_on_grid, config.patches, kind)}
    elif len(config.sizes) == 1:
        chosen = {file.network.input: settings for file, settings in estimators}
        samples = {}
        # Once for all weights that see the same of an image.
        for kind, settings in (chosen or {PATCHES: EstimatorSettings(estimators=ESTIMATORS["lattice"])}).items():
            sampled = compressed | f"Sample {kind.sampler} {kind.size}" >> SamplePatches(settings, kind)
            samples[kind] = sampled.sampled
            finished.append(sampled.finished)
    else:
        samples = {PATCHES: compressed | "SampleSizes" >> beam.FlatMap(steps.sample_sizes, config.sizes)}
    accepted = finished | "Finished" >> beam.Flatten() | "Accept" >> beam.Map(steps.accept)
    measured = [
        samples[file.network.input]
        | f"EstimateQuality{number}" >> EstimateQuality(Q1NetHandler(source, file.sha256))
        | f"FusePredictions{number}" >> FusePredictions(rule)
        | f"Measure{number}" >> beam.Map(measure, number)
        for number, (source, (file, rule)) in enumerate(zip(config.weights, rules, strict=True))
    ]
    measured.append(accepted | "Measure" >> beam.Map(measure, 0))
    answers = measured | "Measured" >> beam.Flatten()
    if add is not None:
        answers |= "Add" >> beam.CombinePerKey(add)
    return answers | "Together" >> beam.combiners.ToList() | "Write" >> beam.Map(write, uri, about, made_with)


def count_samples(config: EvaluateConfig) -> int:
    """How many files are made of each image."""
    if config.study == "stress":
        return sum(len(stress.levels_of(condition, config.levels)) for condition in config.conditions)
    return len(config.levels)


def evaluate(config: EvaluateConfig, options: PipelineOptions) -> dict[str, Any]:
    """Run one evaluation; returns what its JSON file says.

    Raises:
        ConfigError, WeightsError: before any work starts.
    """
    storage.ensure_writable(config.output)
    read_estimators(config)
    images = list(list_inputs([config.images]))
    run_pipeline(
        lambda root: build(root, config, images),
        options,
        "rows",
        len(images) * count_samples(config) * max(len(config.weights), 1) * len(config.sizes),
        "image",
        with_model=bool(config.weights),
    )
    return files.read_json(storage.join(config.output, STUDIES[config.study]))


def publish(config: EvaluateConfig, metrics: dict[str, Any]) -> str:
    """Write an evaluation's tables and pictures beside its JSON file; returns what the command prints."""
    if config.study == "levels":
        return render.publish_levels(config.output, metrics)
    if config.study == "photoshop":
        return render.publish_photoshop(config.output, metrics)
    if config.study == "stress":
        return stress_results.publish(config.output, metrics)
    return render.publish_comparison(config.output, config.study, metrics, read_estimators(config))


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
        "patches; photoshop: which level Photoshop's levels look like; stress: what happens to altered pictures",
    )
    parser.add_argument(
        "--estimator",
        choices=list(ESTIMATORS),
        help="q1net (default), lattice (default of --study stress), or combined: Q1Net where the lattice abstains",
    )
    parser.add_argument(
        "--conditions",
        type=lambda names: tuple(dict.fromkeys(names.split(","))),
        default=(),
        metavar="NAMES",
        help="of --study stress, by commas (all)",
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
    add_workers(parser)
    return parser


def parse(argv: list[str]) -> tuple[EvaluateConfig, PipelineOptions]:
    """Command line -> config and Beam's options."""
    values, options = parse_flags(make_parser(), argv)
    stressed = values["study"] == "stress"
    if values["levels"] is None:
        values["levels"] = STRESS_LEVELS if stressed else levels_of(values["study"])
    if values["estimator"] is None:
        values["estimator"] = "lattice" if stressed else "q1net"
    if values["weights"] is None:
        defaults = {"table2": packaged_variants()} | ({values["study"]: []} if values["estimator"] == "lattice" else {})
        values["weights"] = defaults.get(values["study"], [DEFAULT_WEIGHTS])
    if stressed:
        values["conditions"] = values["conditions"] or tuple(stress.CONDITIONS)
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
