"""The study `levels`: the error at each libjpeg level."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines import text
from pipelines.evaluation import figures
from pipelines.evaluation.render import (
    Cells,
    Rendered,
    Row,
    describe_estimator,
    describe_patches,
    name_estimator,
    percent,
    to_parquet,
    to_text,
)
from pipelines.evaluation.steps import Truth, quality_of
from pipelines.evaluation.study import Study
from q1net_core.arrays import UInt8Array
from q1net_core.codecs.jpeg import encode_jpeg
from q1net_core.jpeg.tables import JPEG_QUALITIES
from q1net_core.markdown import to_markdown
from q1net_core.metrics import BANDS, N_LEVELS, QualityErrors
from q1net_core.records import ImageRecord

METRICS = [("images", pa.int64())] + [
    (name, pa.float64()) for name in ("mae", "bias", "sde", "sde_signed", "exact", "within_1", "missing")
]
BANDS_SCHEMA = pa.schema([("low", pa.int32()), ("high", pa.int32()), *METRICS])
LEVELS_SCHEMA = pa.schema([("level", pa.int32()), *METRICS])
HEADER = ("images", "MAE", "SDE", "signed SDE", "exact %", "within 1 %", "no estimate %")


def compress_at_levels(pixels: UInt8Array, levels: Sequence[int]) -> Iterator[tuple[Truth, bytes]]:
    """JPEG files at libjpeg's levels."""
    for level in levels:
        yield Truth(level), encode_jpeg(pixels, level)


def to_errors(truth: Truth, record: ImageRecord) -> tuple[None, QualityErrors]:
    """The error of one answer."""
    return None, QualityErrors.of(truth.level, quality_of(record))


def metrics_of(errors: QualityErrors) -> Row:
    """Metrics by band and by level, and the confusion counts."""
    return {
        "bands": [{"levels": [low, high]} | errors.band(low, high) for low, high in BANDS],
        "levels": [{"level": level} | errors.band(level, level) for level in range(1, N_LEVELS + 1)],
        "confusion": errors.confusion.tolist(),
    }


def summarise(results: Mapping[tuple[int, Any], QualityErrors], made_with: Sequence[Row]) -> Row:
    """The metrics of the one candidate, and what it was made with."""
    (errors,) = results.values()
    return made_with[0] | metrics_of(errors)


def metric_cells(metrics: Row) -> tuple[str, ...]:
    """Cells below HEADER; errors in levels."""
    errors = (text.number(metrics[name], 3) for name in ("mae", "sde", "sde_signed"))
    return (str(metrics["images"]), *errors, *(percent(metrics[name]) for name in ("exact", "within_1", "missing")))


def band_cells(bands: Sequence[Row]) -> Cells:
    """One line for each band of levels that has images."""
    return [("{}-{}".format(*band["levels"]), *metric_cells(band)) for band in bands if band["images"]]


def render(statistics: Row) -> Rendered:
    """The bands on the screen; tables by band and by level, confusion matrix and errors by level in files."""
    bands, levels = statistics["bands"], [level for level in statistics["levels"] if level["images"]]
    by_level = [(str(level["level"]), *metric_cells(level)) for level in levels]
    title = ", ".join((name_estimator(statistics), f"{bands[-1]['images']} images", *describe_patches(statistics)))
    files = {
        "table.md": to_text(
            f"{describe_estimator(statistics)}.",
            to_markdown(("levels", *HEADER), band_cells(bands)),
            to_markdown(("level", *HEADER), by_level),
        ),
        "bands.parquet": to_parquet(
            [band | {"low": band["levels"][0], "high": band["levels"][1]} for band in bands], BANDS_SCHEMA
        ),
        "levels.parquet": to_parquet(levels, LEVELS_SCHEMA),
        "confusion.png": figures.draw_confusion(np.array(statistics["confusion"]), title),
        "errors.png": figures.draw_errors(levels, title),
    }
    return Rendered(text.render_table(("levels", *HEADER), band_cells(bands)), files)


STUDY = Study(
    name="levels",
    help="error by level (default)",
    file="metrics.json",
    levels=tuple(JPEG_QUALITIES),
    make=compress_at_levels,
    measure=to_errors,
    summarise=summarise,
    render=render,
)
