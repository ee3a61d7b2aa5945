"""Results of an evaluation as Markdown, Parquet and pictures, beside the figures that the paper publishes."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines import text
from pipelines.evaluation import figures, photoshop
from q1net_core import storage
from q1net_core.estimator import EstimatorSettings, fuse_predictions, predict_patches
from q1net_core.network.predictor import Predictor
from q1net_core.network.variants import VARIANTS
from q1net_core.network.weights import WeightsFile
from q1net_core.patches import DEFAULT_PATCHES
from q1net_core.records import ImageInfo, ImagePatches, LatticeEstimate, ListedImage

Row = dict[str, Any]
Cells = list[tuple[str, ...]]

METRICS = [("images", pa.int64())] + [
    (name, pa.float64()) for name in ("mae", "bias", "sde", "sde_signed", "exact", "within_1", "missing")
]
BANDS_SCHEMA = pa.schema([("low", pa.int32()), ("high", pa.int32()), *METRICS])
LEVELS_SCHEMA = pa.schema([("level", pa.int32()), *METRICS])
COMPARISON_SCHEMA = pa.schema(
    [
        ("source", pa.string()),
        ("method", pa.string()),
        ("patches", pa.int32()),
        ("images", pa.int64()),
        *((name, pa.float64()) for name in ("mae", "sde", "exact", "missing", "milliseconds", "relative_time")),
        ("parameters", pa.int64()),
    ]
)
PHOTOSHOP_SCHEMA = pa.schema(zip(photoshop.COLUMNS, (pa.string(), pa.int32(), pa.float64(), pa.float64()), strict=True))

# Tables 2 and 4 of Kim and Yang, BMVC 2021: DIV2K 0801-0900 x 100 levels; times of TensorFlow Lite on the GPU of a
# Galaxy S21, JQE's as printed there. Method, MAE, SDE, milliseconds, parameters; and patches, MAE, SDE, milliseconds.
PUBLISHED_METHODS = (
    ("MobileNetV2", 1.16, 1.43, 7, 2_320_000),
    ("EfficientNet", 2.24, 2.29, 12, 4_130_000),
    ("ShuffleNet", 2.04, 2.29, 11, 3_710_000),
    ("LCNN", 1.76, 1.61, 12, 1_470_000),
    ("JQE", 4.06, 2.46, 3200, 188_000),
    ("JQE-like", 1.60, 1.49, 6, 217_000),
    ("Q-EST", 1.22, 1.34, 6, 213_000),
    ("Q1Net (baseline, k=8)", 0.40, 0.39, 10, 125_000),
)
PUBLISHED_SIZES = (
    (16, 0.82, 0.86, 2),
    (64, 0.50, 0.47, 4),
    (144, 0.42, 0.42, 6),
    (256, 0.40, 0.39, 10),
    (400, 0.37, 0.38, 15),
    (576, 0.36, 0.37, 21),
)
TIMED_CALLS = 30
# Height and width of the image that networks of whole images are timed with.
TIMED_SIDE = 256


def render_markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, ["---"] * len(header), *rows))


def percent(share: float | None, digits: int = 1) -> str:
    """A share 0-1 as percent."""
    return text.number(None if share is None else 100 * share, digits)


METRICS_HEADER = ("images", "MAE", "SDE", "signed SDE", "exact %", "within 1 %", "no estimate %")


def metric_cells(metrics: Row) -> tuple[str, ...]:
    """Cells below METRICS_HEADER; errors in levels."""
    errors = (text.number(metrics[name], 3) for name in ("mae", "sde", "sde_signed"))
    return (str(metrics["images"]), *errors, *(percent(metrics[name]) for name in ("exact", "within_1", "missing")))


def band_cells(bands: Sequence[Row]) -> Cells:
    """One line for each band of levels that has images."""
    return [("{}-{}".format(*band["levels"]), *metric_cells(band)) for band in bands if band["images"]]


def name_estimator(metrics: Row) -> str:
    """What estimated, in a word or two."""
    names = {"q1net": metrics["variant"], "lattice": "lattice", "combined": f"lattice, else {metrics['variant']}"}
    return str(names[metrics["arguments"]["estimator"]])


def describe_estimator(metrics: Row) -> str:
    """What was evaluated, in one line."""
    about = [name_estimator(metrics)]
    if metrics["variant"]:
        about[0] += f" ({metrics['weights_sha256'][:12]})"
        about += [f"fusion {metrics['fusion']}", f"threshold {metrics['threshold']:g}"]
    about += [f"{metrics['images']} lossless images", f"q1net {metrics['versions']['q1net']}"]
    return ", ".join(about + describe_patches(metrics))


def describe_patches(metrics: Row) -> list[str]:
    """How many patches an image gave to Q1Net, if it was asked."""
    return [f"{metrics['arguments']['patches']} patches"] if metrics["variant"] else []


def write_text(output: str, name: str, content: str) -> None:
    """A text file of the output folder."""
    storage.write_bytes(storage.join(output, name), (content + "\n").encode())


def write_parquet(output: str, name: str, rows: Sequence[Row], schema: pa.Schema) -> None:
    """A Parquet file of the output folder; fields that a row lacks are null."""
    buffer = BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows), schema), buffer, compression="zstd")
    storage.write_bytes(storage.join(output, name), buffer.getvalue())


def publish_levels(output: str, metrics: Row) -> str:
    """Write table.md, bands.parquet, levels.parquet, confusion.png and errors.png; returns the bands as plain text."""
    bands, levels = metrics["bands"], [level for level in metrics["levels"] if level["images"]]
    about = f"{describe_estimator(metrics)}."
    by_level = [(str(level["level"]), *metric_cells(level)) for level in levels]
    tables = (
        render_markdown(("levels", *METRICS_HEADER), band_cells(bands)),
        render_markdown(("level", *METRICS_HEADER), by_level),
    )
    write_text(output, "table.md", "\n\n".join((about, *tables)))
    rows = [band | {"low": band["levels"][0], "high": band["levels"][1]} for band in bands]
    write_parquet(output, "bands.parquet", rows, BANDS_SCHEMA)
    write_parquet(output, "levels.parquet", levels, LEVELS_SCHEMA)
    title = ", ".join((name_estimator(metrics), f"{bands[-1]['images']} images", *describe_patches(metrics)))
    confusion = figures.draw_confusion(np.array(metrics["confusion"]), title)
    storage.write_bytes(storage.join(output, "confusion.png"), confusion)
    storage.write_bytes(storage.join(output, "errors.png"), figures.draw_errors(levels, title))
    return text.render_table(("levels", *METRICS_HEADER), band_cells(bands))


def time_estimate(file: WeightsFile, settings: EstimatorSettings) -> float:
    """Milliseconds that one image takes through network and fusion: of 30 calls the fastest.

    The others say how busy the machine is. A network of whole images is timed with one of 256 x 256 pixels.
    """
    model, rule, kind = Predictor(file), settings.rule_of(file), file.network.input
    side = kind.size or TIMED_SIDE
    shape = (kind.most(settings.patches), side, side, 3)
    patches = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    batch = [ImagePatches(ListedImage("timed"), ImageInfo(), LatticeEstimate(), patches)]
    seconds = []
    for _ in range(TIMED_CALLS):
        start = time.perf_counter()
        fuse_predictions(predict_patches(model, batch)[0], rule)
        seconds.append(time.perf_counter() - start)
    return 1000 * min(seconds)


def count_parameters(variant: str) -> int:
    """Parameters of a variant's network."""
    return int(VARIANTS[variant].architecture.build().count_params())


