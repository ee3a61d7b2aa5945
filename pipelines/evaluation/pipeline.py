"""The Beam pipeline of an evaluation: lossless images in, one JSON file of statistics out."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import apache_beam as beam
from apache_beam.ml.inference.base import KeyedModelHandler, RunInference
from apache_beam.options.pipeline_options import PipelineOptions

from pipelines.audit import table
from pipelines.evaluation import steps
from pipelines.evaluation.config import EvaluateConfig
from pipelines.evaluation.render import Row
from pipelines.evaluation.studies import STUDIES
from pipelines.evaluation.study import EVALUATED, Candidate, Summarise
from pipelines.inference import Q1NetHandler
from pipelines.inputs import list_inputs
from pipelines.runtime import local
from pipelines.transforms import ReadImages
from q1net_core import __version__, storage
from q1net_core.estimator import EstimatorConfig, configure
from q1net_core.network.weights import read_weights
from q1net_core.records import ListedImage


def read_candidates(config: EvaluateConfig) -> list[Candidate]:
    """The estimators that are evaluated, one for each weights file, or the lattice alone.

    Raises:
        ConfigError, WeightsError: weights or settings that cannot be used.
    """
    if not config.weights:
        return [Candidate(EstimatorConfig(0, estimators=EVALUATED[config.estimator]))]
    candidates = []
    for source in config.weights:
        weights = read_weights(source)
        judging = configure(
            weights.rule(config.fusion),
            config.threshold,
            config.patches,
            estimators=EVALUATED[config.estimator],
            cascade=config.estimator == "combined",
        )
        candidates.append(Candidate(judging, weights, source))
    return candidates


def describe(candidate: Candidate, patches: int) -> Row:
    """What a candidate is made with, as the statistics say it; None for what the lattice does not have."""
    weights, config = candidate.weights, candidate.config
    if weights is None:
        return dict.fromkeys(("variant", "weights_sha256", "fusion", "threshold")) | {"patches": patches}
    return {
        "variant": weights.variant,
        "weights_sha256": weights.sha256,
        "fusion": config.fusion,
        "threshold": config.threshold,
        "patches": patches,
    }


def write_statistics(
    results: list[tuple[tuple[int, Any], Any]], uri: str, summarise: Summarise, made_with: Sequence[Row], about: Row
) -> str:
    """Write what all sums of a study say; returns the uri."""
    table.write_json(uri, about | summarise(dict(results), made_with))
    return uri


def build(
    root: beam.Pipeline, config: EvaluateConfig, candidates: Sequence[Candidate], images: Sequence[ListedImage]
) -> beam.PCollection[str]:
    """The whole pipeline; its one output element is the uri of the statistics."""
    study = STUDIES[config.study]
    uri = storage.join(config.output, study.file)
    about = {"arguments": asdict(config), "images": len(images), "versions": {"q1net": __version__}}
    made_with = [describe(candidate, config.patches) for candidate in candidates]
    read = root | "Images" >> beam.Create(images) | "Spread" >> beam.Reshuffle() | "ReadImages" >> ReadImages()
    unread = read.finished | "Refuse" >> beam.FlatMap(steps.refuse)
    compressed = read.read | "Compress" >> beam.FlatMap(
        steps.compress, study.make, study.cases(config.levels, config.conditions)
    )
    # What is sampled does not depend on the weights.
    sampled = compressed | "Sample" >> beam.FlatMap(steps.sample, study.sample, candidates[0].config).with_outputs(
        steps.FINISHED, main="sampled"
    )
    finished = (sampled.finished, unread) | "Finished" >> beam.Flatten()
    measured = [finished | "Measure" >> beam.Map(steps.measure, study.measure, 0)]
    for number, candidate in enumerate(candidates):
        if candidate.weights is not None:
            handler = KeyedModelHandler(Q1NetHandler(candidate.source, candidate.weights.sha256))
            measured.append(
                sampled.sampled
                | f"RunInference{number}" >> RunInference(handler)
                | f"Fuse{number}" >> beam.Map(steps.fuse, candidate.config)
                | f"Measure{number}" >> beam.Map(steps.measure, study.measure, number)
            )
    return (
        measured
        | "Measured" >> beam.Flatten()
        | "Add" >> beam.CombinePerKey(steps.add_up)
        | "Together" >> beam.combiners.ToList()
        | "Write" >> beam.Map(write_statistics, uri, study.summarise, made_with, about)
    )


def evaluate(config: EvaluateConfig, candidates: Sequence[Candidate], options: PipelineOptions) -> Row:
    """Run one evaluation; returns what its JSON file says.

    Raises:
        ConfigError: before any work starts.
    """
    study = STUDIES[config.study]
    storage.ensure_writable(config.output)
    images = list(list_inputs([config.images]))
    cases = study.cases(config.levels, config.conditions)
    local.run_pipeline(
        lambda root: build(root, config, candidates, images),
        options,
        "rows",
        len(images) * len(cases) * len(candidates) * (len(study.sizes) or 1),
        "image",
        with_model=bool(config.weights),
    )
    statistics: Row = json.loads(table.read_uri(storage.join(config.output, study.file)))
    return statistics
