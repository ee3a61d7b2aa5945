"""The study `photoshop`, section 3.4 of the paper: which libjpeg level do Photoshop's levels 0-12 look like?

Photoshop 7 keeps all chroma and quantizes luma harder than 6, so both the estimate and PSNR fall there.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from statistics import median

import numpy as np
import pyarrow as pa

from pipelines import text
from pipelines.evaluation import figures
from pipelines.evaluation.render import (
    Rendered,
    Row,
    describe_estimator,
    name_estimator,
    to_parquet,
    to_text,
)
from pipelines.evaluation.steps import Truth, quality_of
from pipelines.evaluation.study import Study
from q1net_core import storage
from q1net_core.arrays import UInt8Array
from q1net_core.codecs.base import load
from q1net_core.codecs.jpeg import encode_tables
from q1net_core.jpeg.tables import PHOTOSHOP_TABLES
from q1net_core.markdown import to_markdown
from q1net_core.records import ImageRecord

PHOTOSHOP_LEVELS = tuple(PHOTOSHOP_TABLES)
# One image at one level.
PHOTOSHOP_SCHEMA = pa.schema(
    [("image", pa.string()), ("level", pa.int32()), ("quality", pa.float64()), ("psnr", pa.float64())]
)
HEADER = ("Photoshop level", "subsampling", "images", "estimated level", "PSNR dB", "no estimate")


@dataclass(frozen=True, slots=True)
class PhotoshopTruth(Truth):
    """Also how much the compression changed the image: ``psnr`` in dB."""

    psnr: float


def measure_psnr(before: UInt8Array, after: UInt8Array) -> float:
    """Peak signal-to-noise ratio of RGB pixels of one shape, in dB; infinite if they are equal."""
    error = float(np.mean(np.square(before.astype(np.float64) - after)))
    return float(10 * np.log10(255**2 / error)) if error else float("inf")


def compress_by_photoshop(pixels: UInt8Array, levels: Sequence[int]) -> Iterator[tuple[PhotoshopTruth, bytes]]:
    """JPEG files with the tables and the subsampling of Photoshop's levels."""
    for level in levels:
        encoded = encode_tables(pixels, PHOTOSHOP_TABLES[level])
        yield PhotoshopTruth(level, measure_psnr(pixels, load(encoded))), encoded


def to_image_row(truth: PhotoshopTruth, record: ImageRecord) -> tuple[int, tuple[Row]]:
    """A row of PHOTOSHOP_SCHEMA, under its level: tuples of rows add up to longer ones."""
    image = storage.printable_uri(record.image.uri)
    return truth.level, ({"image": image, "level": truth.level, "quality": quality_of(record), "psnr": truth.psnr},)


def summarise(results: Mapping[tuple[int, int], tuple[Row, ...]], made_with: Sequence[Row]) -> Row:
    """All rows in order, and what the estimator was made with."""
    return made_with[0] | {"rows": sorted(chain.from_iterable(results.values()), key=itemgetter("image", "level"))}


def take_medians(rows: Sequence[Row]) -> Iterator[Row]:
    """Rows of PHOTOSHOP_SCHEMA -> one per level: images, answered, and the medians of quality and PSNR over images."""
    for level in sorted({row["level"] for row in rows}):
        of_level = [row for row in rows if row["level"] == level]
        answers = [row["quality"] for row in of_level if row["quality"] is not None]
        yield {
            "level": level,
            "subsampling": PHOTOSHOP_TABLES[level].subsampling,
            "images": len(of_level),
            "answered": len(answers),
            "quality": median(answers) if answers else None,
            "psnr": median(row["psnr"] for row in of_level),
        }


def count_inversions(rows: Iterable[Row]) -> tuple[int, int]:
    """How many images are estimated lower at Photoshop level 7 than at 6, and how many have lower PSNR there."""
    at = {(row["image"], row["level"]): row for row in rows}
    pairs = [(row, at[image, 7]) for (image, level), row in at.items() if level == 6 and (image, 7) in at]
    judged = [pair for pair in pairs if all(row["quality"] is not None for row in pair)]
    return (
        sum(seven["quality"] < six["quality"] for six, seven in judged),
        sum(seven["psnr"] < six["psnr"] for six, seven in pairs),
    )


def cells_of(level: Row) -> tuple[str, ...]:
    """Cells below HEADER."""
    return (
        str(level["level"]),
        level["subsampling"],
        str(level["images"]),
        text.number(level["quality"], 2),
        text.number(level["psnr"], 2),
        str(level["images"] - level["answered"]),
    )


def render(statistics: Row) -> Rendered:
    """The medians by level and what happens at level 7; a row per image and level, and a picture."""
    rows, images = statistics["rows"], statistics["images"]
    levels = list(take_medians(rows))
    cells = list(map(cells_of, levels))
    lower, lower_psnr = count_inversions(rows)
    findings = (
        f"Level 7 is estimated below level 6 for {lower} of {images} images, and its PSNR is lower for {lower_psnr}."
    )
    about = f"{describe_estimator(statistics)}. Medians over images."
    title = f"Photoshop's levels, {name_estimator(statistics)}, median of {images} images"
    files = {
        "photoshop.md": to_text(about, to_markdown(HEADER, cells), findings),
        "photoshop.parquet": to_parquet(rows, PHOTOSHOP_SCHEMA),
        "photoshop.png": figures.draw_photoshop(levels, title),
    }
    return Rendered(f"{text.render_table(HEADER, cells)}\n\n{findings}", files)


STUDY = Study(
    name="photoshop",
    help="which level Photoshop's levels look like",
    file="photoshop.json",
    levels=PHOTOSHOP_LEVELS,
    make=compress_by_photoshop,
    measure=to_image_row,
    summarise=summarise,
    render=render,
)