def measured_rows(metrics: Row, estimators: Sequence[tuple[WeightsFile, EstimatorSettings]]) -> Iterator[Row]:
    """A row of COMPARISON_SCHEMA for each evaluation, timed here."""
    by_sha256 = {file.sha256: (file, settings) for file, settings in estimators}
    for evaluation in metrics["evaluations"]:
        file, settings = by_sha256[evaluation["weights_sha256"]]
        yield evaluation["bands"][-1] | {
            "source": "measured",
            "method": evaluation["variant"],
            "patches": evaluation["patches"],
            "milliseconds": time_estimate(file, replace(settings, patches=evaluation["patches"])),
            "parameters": count_parameters(evaluation["variant"]),
        }


def published_rows(study: str) -> Iterator[Row]:
    """The paper's rows of COMPARISON_SCHEMA."""
    if study == "table2":
        for method, mae, sde, milliseconds, parameters in PUBLISHED_METHODS:
            row = {"method": method, "mae": mae, "sde": sde, "milliseconds": milliseconds, "parameters": parameters}
            yield {"source": "published", "images": 10_000} | row
    else:
        for patches, mae, sde, milliseconds in PUBLISHED_SIZES:
            row = {"method": PUBLISHED_METHODS[-1][0], "patches": patches, "mae": mae, "sde": sde}
            yield {"source": "published", "images": 10_000, "milliseconds": milliseconds} | row


