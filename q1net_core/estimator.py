"""The whole estimate of one image in one process: the reference that the pipelines are tested against.

Layer: all of q1net_core; no beam, no pyarrow. Keras is loaded only where a model is (weights.py).

The steps are read -> sample -> predict -> fuse. A step that fails for an image returns its finished record instead.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from q1net_core import fusion, storage
from q1net_core.errors import ConfigError, ImageError
from q1net_core.images.decode import Limits, decode
from q1net_core.jpeg.header import read_jpeg_header
from q1net_core.lattice.estimate import estimate_lattice
from q1net_core.patches import DEFAULT_PATCHES, check_patch_fits, patch_fits, side_of
from q1net_core.records import (
    Calibration,
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


class PatchModel(Protocol):
    """Anything that predicts like Q1Net: patches uint8 [N, 16, 16, 3] -> quality and confidence, float32 [N] each."""

    def predict(self, patches: UInt8Array) -> tuple[Float32Array, Float32Array]:
        """Quality and confidence of each patch, 0-100."""
        ...


ESTIMATORS = ("lattice", "q1net")


@dataclass(frozen=True, slots=True)
class EstimatorConfig:
    """How images are sampled and judged: ``patches`` per image (a square), the fusion rule, decoding ``limits``.

    ``estimators`` of ESTIMATORS run; with ``cascade`` Q1Net runs only where the lattice abstains.
    """

    threshold: float
    patches: int = DEFAULT_PATCHES
    fusion: str = "paper"
    calibration: Calibration = ()
    limits: Limits = field(default_factory=Limits)
    estimators: tuple[str, ...] = ESTIMATORS
    cascade: bool = False

    def __post_init__(self) -> None:
        side_of(self.patches)
        if not 0 <= self.threshold < 100:
            raise ConfigError(f"confidence threshold is {self.threshold}; expected 0 <= threshold < 100")
        if self.fusion not in fusion.FUSIONS:
            raise ConfigError(f"fusion is {self.fusion!r}; expected one of {', '.join(fusion.FUSIONS)}")
        if not self.estimators or not set(self.estimators) <= set(ESTIMATORS):
            raise ConfigError(
                f"estimators are {', '.join(self.estimators) or 'none'}; expected some of {', '.join(ESTIMATORS)}"
            )
        if self.cascade and set(self.estimators) != set(ESTIMATORS):
            raise ConfigError(f"cascade needs both estimators, {' and '.join(ESTIMATORS)}")


def configure(
    rule: FusionRule,
    threshold: float | None = None,
    patches: int = DEFAULT_PATCHES,
    limits: Limits = Limits(),  # noqa: B008 (frozen)
    estimators: tuple[str, ...] = ESTIMATORS,
    cascade: bool = False,
) -> EstimatorConfig:
    """The config of a fusion rule, with another threshold than the chosen one if it is given."""
    chosen = rule.threshold if threshold is None else threshold
    return EstimatorConfig(chosen, patches, rule.fusion, rule.calibration, limits, estimators, cascade)


def failed(image: ListedImage, error: ImageError, info: ImageInfo = ImageInfo()) -> ImageRecord:  # noqa: B008 (frozen)
    """The record of an image that has no estimate, with what is known of it."""
    return ImageRecord(image, error.status, error.message, info, estimate=None)


def read_image(image: ListedImage, limits: Limits) -> bytes | ImageRecord:
    """Encoded bytes of a listed image; ``too_large`` is judged before reading where the store gave a size."""
    try:
        if image.size_bytes is not None and image.size_bytes > limits.max_bytes:
            raise ImageError(
                Status.TOO_LARGE, f"file has {image.size_bytes} bytes; the limit is {limits.max_bytes} (--max-bytes)"
            )
        return storage.read_bytes(image.uri, limits.max_bytes)
    except ImageError as error:
        return failed(image, error)


def sample_image(
    image: ListedImage, encoded: bytes, config: EstimatorConfig, kind: InputKind = PATCHES
) -> ImagePatches | ImageRecord:
    """Decode, try the lattice, cut what the network sees, on the grid it found; pixels never leave this function.

    ``kind`` is that of the network's input. Returns the finished record where the network is not wanted.
    """
    if image.size_bytes is None:
        image = replace(image, size_bytes=len(encoded))
    header = read_jpeg_header(encoded)
    info = ImageInfo(header=header)
    if header is not None:
        info = replace(info, width=header.width, height=header.height, format="JPEG")
    try:
        decoded = decode(encoded, config.limits)
        height, width = decoded.pixels.shape[:2]
        info = ImageInfo(width, height, decoded.format, decoded.mode, header)
        # Whatever runs, and whatever the lattice finds, the same images are too small.
        check_patch_fits(height, width)
        coded = decoded.pixels if decoded.coded is None else decoded.coded
        lattice = estimate_lattice(coded) if "lattice" in config.estimators else LatticeEstimate()
        info = replace(info, lattice=lattice)
        if "q1net" not in config.estimators or (config.cascade and lattice.quality is not None):
            return ImageRecord(image, Status.OK, None, info, estimate=None)
        grid = choose_grid(lattice.grid, height, width)
        return ImagePatches(image, info, sample(decoded.pixels, kind, config.patches, grid))
    except ImageError as error:
        return failed(image, error, info)


def choose_grid(found: tuple[int, int] | None, height: int, width: int) -> tuple[int, int]:
    """Phase of the grid that patches are cut on: the one the lattice ``found`` where a patch fits, else (0, 0)."""
    return found if found and patch_fits(height, width, found) else (0, 0)


def predict_patches(model: PatchModel, batch: Sequence[ImagePatches]) -> list[PatchPredictions]:
    """Predictions for many images, each by calls of its own: an image's do not depend on which images share its batch.

    So it should be on a CPU, where larger calls are no faster.
    """
    return [PatchPredictions(item.image, item.info, *model.predict(item.patches)) for item in batch]


def predict_together(model: PatchModel, batch: Sequence[ImagePatches]) -> list[PatchPredictions]:
    """Predictions for many images in one call of the model, split back by image; what accelerators want.

    The last bits of an image's predictions may depend on the others of its batch: 1e-3 levels at most.
    """
    if len({item.patches.shape[1:] for item in batch}) != 1:
        return predict_patches(model, batch)
    quality, confidence = model.predict(np.concatenate([item.patches for item in batch]))
    ends = np.cumsum([len(item.patches) for item in batch])[:-1]
    return [
        PatchPredictions(item.image, item.info, q, c)
        for item, q, c in zip(batch, np.split(quality, ends), np.split(confidence, ends), strict=True)
    ]


def fuse_predictions(predictions: PatchPredictions, config: EstimatorConfig) -> ImageRecord:
    """One image's predictions -> its finished record."""
    rule = fusion.FUSIONS[config.fusion]
    estimate = rule(predictions.quality, predictions.confidence, config.threshold)
    if estimate.quality is not None:
        estimate = replace(estimate, quality=fusion.calibrate(estimate.quality, config.calibration))
    return ImageRecord(predictions.image, Status.OK, None, predictions.info, estimate)


def estimate_image(
    image: ListedImage, model: PatchModel, config: EstimatorConfig, kind: InputKind = PATCHES
) -> ImageRecord:
    """Everything in one call: read, decode, sample, predict, fuse; ``kind`` is that of the model's input."""
    encoded = read_image(image, config.limits)
    if isinstance(encoded, ImageRecord):
        return encoded
    sampled = sample_image(image, encoded, config, kind)
    if isinstance(sampled, ImageRecord):
        return sampled
    return fuse_predictions(predict_patches(model, [sampled])[0], config)
