"""The steps of an audit as PTransforms, each a thin wrapper of a function of q1net_core.estimator.

A failing image leaves the CPU steps as a finished record, on the output FINISHED, and never enters inference, where it
would fail its whole batch. Inference and everything after it catch nothing: a bug there stops the job.
"""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.ml.inference.base import RunInference
from apache_beam.pvalue import TaggedOutput

from pipelines.inference import Q1NetHandler
from pipelines.runtime import counters
from q1net_core import estimator
from q1net_core.estimator import EstimatorSettings
from q1net_core.images.decode import Limits
from q1net_core.records import FusionRule, ImagePatches, ImageRecord, ListedImage, PatchPredictions, Status
from q1net_core.sampling import PATCHES, InputKind

FINISHED = "finished"
# Object stores answer in tens of milliseconds whatever the size: a few reads at a time keep a core busy.
READS_AT_A_TIME = 8
READS_AHEAD = 16

Encoded = tuple[ListedImage, bytes]


def as_listed(image: str | ListedImage) -> ListedImage:
    """A uri or a listed image -> a listed image."""
    return ListedImage(image) if isinstance(image, str) else image


def count_row(record: ImageRecord) -> ImageRecord:
    """Count a finished image where it finishes: after the Flatten, progress would show only at the end."""
    counters.inc("rows")
    counters.inc("rows_ok" if record.status is Status.OK else "rows_failed")
    return record


@dataclass
class ReadImages(beam.PTransform):
    """uri or ListedImage -> (ListedImage, bytes), several reads at a time; failures go to the output FINISHED."""

    max_bytes: int = Limits().max_bytes

    def expand(self, images: beam.PCollection[str | ListedImage]) -> Any:
        """Two outputs: the main one, and FINISHED."""
        return (
            images
            | "AsListed" >> beam.Map(as_listed)
            | "Together" >> beam.BatchElements(min_batch_size=READS_AHEAD, max_batch_size=READS_AHEAD)
            | "Read" >> beam.ParDo(ReadFn(Limits(max_bytes=self.max_bytes))).with_outputs(FINISHED, main="read")
        )


class ReadFn(beam.DoFn):
    """Reads the images of a batch ahead of the step that uses them, in order."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits

    def setup(self) -> None:
        """Threads are made where they are used, never pickled."""
        self.pool = ThreadPoolExecutor(READS_AT_A_TIME)

    def process(self, images: list[ListedImage]) -> Iterator[Any]:
        """Read all, yield each as soon as it and those before it are there."""
        counters.inc("images_listed", len(images))
        for image, read in zip(images, self.pool.map(self.read, images), strict=True):
            seconds, encoded = read
            counters.inc("read_usec", seconds)
            if isinstance(encoded, ImageRecord):
                yield TaggedOutput(FINISHED, count_row(encoded))
            else:
                counters.inc("bytes_read", len(encoded))
                yield image, encoded

    def read(self, image: ListedImage) -> tuple[int, bytes | ImageRecord]:
        """One read with its microseconds; counted by the caller, since Beam's counters belong to its own thread."""
        start = time.perf_counter_ns()
        encoded = estimator.read_image(image, self.limits)
        return (time.perf_counter_ns() - start) // 1000, encoded

    def teardown(self) -> None:
        """Let the threads go."""
        self.pool.shutdown(wait=False)


@dataclass
class SamplePatches(beam.PTransform):
    """(ListedImage, bytes) -> ImagePatches; failures go to the output FINISHED. Pixels never become an element.

    Args:
        settings: how images are judged.
        kind: of the network's input.
    """

    settings: EstimatorSettings
    kind: InputKind = PATCHES

    def expand(self, encoded: beam.PCollection[Encoded]) -> Any:
        """Two outputs: the main one, and FINISHED."""
        return encoded | "Sample" >> beam.FlatMap(sample, self.settings, self.kind).with_outputs(
            FINISHED, main="sampled"
        )


def sample(encoded: Encoded, settings: EstimatorSettings, kind: InputKind) -> Iterator[Any]:
    """What the network sees of one image, or its finished record."""
    with counters.timed("sample_usec"):
        sampled = estimator.sample_image(*encoded, settings, kind)
    yield TaggedOutput(FINISHED, count_row(sampled)) if isinstance(sampled, ImageRecord) else sampled


@dataclass
class EstimateQuality(beam.PTransform):
    """ImagePatches -> PatchPredictions through RunInference; many images a batch, one model per process.

    Args:
        handler: which weights, pinned by their digest.
        accelerator: Beam's accelerator hint, ``type:nvidia-tesla-t4;count:1;install-nvidia-driver``, or None for CPUs.
    """

    handler: Q1NetHandler
    accelerator: str | None = None

    def expand(self, sampled: beam.PCollection[ImagePatches]) -> beam.PCollection[PatchPredictions]:
        """One output."""
        inference = RunInference(self.handler)
        if self.accelerator:
            inference = inference.with_resource_hints(accelerator=self.accelerator)
        return sampled | "RunInference" >> inference


@dataclass
class FusePredictions(beam.PTransform):
    """PatchPredictions -> ImageRecord, by the fusion ``rule`` of the weights that predicted."""

    rule: FusionRule

    def expand(self, predictions: beam.PCollection[PatchPredictions]) -> beam.PCollection[ImageRecord]:
        """One output."""
        return predictions | "Fuse" >> beam.Map(fuse, self.rule)


def fuse(predictions: PatchPredictions, rule: FusionRule) -> ImageRecord:
    """The finished record of one image, timed."""
    with counters.timed("fuse_usec"):
        return count_row(estimator.fuse_predictions(predictions, rule))


@dataclass
class EstimateImages(beam.PTransform):
    """uri or ListedImage -> ImageRecord, exactly one for each, whatever happens to it.

    Args:
        settings: how images are judged.
        rule: fusion rule of the weights.
        handler: the model's handler.
        accelerator: see EstimateQuality.
        redistribute: put a Reshuffle before inference, so that decoding and inference scale apart. Without it an
            image goes through all steps in one place, which a single machine wants: nothing piles up in between.
        kind: of the network's input.
    """

    settings: EstimatorSettings
    rule: FusionRule
    handler: Q1NetHandler
    accelerator: str | None = None
    redistribute: bool = True
    kind: InputKind = PATCHES

    def expand(self, images: beam.PCollection[str | ListedImage]) -> beam.PCollection[ImageRecord]:
        """One output, in no order."""
        read = images | "ReadImages" >> ReadImages(self.settings.max_bytes)
        sampled = read.read | "SamplePatches" >> SamplePatches(self.settings, self.kind)
        finished = (read[FINISHED], sampled[FINISHED])
        if "q1net" not in self.settings.estimators:
            return finished | "Finished" >> beam.Flatten()
        patches = sampled.sampled
        if self.redistribute:
            patches = patches | "RedistributePatches" >> beam.Reshuffle()
        fused = (
            patches
            | "EstimateQuality" >> EstimateQuality(self.handler, self.accelerator)
            | "FusePredictions" >> FusePredictions(self.rule)
        )
        return (fused, *finished) | "Finished" >> beam.Flatten()
