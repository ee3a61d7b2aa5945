"""The whole estimate of one image in one process: the reference that the pipelines are tested against.

Layer: all of q1net_core; no beam, no pyarrow. Keras is loaded only where a model is.

The steps are read -> sample -> predict -> fuse. A step that fails for an image returns its finished record instead.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cache
from typing import Protocol

import numpy as np

from q1net_core import storage
from q1net_core.arrays import Float32Array, UInt8Array
from q1net_core.errors import ImageError
from q1net_core.fusion import estimate_quality
from q1net_core.images.decode import Limits, decode
from q1net_core.intervals import add_interval
from q1net_core.jpeg.header import read_jpeg_header
from q1net_core.lattice.estimate import estimate_lattice
from q1net_core.network.predictor import Predictor
from q1net_core.network.weights import read_pinned
from q1net_core.patches import check_patch_fits, cut_patches, first_blocks, patch_fits
from q1net_core.records import (
    Answer,
    Estimate,
    FusionRule,
    ImageInfo,
    ImagePatches,
    ImageRecord,
    LatticeEstimate,
    ListedImage,
    PatchPredictions,
    Status,
)
from q1net_core.sampling import PATCHES, InputKind, sample
from q1net_core.settings import AUTO, EstimatorSettings, PinnedWeights
from q1net_core.stopping import BOUNDS, ROUNDS, Bounds, find_stop
from q1net_core.verdict import choose_answer, judge

# The bytes of a listed image, at most so many, or ImageError.
Reader = Callable[[ListedImage, int], bytes]
Timed = Callable[[str], AbstractContextManager[None]]


def untimed(_: str) -> AbstractContextManager[None]:
    """Where nobody wants to know how long a step takes."""
    return nullcontext()


class PatchModel(Protocol):
    """Anything that predicts like Predictor: samples uint8 [N, h, w, 3] -> quality and confidence, float32 [N] each."""

    def predict(self, samples: UInt8Array) -> tuple[Float32Array, Float32Array]:
        """Quality and confidence of each sample, 0-100."""
        ...


def finish(
    image: ListedImage,
    info: ImageInfo = ImageInfo(),  # noqa: B008 (frozen)
    lattice: LatticeEstimate = LatticeEstimate(),  # noqa: B008 (frozen)
    network: Estimate | None = None,
    error: ImageError | None = None,
) -> ImageRecord:
    """The finished record of an image: its answer is chosen and its verdict given here, and nowhere else.

    With an ``error`` its status is the error's; it has no answer and no verdict, but what is known of the file.
    """
    if error is not None:
        return ImageRecord(image, error.status, error.message, info, lattice, network, Answer(), None)
    verdict = judge(info.header, lattice, network)
    return ImageRecord(image, Status.OK, None, info, lattice, network, choose_answer(lattice, network), verdict)


def read_file(image: ListedImage, max_bytes: int) -> bytes:
    """The bytes of an image that is a file by itself; raises ImageError."""
    return storage.read_bytes(image.uri, max_bytes)


def read_image(image: ListedImage, limits: Limits, read: Reader = read_file) -> bytes | ImageRecord:
    """Encoded bytes of a listed image; ``too_large`` is judged before reading where the store gave a size."""
    try:
        if image.size_bytes is not None and image.size_bytes > limits.max_bytes:
            raise ImageError(
                Status.TOO_LARGE, f"file has {image.size_bytes} bytes; the limit is {limits.max_bytes} (--max-bytes)"
            )
        return read(image, limits.max_bytes)
    except ImageError as error:
        return finish(image, error=error)


def sample_image(
    image: ListedImage,
    encoded: bytes,
    settings: EstimatorSettings,
    kinds: Mapping[str, InputKind] = {},
    timed: Timed = untimed,
) -> ImagePatches | ImageRecord:
    """Decode, try the lattice, cut what the network sees, on the grid it found; pixels never leave this function.

    ``kinds`` are those of the networks' inputs, by their weights; PATCHES for those left out. ``timed`` is entered for
    ``decode_usec`` and ``lattice_usec``. Returns the finished record where no network is wanted.
    """
    if image.size_bytes is None:
        image = replace(image, size_bytes=len(encoded))
    header = read_jpeg_header(encoded)
    # All that is known of a JPEG file whose pixels cannot be had.
    info = ImageInfo(header.width, header.height, "JPEG", None, header) if header else ImageInfo()
    try:
        with timed("decode_usec"):
            decoded = decode(encoded, settings.limits)
        height, width = decoded.pixels.shape[:2]
        info = ImageInfo(width, height, decoded.format, decoded.mode, header)
        # Whatever the lattice finds, and whatever it leads to, the same images are too small.
        check_patch_fits(height, width)
        for kind in kinds.values():
            kind.check_size(height, width)
    except ImageError as error:
        return finish(image, info, error=error)
    coded = decoded.pixels if decoded.coded is None else decoded.coded
    lattice = LatticeEstimate()
    if "lattice" in settings.estimators:
        with timed("lattice_usec"):
            lattice = estimate_lattice(coded)
    weights = settings.weights_for(accepted=lattice.quality is not None)
    if weights is None:
        return finish(image, info, lattice)
    grid = choose_grid(lattice.grid, height, width)
    kind = kinds.get(weights, PATCHES)
    patches = sample(decoded.pixels, kind, settings.most_patches, grid)
    if settings.patches == AUTO and kind == PATCHES:
        patches = cut_patches(decoded.pixels, first_blocks(height, width, len(patches), settings.most_patches, grid))
    return ImagePatches(image, info, lattice, patches, weights)


def choose_grid(found: tuple[int, int] | None, height: int, width: int) -> tuple[int, int]:
    """Phase of the grid that patches are cut on: the one the lattice ``found`` where a patch fits, else (0, 0)."""
    return found if found and patch_fits(height, width, found) else (0, 0)


def predict_patches(model: PatchModel, batch: Sequence[ImagePatches]) -> list[PatchPredictions]:
    """Predictions for many images, each by calls of its own: an image's do not depend on which images share its batch.

    So it should be on a CPU, where larger calls are no faster.
    """
    return [PatchPredictions(item.image, item.info, item.lattice, *model.predict(item.patches)) for item in batch]


def predict_in_rounds(model: PatchModel, batch: Sequence[ImagePatches], rule: FusionRule) -> list[PatchPredictions]:
    """The same for images whose patches are in spread order, each with no more of them than q1net_core.stopping wants.

    ``rule`` is that of the model's weights.
    """
    return [predict_until_enough(model, item, rule) for item in batch]


def predict_until_enough(
    model: PatchModel, item: ImagePatches, rule: FusionRule, bounds: Bounds = BOUNDS
) -> PatchPredictions:
    """Predictions for one image, round by round."""
    quality, confidence = np.empty(0, np.float32), np.empty(0, np.float32)
    for end in ROUNDS:
        if end >= len(item.patches):
            break
        more = model.predict(item.patches[len(quality) : end])
        quality, confidence = np.append(quality, more[0]), np.append(confidence, more[1])
        estimate = add_interval(estimate_quality(quality, confidence, rule), rule.intervals)
        if (stop := find_stop(estimate, item.lattice, bounds)) is not None:
            return PatchPredictions(item.image, item.info, item.lattice, quality, confidence, stop)
    more = model.predict(item.patches[len(quality) :])
    quality, confidence = np.append(quality, more[0]), np.append(confidence, more[1])
    return PatchPredictions(item.image, item.info, item.lattice, quality, confidence)


def predict_together(model: PatchModel, batch: Sequence[ImagePatches]) -> list[PatchPredictions]:
    """Predictions for many images in one call of the model, split back by image; what accelerators want.

    The last bits of an image's predictions may depend on the others of its batch.
    """
    if len({item.patches.shape[1:] for item in batch}) != 1:
        return predict_patches(model, batch)
    quality, confidence = model.predict(np.concatenate([item.patches for item in batch]))
    ends = np.cumsum([len(item.patches) for item in batch])[:-1]
    return [
        PatchPredictions(item.image, item.info, item.lattice, q, c)
        for item, q, c in zip(batch, np.split(quality, ends), np.split(confidence, ends), strict=True)
    ]


def fuse_predictions(predictions: PatchPredictions, weights: PinnedWeights) -> ImageRecord:
    """One image's predictions by ``weights`` -> its finished record."""
    estimate = estimate_quality(predictions.quality, predictions.confidence, weights.rule)
    network = add_interval(estimate, weights.rule.intervals)
    network = replace(network, variant=weights.variant, weights_sha256=weights.sha256, stop=predictions.stop)
    return finish(predictions.image, predictions.info, predictions.lattice, network)


