"""The steps of an evaluation on one element: compress, sample, fuse, measure.

An element is ``(truth, item)``: what is known of a compressed image travels beside it, through the steps of an audit.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from typing import Any

from apache_beam.pvalue import TaggedOutput

from pipelines import transforms
from pipelines.runtime import counters
from pipelines.transforms import FINISHED, Encoded
from q1net_core.arrays import UInt8Array
from q1net_core.errors import ImageError
from q1net_core.estimator import sample_image
from q1net_core.images.decode import decode
from q1net_core.records import ImagePatches, ImageRecord, ListedImage, PatchPredictions, Status
from q1net_core.sampling import InputKind
from q1net_core.settings import EstimatorSettings, PinnedWeights


@dataclass(frozen=True, slots=True)
class Truth:
    """What is known of one compressed image: its study compressed it at ``level``.

    A study that knows more has a subclass.
    """

    level: int


# Pixels and the cases of a study -> the truth and the bytes of each file that is estimated.
Make = Callable[[UInt8Array, Sequence[Any]], Iterable[tuple[Truth, bytes]]]
# One compressed image -> what a network with this kind of input sees, or its record where it is finished without one;
# once or several times.
Sample = Callable[[Any, Encoded, EstimatorSettings, InputKind], Iterable[tuple[Truth, ImagePatches | ImageRecord]]]
# One estimated image -> the key under which its statistic is added up, and the statistic, anything with ``+``.
Measure = Callable[[Any, ImageRecord], tuple[Any, Any]]


@contextmanager
def usable(image: ListedImage) -> Iterator[None]:
    """An image that cannot be used stops the evaluation: without it, the figures would be of other images."""
    try:
        yield
    except ImageError as error:
        raise RuntimeError(f"{image.uri} is not usable for evaluation: {error.status}: {error}") from error


def accept(record: ImageRecord) -> ImageRecord:
    """The record of an image that was decoded; any other stops the evaluation."""
    if record.status is not Status.OK:
        raise RuntimeError(f"{record.image.uri} is not usable for evaluation: {record.status}: {record.error}")
    return record


def refuse(record: ImageRecord) -> Iterator[tuple[Truth, ImageRecord]]:
    """The record of an image that cannot be read stops the evaluation; nothing comes out."""
    accept(record)
    yield from ()


def compress(lossless: Encoded, make: Make, cases: Sequence[Any]) -> Iterator[tuple[Truth, Encoded]]:
    """A lossless image -> the files that a study makes of it, each with its truth."""
    image, encoded = lossless
    with usable(image):
        pixels = decode(encoded).pixels
    for truth, compressed in make(pixels, cases):
        yield truth, (replace(image, size_bytes=len(compressed)), compressed)


def sample_as_audit(
    truth: Truth, encoded: Encoded, settings: EstimatorSettings, kind: InputKind
) -> Iterator[tuple[Truth, ImagePatches | ImageRecord]]:
    """What an audit samples, which knows nothing of the truth."""
    yield truth, sample_image(*encoded, settings, dict.fromkeys(settings.all_weights, kind), counters.timed)


def sample(
    known: tuple[Truth, Encoded], sample_one: Sample, settings: EstimatorSettings, kind: InputKind
) -> Iterator[Any]:
    """What a study samples of one compressed image: (truth, patches), or (truth, record) on the output FINISHED."""
    with usable(known[1][0]), counters.timed("sample_usec"):
        sampled = list(sample_one(*known, settings, kind))
    for truth, item in sampled:
        if isinstance(item, ImageRecord):
            yield TaggedOutput(FINISHED, (truth, transforms.count_row(accept(item))))
        else:
            yield truth, item


def fuse(known: tuple[Truth, PatchPredictions], weights: PinnedWeights) -> tuple[Truth, ImageRecord]:
    """The finished record of one image, with its truth."""
    truth, predictions = known
    return truth, transforms.fuse(predictions, weights)


def measure(known: tuple[Truth, ImageRecord], measure_one: Measure, candidate: int) -> tuple[tuple[int, Any], Any]:
    """The statistic of one image, under the candidate's number and the study's own key."""
    key, statistic = measure_one(*known)
    return (candidate, key), statistic


def add_up(statistics: Iterable[Any]) -> Any:
    """The sum of one statistic or more; associative, as Beam's combiners need it."""
    return reduce(add, statistics)


def quality_of(record: ImageRecord) -> float | None:
    """The lattice's quality where it accepts, else the network's, None where neither has one.

    Errors are of all estimates, also of those that an audit withholds because their interval is wide.
    """
    if record.lattice.quality is not None:
        return record.lattice.quality
    return record.network.quality if record.network else None
