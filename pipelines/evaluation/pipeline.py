"""The Beam pipeline of an evaluation: lossless images in, one JSON file of statistics out."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import apache_beam as beam
from apache_beam.ml.inference.base import KeyedModelHandler, RunInference
from apache_beam.options.pipeline_options import PipelineOptions

from pipelines import files
from pipelines.evaluation import steps
from pipelines.evaluation.config import EvaluateConfig
from pipelines.evaluation.render import Row
from pipelines.evaluation.studies import STUDIES
from pipelines.evaluation.study import EVALUATED, Candidate, Summarise
from pipelines.inference import Q1NetHandler
from pipelines.inputs import list_inputs
from pipelines.runtime.local import run_pipeline
from pipelines.runtime.versions import find_versions
from pipelines.transforms import ReadImages
from q1net_core import storage
from q1net_core.errors import ConfigError
from q1net_core.network.predictor import needs_keras
from q1net_core.network.weights import read_weights
from q1net_core.records import ListedImage
from q1net_core.sampling import PATCHES
from q1net_core.settings import EstimatorSettings


def read_candidates(config: EvaluateConfig) -> list[Candidate]:
    """The estimators that are evaluated, one for each weights file, or the lattice alone.

    Raises:
        ConfigError, WeightsError: weights or settings that cannot be used.
    """
    wanted, cascade = EVALUATED[config.estimator], config.estimator == "combined"
    if not config.weights:
        return [Candidate(EstimatorSettings(estimators=wanted))]
    candidates = []
    for source in config.weights:
        settings = EstimatorSettings(
            source, config.fusion, config.threshold, config.patches, estimators=wanted, cascade=cascade
        )
        weights = read_weights(source, STUDIES[config.study].codecs)
        kind = weights.network.input
        if STUDIES[config.study].sizes and kind != PATCHES:
            raise ConfigError(f"{config.study} is about the number of patches; {weights.variant} sees a {kind.sampler}")
        for chosen in STUDIES[config.study].settings_of(settings, weights):
            chosen.rule_of(weights)
            candidates.append(Candidate(chosen, weights))
    return candidates


def describe(candidate: Candidate) -> Row:
    """What a candidate is made with, as the statistics say it; None for what the lattice does not have."""
    weights = candidate.pinned
    return {
        "variant": weights and weights.variant,
        "weights_sha256": weights and weights.sha256,
        "fusion": weights and weights.rule.fusion,
        "threshold": weights and weights.rule.threshold,
        "patches": candidate.settings.patches,
        "confidence_weight": candidate.weights and candidate.weights.card.trained.get("confidence_weight"),
    }


def write_statistics(
    results: list[tuple[tuple[int, Any], Any]], uri: str, summarise: Summarise, made_with: Sequence[Row], about: Row
) -> str:
    """Write what all sums of a study say; returns the uri."""
    files.write_json(uri, about | summarise(dict(results), made_with))
    return uri


def build(
    root: beam.Pipeline, config: EvaluateConfig, candidates: Sequence[Candidate], images: Sequence[ListedImage]
) -> beam.PCollection[str]:
    """The whole pipeline; its one output element is the uri of the statistics."""
    study = STUDIES[config.study]
    uri = storage.join(config.output, study.file)
    about = {"arguments": asdict(config), "images": len(images), "versions": find_versions()}
    made_with = [describe(candidate) for candidate in candidates]
    read = root | "Images" >> beam.Create(images) | "Spread" >> beam.Reshuffle() | "ReadImages" >> ReadImages()
    unread = read.finished | "Refuse" >> beam.FlatMap(steps.refuse)
    compressed = read.read | "Compress" >> beam.FlatMap(
        steps.compress, study.make, study.cases(config.levels, config.conditions)
    )
    # What is sampled does not depend on the weights, but on what their networks see.
    sampled = {}
    for kind, settings in {candidate.kind: candidate.settings for candidate in candidates}.items():
        step = beam.FlatMap(steps.sample, study.sample, settings, kind)
        label = f"Sample {kind.sampler} {kind.size}"
        sampled[kind] = compressed | label >> step.with_outputs(steps.FINISHED, main="sampled")
    finished = (*(samples.finished for samples in sampled.values()), unread) | "Finished" >> beam.Flatten()
    measured = [finished | "Measure" >> beam.Map(steps.measure, study.measure, 0)]
    for number, candidate in enumerate(candidates):
        weights = candidate.pinned
        if weights is not None:
            handler = KeyedModelHandler(Q1NetHandler(weights.source, weights.sha256))
            measured.append(
                sampled[candidate.kind].sampled
                | f"RunInference{number}" >> RunInference(handler)
                | f"Fuse{number}" >> beam.Map(steps.fuse, weights)
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
    run_pipeline(
        lambda root: build(root, config, candidates, images),
        options,
        "rows",
        len(images) * len(cases) * len(candidates) * (len(study.sizes) or 1),
        "image",
        with_keras=any(candidate.weights is not None and needs_keras(candidate.weights) for candidate in candidates),
    )
    return files.read_json(storage.join(config.output, study.file))