@cache
def load_network(weights: PinnedWeights) -> PatchModel:
    """The loaded network of these weights, kept in this process.

    Raises:
        WeightsError: the weights cannot be used, or have become others.
    """
    return Predictor(read_pinned(weights.source, weights.sha256))


def estimate_image(
    image: ListedImage,
    settings: EstimatorSettings,
    weights: Mapping[str, PinnedWeights],
    load: Callable[[PinnedWeights], PatchModel] = load_network,
    read: Reader = read_file,
) -> ImageRecord:
    """Everything in one call: read, decode, sample, predict, fuse.

    ``weights`` are ``settings.pin_all(settings.read_weights())``. Each network is loaded with the first image that
    needs it.
    """
    encoded = read_image(image, settings.limits, read)
    if isinstance(encoded, ImageRecord):
        return encoded
    sampled = sample_image(image, encoded, settings, kinds_of(weights))
    if isinstance(sampled, ImageRecord):
        return sampled
    pinned = weights[sampled.weights or ""]
    model = load(pinned)
    if settings.patches == AUTO:
        return fuse_predictions(predict_until_enough(model, sampled, pinned.rule), pinned)
    return fuse_predictions(predict_patches(model, [sampled])[0], pinned)


def kinds_of(weights: Mapping[str, PinnedWeights]) -> dict[str, InputKind]:
    """What the network of each of these weights sees of an image."""
    return {source: pinned.input for source, pinned in weights.items()}
