"""The steps of an audit as PTransforms, each a thin wrapper of a function of q1net_core.estimator.

A failing image leaves the CPU steps as a finished record, on the output FINISHED, and never enters inference, where it
would fail its whole batch. Inference and everything after it catch nothing: a bug there stops the job.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam
from apache_beam.ml.inference.base import RunInference
from apache_beam.pvalue import TaggedOutput

from pipelines.inference import Q1NetHandler
from pipelines.inputs.members import read_input
from pipelines.runtime import counters
from pipelines.runtime.allocator import keep_freed_memory
from pipelines.runtime.dataflow import inference_hints
from pipelines.runtime.logs import log_event
from q1net_core import estimator
from q1net_core.estimator import kinds_of
from q1net_core.images.decode import Limits
from q1net_core.records import ImagePatches, ImageRecord, ListedImage, PatchPredictions, Status
from q1net_core.sampling import InputKind
from q1net_core.settings import AUTO, EstimatorSettings, PinnedWeights
from q1net_core.storage import printable_uri

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
    counters.inc(f"rows_{record.status.value}")
    if record.status is not Status.OK:
        counters.inc("rows_failed")
        log_event("image failed", record.status.value, uri=printable_uri(record.image.uri), error=record.error)
    if record.network:
        counters.inc("patches_used", record.network.patches_used)
    return record


@dataclass
class ReadImages(beam.PTransform):
    """uri or ListedImage -> (ListedImage, bytes), several reads at a time; failures go to the output FINISHED.

    ``batched``: elements are lists of ListedImage already, of which each is read at a time.
    """

    max_bytes: int = Limits().max_bytes
    batched: bool = False

    def expand(self, images: beam.PCollection[Any]) -> Any:
        """Two outputs: the main one, and FINISHED."""
        if not self.batched:
            images = (
                images
                | "AsListed" >> beam.Map(as_listed)
                | "Together" >> beam.BatchElements(min_batch_size=READS_AHEAD, max_batch_size=READS_AHEAD)
            )
        read = beam.ParDo(ReadFn(Limits(max_bytes=self.max_bytes)))
        return images | "Read" >> read.with_outputs(FINISHED, main="read")


class ReadFn(beam.DoFn):
    """Reads the images of a batch ahead of the step that uses them, in order."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits

    def setup(self) -> None:
        """Threads are made where they are used, never pickled; worker processes have an allocator of their own."""
        keep_freed_memory()
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
        encoded = estimator.read_image(image, self.limits, read_input)
        return (time.perf_counter_ns() - start) // 1000, encoded

    def teardown(self) -> None:
        """Let the threads go."""
        self.pool.shutdown(wait=False)


@dataclass
class SamplePatches(beam.PTransform):
    """(ListedImage, bytes) -> ImagePatches; failures go to the output FINISHED. Pixels never become an element.

    Args:
        settings: how images are judged.
        kinds: of the networks' inputs, by their weights; PATCHES for those left out.
    """

    settings: EstimatorSettings
    kinds: Mapping[str, InputKind] = field(default_factory=dict)

    def expand(self, encoded: beam.PCollection[Encoded]) -> Any:
        """Two outputs: the main one, and FINISHED."""
        return encoded | "Sample" >> beam.FlatMap(sample, self.settings, self.kinds).with_outputs(
            FINISHED, main="sampled"
        )


def sample(encoded: Encoded, settings: EstimatorSettings, kinds: Mapping[str, InputKind]) -> Iterator[Any]:
    """What the network sees of one image, or its finished record."""
    with counters.timed("sample_usec"):
        sampled = estimator.sample_image(*encoded, settings, kinds, counters.timed)
    yield TaggedOutput(FINISHED, count_row(sampled)) if isinstance(sampled, ImageRecord) else sampled


