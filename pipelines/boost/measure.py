"""All of one lossless picture: files of the codec, the control and the patterns at every level, and their rows."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from pipelines.boost.references import REFERENCES
from q1net_core.arrays import UInt8Array
from q1net_core.boost.bases import BASES
from q1net_core.boost.measures import Curve, ms_ssim, psnr
from q1net_core.boost.model import BoostModel, read_boost_model
from q1net_core.boost.picture import boost, show
from q1net_core.errors import WeightsError

Row = dict[str, Any]
CODEC, FILTER, PATTERNS = DESIGNS = ("codec", "filter", "patterns")


@lru_cache(maxsize=1)
def read_pinned_model(source: str, sha256: str) -> BoostModel:
    """The model that a run was started with, where one of its workers reads it; raises WeightsError for another."""
    model = read_boost_model(source)
    if model.sha256 != sha256:
        raise WeightsError(f"model {source} has sha256 {model.sha256} on this worker; the run started with {sha256}")
    return model


def measure_picture(
    uri: str, pixels: UInt8Array, model: BoostModel, levels: Sequence[int], references: Sequence[str]
) -> list[Row]:
    """One row for each file of a picture, with its gains at the picture's own equal rate."""
    rows = [row for level in levels for row in measure_level(pixels, model, level)]
    for name in references:
        rows += [measure_reference(pixels, name, level) for level in REFERENCES[name].curve]
    for row in rows:
        row["uri"] = uri
    add_gains(rows, model.base)
    return rows


def measure_level(pixels: UInt8Array, model: BoostModel, level: int) -> Iterator[Row]:
    """The three files of one level, each measured as its own decoder shows it."""
    base, (height, width) = BASES[model.base], pixels.shape[:2]
    boosted = boost(pixels, level, model)
    size = len(boosted.stream)

    def measure(design: str, length: int, decoded: UInt8Array) -> Row:
        side = len(boosted.file) - len(boosted.control) if design == PATTERNS else 0
        header = length - size - side
        return to_row(model.base, level, design, pixels, length, decoded, base=size, side=side, header=header)

    yield measure(CODEC, size, base.decode_checked(boosted.stream, height, width))
    control = show(boosted.control, model)
    yield measure(FILTER, len(boosted.control), control)
    yield measure(PATTERNS, len(boosted.file), control if boosted.indices is None else show(boosted.file, model))


def measure_reference(pixels: UInt8Array, name: str, level: int) -> Row:
    """One file of a codec that others are compared with."""
    length, decoded = REFERENCES[name].compress(pixels, level)
    return to_row(name, level, CODEC, pixels, length, decoded, base=length)


def to_row(
    codec: str, level: int, design: str, pixels: UInt8Array, length: int, decoded: UInt8Array, **parts: int
) -> Row:
    """What is known of one file by itself; ``parts`` are its bytes of ``base``, ``side`` and ``header``."""
    return {
        "codec": codec,
        "level": level,
        "design": design,
        "base_bytes": parts["base"],
        "side_bytes": parts.get("side", 0),
        "header_bytes": parts.get("header", 0),
        "bpp": 8 * length / (pixels.shape[0] * pixels.shape[1]),
        "psnr": psnr(pixels, decoded),
        "msssim": ms_ssim(pixels, decoded),
    }


def add_gains(rows: Sequence[Row], codec: str) -> None:
    """Add to each row what it gains over codec and control of the same picture at its own rate, in dB.

    None for references, for the design itself, and where the other curve does not reach the rate.
    """
    for quality, suffix in (("psnr", "db"), ("msssim", "msssim")):
        curves = {design: curve_of(rows, codec, design, quality) for design in (CODEC, FILTER)}
        for row in rows:
            for design in (CODEC, FILTER):
                beyond = DESIGNS.index(row["design"]) > DESIGNS.index(design) and row["codec"] == codec
                at = curves[design].quality_at(row["bpp"]) if beyond else None
                known = at is not None and row[quality] is not None
                row[f"net_{suffix}_{design}"] = row[quality] - at if known else None


def curve_of(rows: Sequence[Row], codec: str, design: str, quality: str) -> Curve:
    """The curve of one picture, or of means."""
    chosen = [row for row in rows if row["codec"] == codec and row["design"] == design and row[quality] is not None]
    return Curve.through([(row["bpp"], row[quality]) for row in chosen])