def add_relative_times(rows: Sequence[Row]) -> list[Row]:
    """Times relative to those of the same source with 256 patches."""
    whole = {row["source"]: row["milliseconds"] for row in rows if row["patches"] == DEFAULT_PATCHES}
    return [row | {"relative_time": row["milliseconds"] / whole[row["source"]]} for row in rows]


def comparison_cells(row: Row) -> tuple[str, ...]:
    """Cells of one row of a comparison."""
    parameters = "-" if row.get("parameters") is None else f"{row['parameters']:,}"
    return (
        row["method"],
        row["source"],
        "-" if row.get("patches") is None else str(row["patches"]),
        str(row["images"]),
        text.number(row["mae"], 3 if row["source"] == "measured" else 2),
        text.number(row["sde"], 3 if row["source"] == "measured" else 2),
        percent(row.get("exact")),
        percent(row.get("missing")),
        text.number(row["milliseconds"], 1),
        text.number(row.get("relative_time"), 2),
        parameters,
    )


def publish_comparison(
    output: str, study: str, metrics: Row, estimators: Sequence[tuple[WeightsFile, EstimatorSettings]]
) -> str:
    """Write the paper's table 2 or 4 with our rows and its own, as Markdown and Parquet; returns it as plain text."""
    rows = [*measured_rows(metrics, estimators), *published_rows(study)]
    if study == "table4":
        rows = add_relative_times(rows)
    header = (
        "method", "source", "patches", "images", "MAE", "SDE", "exact %", "no estimate %", "ms", "time",
        "parameters",
    )  # fmt: skip
    cells = [comparison_cells(row) for row in rows]
    about = (
        f"Measured: {metrics['images']} lossless images at {len(metrics['arguments']['levels'])} levels, q1net "
        f"{metrics['versions']['q1net']}; ms: one image's patches on this machine, the fastest of {TIMED_CALLS} "
        "calls; time: relative to 256 patches. Published: Kim and Yang, BMVC 2021, on DIV2K, times on a phone's GPU."
    )
    write_text(output, f"{study}.md", f"{about}\n\n{render_markdown(header, cells)}")
    write_parquet(output, f"{study}.parquet", rows, COMPARISON_SCHEMA)
    return text.render_table(header, cells)


def publish_photoshop(output: str, metrics: Row) -> str:
    """Write photoshop.md, .parquet (a row per image and level) and .png; returns the levels as plain text."""
    rows = metrics["rows"]
    levels = list(photoshop.summarise(rows))
    header = ("Photoshop level", "subsampling", "images", "estimated level", "PSNR dB", "no estimate")
    cells = [
        (
            str(level["level"]),
            level["subsampling"],
            str(level["images"]),
            text.number(level["quality"], 2),
            text.number(level["psnr"], 2),
            str(level["images"] - level["answered"]),
        )
        for level in levels
    ]
    lower, lower_psnr = photoshop.count_inversions(rows)
    findings = (
        f"Level 7 is estimated below level 6 for {lower} of {metrics['images']} images, and its PSNR is lower for "
        f"{lower_psnr}."
    )
    about = f"{describe_estimator(metrics)}. Medians over images."
    write_text(output, "photoshop.md", "\n\n".join((about, render_markdown(header, cells), findings)))
    write_parquet(output, "photoshop.parquet", rows, PHOTOSHOP_SCHEMA)
    title = f"Photoshop's levels, {name_estimator(metrics)}, median of {metrics['images']} images"
    storage.write_bytes(storage.join(output, "photoshop.png"), figures.draw_photoshop(levels, title))
    return "\n\n".join((text.render_table(header, cells), findings))
