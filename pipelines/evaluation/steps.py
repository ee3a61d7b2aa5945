"""The steps of an evaluation on one element: compress, label with what is known, sample, compare with the truth."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import reduce
from operator import add
from typing import Any

from pipelines.evaluation import photoshop
from pipelines.transforms import Encoded
from q1net_core import storage
from q1net_core.codecs.jpeg import encode_jpeg
from q1net_core.errors import ImageError
from q1net_core.images.decode import decode
from q1net_core.metrics import BANDS, LEVELS, QualityErrors
from q1net_core.patches import sample_patches
from q1net_core.records import ImageInfo, ImagePatches, ImageRecord, LatticeEstimate, ListedImage, Status, UInt8Array
from q1net_core.sampling import InputKind, sample

# Which of the evaluation's weights, and how many patches per image.
Case = tuple[int, int]


@contextmanager
def usable(image: ListedImage) -> Iterator[None]:
    """Whatever is wrong with one image stops the evaluation, which would be of other images without it."""
    try:
        yield
    except ImageError as error:
        raise RuntimeError(f"{image.uri} is not usable for evaluation: {error.status}: {error}") from error


def accept(record: ImageRecord) -> ImageRecord:
    """A record that was finished without Q1Net; an image that gave no pixels stops the evaluation."""
    if record.status is not Status.OK:
        raise RuntimeError(f"{record.image.uri} is not usable for evaluation: {record.status}: {record.error}")
    return record


def label(image: ListedImage, **facts: Any) -> ListedImage:
    """What is known of a compressed image (``level``, ``patches``, ``psnr`` ...) travels as its group."""
    return replace(image, group=json.dumps(read_label(image) | facts), size_bytes=None)


def read_label(image: ListedImage) -> dict[str, Any]:
    """What ``label`` wrote."""
    return dict(json.loads(image.group)) if image.group else {}


def read_pixels(lossless: Encoded) -> UInt8Array:
    """Pixels of an image, which must be usable."""
    image, encoded = lossless
    with usable(image):
        return decode(encoded).pixels


def compress_levels(lossless: Encoded, levels: tuple[int, ...], patches: int) -> Iterator[Encoded]:
    """A lossless image -> its JPEG files at libjpeg's levels, labelled."""
    pixels = read_pixels(lossless)
    for level in levels:
        yield label(lossless[0], level=level, patches=patches), encode_jpeg(pixels, level)


def compress_photoshop(lossless: Encoded, levels: tuple[int, ...], patches: int) -> Iterator[Encoded]:
    """A lossless image -> its JPEG files at Photoshop's levels, labelled."""
    pixels = read_pixels(lossless)
    for level in levels:
        compressed, psnr = photoshop.compress(pixels, level)
        yield label(lossless[0], level=level, patches=patches, psnr=psnr), compressed


def sample_sizes(encoded: Encoded, sizes: tuple[int, ...]) -> Iterator[ImagePatches]:
    """A JPEG file, decoded once -> its patches for every number of patches."""
    pixels = read_pixels(encoded)
    for size in sizes:
        with usable(encoded[0]):
            patches = sample_patches(pixels, size)
        yield ImagePatches(label(encoded[0], patches=size), ImageInfo(), LatticeEstimate(), patches)


def sample_on_grid(encoded: Encoded, patches: int, kind: InputKind) -> Iterator[ImagePatches]:
    """A file whose label names its block grid, if one is left -> what a network sees of it on that grid."""
    pixels = read_pixels(encoded)
    x, y = read_label(encoded[0])["grid"] or (0, 0)
    with usable(encoded[0]):
        yield ImagePatches(encoded[0], ImageInfo(), LatticeEstimate(), sample(pixels, kind, patches, (x, y)))


def to_errors(record: ImageRecord, weights: int) -> tuple[Case, QualityErrors]:
    """The error of one estimate, under its case."""
    facts = read_label(record.image)
    return (weights, facts["patches"]), QualityErrors.of(facts["level"], record.answer.quality)


def to_row(record: ImageRecord, weights: int) -> photoshop.Row:
    """One row of the Photoshop study."""
    facts, uri = read_label(record.image), storage.printable_uri(record.image.uri)
    return dict(zip(photoshop.COLUMNS, (uri, facts["level"], record.answer.quality, facts["psnr"]), strict=True))


def add_errors(errors: Iterable[QualityErrors]) -> QualityErrors:
    """The sum of any number of errors; associative, as Beam's combiners need it."""
    return reduce(add, errors, QualityErrors())


def describe(errors: QualityErrors) -> dict[str, Any]:
    """Metrics by band and by level, and the confusion counts."""
    return {
        "bands": [{"levels": [low, high]} | errors.band(low, high) for low, high in BANDS],
        "levels": [{"level": level} | errors.band(level, level) for level in range(1, LEVELS + 1)],
        "confusion": errors.confusion.tolist(),
    }
