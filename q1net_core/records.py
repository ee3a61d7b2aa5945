"""Every data type that travels between the steps, on one page.

Layer: standard library and numpy only. All records are immutable and picklable.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from q1net_core.arrays import Float32Array as Float32Array
from q1net_core.arrays import UInt8Array as UInt8Array

# Pairs of (fused quality, true quality), ascending in both.
Calibration = tuple[tuple[float, float], ...]


class Verdict(StrEnum):
    """What an image has been through: the ``verdict`` column."""

    SINGLE = "single"
    RECOMPRESSED = "recompressed"
    STRIPPED = "stripped"
    ALTERED = "altered"
    PRISTINE = "pristine"
    UNSURE = "unsure"


class Status(StrEnum):
    """Why an image has an estimate (``ok``) or has none: the ``status`` column."""

    OK = "ok"
    MISSING = "missing"
    UNREADABLE = "unreadable"
    EMPTY = "empty"
    UNSUPPORTED = "unsupported"
    CORRUPT = "corrupt"
    TOO_SMALL = "too_small"
    TOO_LARGE = "too_large"


class Stop(StrEnum):
    """Why no more patches of an image were looked at: the ``patches_stop`` column."""

    AGREES = "agrees"
    NARROW = "narrow"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Member:
    """Where an archive keeps one of its files, so that it can be read by itself.

    ``packing`` is ``stored`` (``length`` bytes at ``offset``), ``zip`` (there with a local header, perhaps deflated),
    ``gzip`` (there once the whole archive is unpacked) or ``parquet`` (row ``offset`` of a table).
    """

    packing: str
    offset: int
    length: int = 0


@dataclass(frozen=True, slots=True)
class ListedImage:
    """One input as its store lists it; ``version`` is an etag or generation where the store has one.

    ``carried`` are values of a manifest, by the names of their columns. ``member`` is for files inside of archives.
    """

    uri: str
    size_bytes: int | None = None
    version: str | None = None
    modified: datetime | None = None
    group: str | None = None
    carried: tuple[tuple[str, str | None], ...] = ()
    member: Member | None = None


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """Pixels as decoded: ``pixels`` uint8 [height, width, 3] RGB, EXIF orientation not applied.

    ``coded`` uint8 [height, width] is a JPEG's luma as it was coded, where ``pixels`` do not give it, else None. Of
    planes that were coded each by itself (RGB, CMYK) it is the busiest. Of YCCK it is luma, 0 where the decoder clipped
    a colour and luma is lost.
    """

    pixels: UInt8Array
    format: str
    mode: str
    coded: UInt8Array | None = None


@dataclass(frozen=True, slots=True)
class JpegHeader:
    """What a JPEG file says of its own compression, without decoding it.

    ``quality`` is the libjpeg level (1-100) that the tables mean, an integer where ``match`` is ``exact``.
    ``luma_quality`` and ``chroma_quality`` are exact levels of each table, judged separately; None if not standard.
    ``tables`` are the quantization tables in component order without repeats, each 64 steps in natural (row) order.
    """

    width: int
    height: int
    components: int
    precision: int
    progressive: bool
    subsampling: str
    scans: int
    tables: tuple[tuple[int, ...], ...]
    tables_md5: str
    quality: float | None
    match: str
    luma_quality: int | None
    chroma_quality: int | None


@dataclass(frozen=True, slots=True)
class LatticeEstimate:
    """What the lattice of DCT coefficients tells; ``quality`` is None where it abstains, and then most else is.

    ``quality`` is the libjpeg level, 1-100, of the coarsest table found, nearest where the table is not libjpeg's;
    ``match`` and ``level`` say whose table it is and that encoder's own level; ``last_quality`` is the level of the
    last compression, above ``quality`` if a coarser one lies under it. ``margin`` is in nats above the next level;
    ``ties`` are the libjpeg levels that are not told apart from ``quality``. ``steps`` are the 64 steps in natural
    order, 0 where unknown. ``grid`` is the phase (x, y) of the block grid, each 0..7. ``evidence`` is about 1 on a
    lattice: of plain pictures it is the share of blocks that the table reproduces. ``busy_blocks`` of the blocks that
    were looked at, 256 at most, are so busy that a lattice would show.
    """

    quality: float | None = None
    margin: float | None = None
    match: str | None = None
    level: int | None = None
    ties: tuple[int, ...] = ()
    last_quality: float | None = None
    evidence: float | None = None
    steps: tuple[int, ...] | None = None
    grid: tuple[int, int] | None = None
    busy_blocks: int = 0


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """Facts about the file; fields stay None where the bytes did not tell."""

    width: int | None = None
    height: int | None = None
    format: str | None = None
    mode: str | None = None
    header: JpegHeader | None = None


@dataclass(frozen=True, slots=True)
class ImagePatches:
    """What a network sees of one image, ``patches`` uint8 [N, h, w, 3]; ``weights`` are those that are to judge it."""

    image: ListedImage
    info: ImageInfo
    lattice: LatticeEstimate
    patches: UInt8Array
    weights: str | None = None


@dataclass(frozen=True, slots=True)
class PatchPredictions:
    """One image's predictions: ``quality`` and ``confidence`` float32 [N], both 0-100, and why N are enough."""

    image: ListedImage
    info: ImageInfo
    lattice: LatticeEstimate
    quality: Float32Array
    confidence: Float32Array
    stop: Stop = Stop.ALL


@dataclass(frozen=True, slots=True)
class Estimate:
    """What the network tells of one image; the first three values are None together, when no patch is confident.

    ``quality`` 1-100, ``confidence`` 0-100, ``spread`` is the interquartile range of the patches used. The true level
    lies between ``low`` and ``high`` with 90 %; None where the weights' card has no intervals. ``variant`` and
    ``weights_sha256`` say which weights these are, ``stop`` why no more patches were looked at.
    """

    quality: float | None
    confidence: float | None
    spread: float | None
    patches: int
    patches_used: int
    low: float | None = None
    high: float | None = None
    variant: str | None = None
    weights_sha256: str | None = None
    stop: Stop | None = None


@dataclass(frozen=True, slots=True)
class IntervalTable:
    """Ends of 90 % intervals, truth minus estimate, for estimates from at least ``patches`` patches.

    ``qualities`` are borders between bands of quality, ascending. Each band has borders between cells of spread in
    ``spreads``, and one value more, a cell's, in ``low`` and in ``high``.
    """

    patches: int
    qualities: tuple[float, ...]
    spreads: tuple[tuple[float, ...], ...]
    low: tuple[tuple[float, ...], ...]
    high: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class FusionRule:
    """A rule of FUSIONS with what was chosen for it on validation images: confidence threshold 0-100, calibration.

    ``intervals`` are tables for fewer and fewer patches.
    """

    fusion: str
    threshold: float
    calibration: Calibration = ()
    intervals: tuple[IntervalTable, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """The ``quality`` of an image, 1-100, and the estimator it is from, ``lattice`` or ``q1net``; None together.

    The true level lies between ``low`` and ``high`` with 90 %. They may be known where the quality is not given because
    they are too far apart.
    """

    quality: float | None = None
    source: str | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """Everything known of one input when the work on it is done: exactly one of these per input.

    ``error`` is None and ``verdict`` is there if, and only if, ``status`` is ``ok``. ``network`` is None where the
    network was not asked.
    """

    image: ListedImage
    status: Status
    error: str | None
    info: ImageInfo
    lattice: LatticeEstimate
    network: Estimate | None
    answer: Answer
    verdict: Verdict | None
