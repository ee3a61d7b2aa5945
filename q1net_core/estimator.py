"""The whole estimate of one image in one process: the reference that the pipelines are tested against.

Layer: all of q1net_core; no beam, no pyarrow. Keras is loaded only where a model is.

The steps are read -> sample -> predict -> fuse. A step that fails for an image returns its finished record instead.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from q1net_core import fusion, storage
from q1net_core.errors import ConfigError, ImageError
from q1net_core.images.decode import Limits, decode
from q1net_core.jpeg.header import read_jpeg_header
from q1net_core.lattice.estimate import estimate_lattice
from q1net_core.network.weights import WeightsFile
from q1net_core.patches import DEFAULT_PATCHES, check_patch_fits, patch_fits, side_of
from q1net_core.records import (
    Answer,
    Estimate,
    Float32Array,
    FusionRule,
    ImageInfo,
    ImagePatches,
    ImageRecord,
    LatticeEstimate,
    ListedImage,
    PatchPredictions,
    Status,
    UInt8Array,
)
from q1net_core.sampling import PATCHES, InputKind, sample
from q1net_core.verdict import choose_answer, judge


class PatchModel(Protocol):
    """Anything that predicts like Predictor: samples uint8 [N, h, w, 3] -> quality and confidence, float32 [N] each."""

    def predict(self, samples: UInt8Array) -> tuple[Float32Array, Float32Array]:
        """Quality and confidence of each sample, 0-100."""
        ...


ESTIMATORS = ("lattice", "q1net")
DEFAULT_WEIGHTS = "q1net-k8"


@dataclass(frozen=True, slots=True)
class EstimatorSettings:
    """How images are judged, in JSON types: what a user chooses, with the defaults of all commands.

    Args:
        weights: variant name, or URI of a .keras file.
        fusion: rule of FUSIONS; None takes the best one of the weights.
        threshold: confidence that a patch must exceed, 0-100; None takes the one chosen for the weights.
        patches: patches per image, a square number from 16 to 576.
        max_bytes, max_pixels: larger images get the status ``too_large``.
        estimators: which run, of ESTIMATORS.
        cascade: ask the network only where the lattice abstains.

    Raises:
        ConfigError: a value is out of range, or two do not go together.
    """

    weights: str = DEFAULT_WEIGHTS
    fusion: str | None = None
    threshold: float | None = None
    patches: int = DEFAULT_PATCHES
    max_bytes: int = Limits().max_bytes
    max_pixels: int = Limits().max_pixels
    estimators: tuple[str, ...] = ESTIMATORS
    cascade: bool = False

    def __post_init__(self) -> None:
        # JSON has lists only.
        object.__setattr__(self, "estimators", tuple(self.estimators))
        side_of(self.patches)
        Limits(self.max_bytes, self.max_pixels)
        if self.threshold is not None and not 0 <= self.threshold < 100:
            raise ConfigError(f"confidence threshold is {self.threshold}; expected 0 <= threshold < 100")
        if self.fusion is not None and self.fusion not in fusion.FUSIONS:
            raise ConfigError(f"fusion is {self.fusion!r}; expected one of {', '.join(fusion.FUSIONS)}")
        if not self.estimators or not set(self.estimators) <= set(ESTIMATORS):
            raise ConfigError(
                f"estimators are {', '.join(self.estimators) or 'none'}; expected some of {', '.join(ESTIMATORS)}"
            )
        if self.cascade and set(self.estimators) != set(ESTIMATORS):
            raise ConfigError(f"cascade needs both estimators, {' and '.join(ESTIMATORS)}")

    @property
    def limits(self) -> Limits:
        """The limits of decoding."""
        return Limits(self.max_bytes, self.max_pixels)

    def rule_of(self, weights: WeightsFile) -> FusionRule:
        """The fusion rule for weights; raises ConfigError if the wanted one was not chosen for them."""
        rule = weights.rule(self.fusion)
        return rule if self.threshold is None else replace(rule, threshold=self.threshold)


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


def read_image(image: ListedImage, limits: Limits) -> bytes | ImageRecord:
    """Encoded bytes of a listed image; ``too_large`` is judged before reading where the store gave a size."""
    try:
        if image.size_bytes is not None and image.size_bytes > limits.max_bytes:
            raise ImageError(
                Status.TOO_LARGE, f"file has {image.size_bytes} bytes; the limit is {limits.max_bytes} (--max-bytes)"
            )
        return storage.read_bytes(image.uri, limits.max_bytes)
    except ImageError as error:
        return finish(image, error=error)


def sample_image(
    image: ListedImage, encoded: bytes, settings: EstimatorSettings, kind: InputKind = PATCHES
) -> ImagePatches | ImageRecord:
    """Decode, try the lattice, cut what the network sees, on the grid it found; pixels never leave this function.

    ``kind`` is that of the network's input. Returns the finished record where the network is not wanted.
    """
    if image.size_bytes is None:
        image = replace(image, size_bytes=len(encoded))
    header = read_jpeg_header(encoded)
    # All that is known of a JPEG file whose pixels cannot be had.
    info = ImageInfo(header.width, header.height, "JPEG", None, header) if header else ImageInfo()
    try:
        decoded = decode(encoded, settings.limits)
        height, width = decoded.pixels.shape[:2]
        info = ImageInfo(width, height, decoded.format, decoded.mode, header)
        # Whatever runs, and whatever the lattice finds, the same images are too small.
        check_patch_fits(height, width)
        if "q1net" in settings.estimators:
            kind.check_size(height, width)
    except ImageError as error:
        return finish(image, info, error=error)
    coded = decoded.pixels if decoded.coded is None else decoded.coded
    lattice = estimate_lattice(coded) if "lattice" in settings.estimators else LatticeEstimate()
    if "q1net" not in settings.estimators or (settings.cascade and lattice.quality is not None):
        return finish(image, info, lattice)
    grid = choose_grid(lattice.grid, height, width)
    return ImagePatches(image, info, lattice, sample(decoded.pixels, kind, settings.patches, grid))


def choose_grid(found: tuple[int, int] | None, height: int, width: int) -> tuple[int, int]:
    """Phase of the grid that patches are cut on: the one the lattice ``found`` where a patch fits, else (0, 0)."""
    return found if found and patch_fits(height, width, found) else (0, 0)


def predict_patches(model: PatchModel, batch: Sequence[ImagePatches]) -> list[PatchPredictions]:
    """Predictions for many images, each by calls of its own: an image's do not depend on which images share its batch.

    So it should be on a CPU, where larger calls are no faster.
    """
    return [PatchPredictions(item.image, item.info, item.lattice, *model.predict(item.patches)) for item in batch]


def predict_together(model: PatchModel, batch: Sequence[ImagePatches]) -> list[PatchPredictions]:
    """Predictions for many images in one call of the model, split back by image; what accelerators want.

    The last bits of an image's predictions may depend on the others of its batch: 1e-3 levels at most.
    """
    if len({item.patches.shape[1:] for item in batch}) != 1:
        return predict_patches(model, batch)
    quality, confidence = model.predict(np.concatenate([item.patches for item in batch]))
    ends = np.cumsum([len(item.patches) for item in batch])[:-1]
    return [
        PatchPredictions(item.image, item.info, item.lattice, q, c)
        for item, q, c in zip(batch, np.split(quality, ends), np.split(confidence, ends), strict=True)
    ]


def fuse_predictions(predictions: PatchPredictions, rule: FusionRule) -> ImageRecord:
    """One image's predictions -> its finished record."""
    fuse = fusion.FUSIONS[rule.fusion]
    network = fuse(predictions.quality, predictions.confidence, rule.threshold)
    if network.quality is not None:
        network = replace(network, quality=fusion.calibrate(network.quality, rule.calibration))
    return finish(predictions.image, predictions.info, predictions.lattice, network)


def estimate_image(
    image: ListedImage, model: PatchModel, settings: EstimatorSettings, rule: FusionRule, kind: InputKind = PATCHES
) -> ImageRecord:
    """Everything in one call: read, decode, sample, predict, fuse.

    ``rule`` is the one for the model's weights, ``kind`` that of its input.
    """
    encoded = read_image(image, settings.limits)
    if isinstance(encoded, ImageRecord):
        return encoded
    sampled = sample_image(image, encoded, settings, kind)
    if isinstance(sampled, ImageRecord):
        return sampled
    return fuse_predictions(predict_patches(model, [sampled])[0], rule)
