"""The Photoshop experiment of section 3.4 of the paper: which libjpeg level do Photoshop's levels 0-12 look like?

Photoshop 7 keeps all chroma and quantizes luma harder than 6, so both the estimate and PSNR fall there.
"""

from collections.abc import Iterable, Iterator
from statistics import median
from typing import Any

import numpy as np

from q1net_core.codecs.base import load
from q1net_core.codecs.jpeg import encode_tables
from q1net_core.jpeg.tables import PHOTOSHOP_TABLES
from q1net_core.records import UInt8Array

LEVELS = tuple(PHOTOSHOP_TABLES)
# One image at one level: what the Parquet file of the experiment has.
COLUMNS = ("image", "level", "quality", "psnr")

Row = dict[str, Any]


def measure_psnr(before: UInt8Array, after: UInt8Array) -> float:
    """Peak signal-to-noise ratio of RGB pixels of one shape, in dB; infinite if they are equal."""
    error = float(np.mean(np.square(before.astype(np.float64) - after)))
    return float(10 * np.log10(255**2 / error)) if error else float("inf")


def compress(pixels: UInt8Array, level: int) -> tuple[bytes, float]:
    """An image at one Photoshop level: the JPEG file, and its PSNR in dB."""
    encoded = encode_tables(pixels, PHOTOSHOP_TABLES[level])
    return encoded, measure_psnr(pixels, load(encoded))


def summarise(rows: Iterable[Row]) -> Iterator[Row]:
    """Rows of COLUMNS -> one row per level: images, answered, and the medians of quality and PSNR over images."""
    rows = list(rows)
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