@dataclass
class EstimateQuality(beam.PTransform):
    """ImagePatches -> PatchPredictions through RunInference; many images a batch, one model per process.

    Args:
        handler: which weights, pinned by their digest.
        accelerator: ``t4``, ``l4`` or Beam's accelerator hint, or None for CPUs.
        ram: of the machines that predict, at least, such as ``12GB``; None for the default.

    Raises:
        ConfigError: accelerator or ram is not understood; when it becomes part of a pipeline.
    """

    handler: Q1NetHandler
    accelerator: str | None = None
    ram: str | None = None

    def expand(self, sampled: beam.PCollection[ImagePatches]) -> beam.PCollection[PatchPredictions]:
        """One output."""
        hints = inference_hints(self.accelerator, self.ram)
        return sampled | "RunInference" >> RunInference(self.handler).with_resource_hints(**hints)


@dataclass
class FusePredictions(beam.PTransform):
    """PatchPredictions -> ImageRecord, by the fusion rule of the ``weights`` that predicted."""

    weights: PinnedWeights

    def expand(self, predictions: beam.PCollection[PatchPredictions]) -> beam.PCollection[ImageRecord]:
        """One output."""
        return predictions | "Fuse" >> beam.Map(fuse, self.weights)


def fuse(predictions: PatchPredictions, weights: PinnedWeights) -> ImageRecord:
    """The finished record of one image, timed."""
    with counters.timed("fuse_usec"):
        return count_row(estimator.fuse_predictions(predictions, weights))


@dataclass
class EstimateRoutes(beam.PTransform):
    """uri or ListedImage -> ImageRecord, exactly one for each, whatever happens to it, in several PCollections.

    Args:
        settings: how images are judged.
        weights: all that may judge some image, by source; each has an inference step of its own, so that batches are
            of one network.
        accelerator, inference_ram: see EstimateQuality.
        redistribute: put a Reshuffle before inference, so that decoding and inference scale apart. Without it an
            image goes through all steps in one place, which a single machine wants: nothing piles up in between.
        batched: elements are lists of ListedImage, see ReadImages.
    """

    settings: EstimatorSettings
    weights: Mapping[str, PinnedWeights]
    accelerator: str | None = None
    redistribute: bool = True
    inference_ram: str | None = None
    batched: bool = False

    def expand(self, images: beam.PCollection[Any]) -> Any:
        """A tuple: an output for each way that an image may take through the steps."""
        read = images | "ReadImages" >> ReadImages(self.settings.max_bytes, self.batched)
        sampled = read.read | "SamplePatches" >> SamplePatches(self.settings, kinds_of(self.weights))
        finished = [read[FINISHED], sampled[FINISHED]]
        if self.weights:
            sources = tuple(self.weights)
            routes = sampled.sampled | "Route" >> beam.Partition(route_of, len(sources), sources)
            finished += map(self.judge, routes, self.weights.values())
        return tuple(finished)

    def judge(self, patches: beam.PCollection[ImagePatches], weights: PinnedWeights) -> beam.PCollection[ImageRecord]:
        """The records of images that are judged by these weights."""
        auto = weights.rule if self.settings.patches == AUTO else None
        handler = Q1NetHandler(weights.source, weights.sha256, self.accelerator is not None, auto)
        if self.redistribute:
            patches = patches | f"RedistributePatches {weights.variant}" >> beam.Reshuffle()
        return (
            patches
            | f"EstimateQuality {weights.variant}" >> EstimateQuality(handler, self.accelerator, self.inference_ram)
            | f"FusePredictions {weights.variant}" >> FusePredictions(weights)
        )


@dataclass
class EstimateImages(beam.PTransform):
    """uri or ListedImage -> ImageRecord, exactly one for each: EstimateRoutes in one PCollection."""

    settings: EstimatorSettings
    weights: Mapping[str, PinnedWeights]
    accelerator: str | None = None
    redistribute: bool = True
    inference_ram: str | None = None

    def expand(self, images: beam.PCollection[str | ListedImage]) -> beam.PCollection[ImageRecord]:
        """One output, in no order."""
        routes = EstimateRoutes(self.settings, self.weights, self.accelerator, self.redistribute, self.inference_ram)
        return images | "EstimateRoutes" >> routes | "Finished" >> beam.Flatten()


def route_of(patches: ImagePatches, _routes: int, sources: Sequence[str]) -> int:
    """The number of the weights that are to judge an image."""
    return sources.index(patches.weights or "")
