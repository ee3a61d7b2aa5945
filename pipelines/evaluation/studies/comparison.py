"""The studies `table2` and `table4`: several weights, or numbers of patches, beside the figures the paper publishes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from pipelines import text
from pipelines.evaluation.costs import TIMED_CALLS
from pipelines.evaluation.render import Rendered, Row, describe_corpus, percent, to_parquet, to_text
from pipelines.evaluation.steps import Truth, quality_of
from pipelines.evaluation.studies.levels import compress_at_levels, metrics_of, to_errors
from pipelines.evaluation.study import Study
from pipelines.transforms import Encoded
from q1net_core.images.decode import decode
from q1net_core.jpeg.tables import JPEG_QUALITIES
from q1net_core.markdown import to_markdown
from q1net_core.metrics import QualityErrors
from q1net_core.network.variants import VARIANTS
from q1net_core.patches import DEFAULT_PATCHES, PATCHES_PER_SIDE
from q1net_core.records import ImageInfo, ImagePatches, ImageRecord, LatticeEstimate
from q1net_core.sampling import InputKind, sample
from q1net_core.settings import ROBUST_WEIGHTS, EstimatorSettings

# 4 x 4, 8 x 8, ... 24 x 24 patches.
SIZES = tuple(side**2 for side in PATCHES_PER_SIDE if side % 4 == 0)
COMPARISON_SCHEMA = pa.schema(
    [
        ("source", pa.string()),
        ("method", pa.string()),
        ("patches", pa.int32()),
        ("images", pa.int64()),
        *((name, pa.float64()) for name in ("mae", "sde", "exact", "missing", "milliseconds", "relative_time")),
        ("parameters", pa.int64()),
        ("multiply_adds", pa.int64()),
        ("runtime", pa.string()),
    ]
)
HEADER = (
    "method", "source", "patches", "images", "MAE", "SDE", "exact %", "no estimate %", "ms", "time", "parameters",
    "G multiply-adds", "runtime",
)  # fmt: skip

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
COSTS = ("patches", "milliseconds", "parameters", "multiply_adds", "runtime")
PUBLISHED = {"source": "published", "images": 10_000}


@dataclass(frozen=True, slots=True)
class SizeTruth(Truth):
    """Also how many patches were asked for; small images have fewer."""

    patches: int


def sample_sizes(
    truth: Truth, encoded: Encoded, settings: EstimatorSettings, kind: InputKind
) -> Iterator[tuple[SizeTruth, ImagePatches]]:
    """A JPEG file, decoded once -> its patches for every number of patches."""
    image, content = encoded
    pixels = decode(content).pixels
    for size in SIZES:
        patches = sample(pixels, kind, size)
        yield SizeTruth(truth.level, size), ImagePatches(image, ImageInfo(), LatticeEstimate(), patches)


def to_errors_of_size(truth: SizeTruth, record: ImageRecord) -> tuple[int, QualityErrors]:
    """The error of one answer, under its number of patches."""
    return truth.patches, QualityErrors.of(truth.level, quality_of(record))


def summarise_methods(results: Mapping[tuple[int, None], QualityErrors], made_with: Sequence[Row]) -> Row:
    """The metrics of every candidate, and what it was made with."""
    return {"evaluations": [made | metrics_of(results[number, None]) for number, made in enumerate(made_with)]}


def summarise_sizes(results: Mapping[tuple[int, int], QualityErrors], made_with: Sequence[Row]) -> Row:
    """The metrics of the one candidate with every number of patches, and what it was made with."""
    sizes = sorted(size for _, size in results)
    return {"evaluations": [made_with[0] | {"patches": size} | metrics_of(results[0, size]) for size in sizes]}


def measured_rows(statistics: Row) -> Iterator[Row]:
    """A row of COMPARISON_SCHEMA for each evaluation, with its costs."""
    for evaluation in statistics["evaluations"]:
        about = {name: evaluation[name] for name in COSTS}
        yield evaluation["bands"][-1] | about | {"source": "measured", "method": evaluation["variant"]}


def published_methods() -> Iterator[Row]:
    """The paper's table 2 as rows of COMPARISON_SCHEMA."""
    for method, mae, sde, milliseconds, parameters in PUBLISHED_METHODS:
        row = {"method": method, "mae": mae, "sde": sde, "milliseconds": milliseconds, "parameters": parameters}
        yield PUBLISHED | row


def published_sizes() -> Iterator[Row]:
    """The paper's table 4 as rows of COMPARISON_SCHEMA."""
    method = PUBLISHED_METHODS[-1][0]
    for patches, mae, sde, milliseconds in PUBLISHED_SIZES:
        yield PUBLISHED | {"method": method, "patches": patches, "mae": mae, "sde": sde, "milliseconds": milliseconds}


def add_relative_times(rows: Sequence[Row]) -> list[Row]:
    """Times relative to those of the same source with 256 patches."""
    whole = {row["source"]: row["milliseconds"] for row in rows if row["patches"] == DEFAULT_PATCHES}
    return [row | {"relative_time": row["milliseconds"] / whole[row["source"]]} for row in rows]


def cells_of(row: Row) -> tuple[str, ...]:
    """Cells below HEADER; published errors have the paper's two digits."""
    digits = 3 if row["source"] == "measured" else 2
    return (
        row["method"],
        row["source"],
        "-" if row.get("patches") is None else str(row["patches"]),
        str(row["images"]) if row.get("images") else "-",
        text.number(row.get("mae"), digits),
        text.number(row.get("sde"), digits),
        percent(row.get("exact")),
        percent(row.get("missing")),
        text.number(row.get("milliseconds"), 1),
        text.number(row.get("relative_time"), 2),
        "-" if row.get("parameters") is None else f"{row['parameters']:,}",
        text.number(None if row.get("multiply_adds") is None else row["multiply_adds"] / 1e9, 2),
        row.get("runtime") or "-",
    )


def render_rows(name: str, statistics: Row, rows: Sequence[Row]) -> Rendered:
    """Measured and published rows as one table: on the screen, in Markdown and in Parquet."""
    cells = [cells_of(row) for row in rows]
    about = (
        f"Measured: {describe_corpus(statistics)}; ms: what the network sees of one image, on this machine, the "
        f"fastest of {TIMED_CALLS} calls that take turns, fewer of networks that need seconds; time: relative to 256 "
        "patches; no weights: none were given. Published: Kim and Yang, BMVC 2021, on DIV2K, times on a phone's GPU."
    )
    files = {
        f"{name}.md": to_text(about, to_markdown(HEADER, cells)),
        f"{name}.parquet": to_parquet(rows, COMPARISON_SCHEMA),
    }
    return Rendered(text.render_table(HEADER, cells), files)


def untrained_rows(statistics: Row) -> Iterator[Row]:
    """A row of COMPARISON_SCHEMA for each variant that is in the paper's table, but of which no weights were given."""
    for row in statistics["untrained"]:
        yield row | {"source": "no weights", "method": row["variant"]}


def render_methods(statistics: Row) -> Rendered:
    """The paper's table 2, our rows above those they compare with; the first are of variants that it does not have."""
    ours = [*measured_rows(statistics), *untrained_rows(statistics)]
    rows = [row for row in ours if VARIANTS[row["method"]].published is None]
    for published in published_methods():
        rows += [row for row in ours if VARIANTS[row["method"]].published == published["method"]]
        rows.append(published)
    return render_rows("table2", statistics, rows)


def render_sizes(statistics: Row) -> Rendered:
    """The paper's table 4 with our rows and its own."""
    rows = add_relative_times([*measured_rows(statistics), *published_sizes()])
    return render_rows("table4", statistics, rows)


TABLE2 = Study(
    name="table2",
    help="several variants beside published ones",
    file="table2.json",
    levels=tuple(JPEG_QUALITIES),
    make=compress_at_levels,
    measure=to_errors,
    summarise=summarise_methods,
    render=render_methods,
    estimators=("q1net",),
    compares_weights=True,
    compares_costs=True,
    expected=tuple(name for name, variant in VARIANTS.items() if variant.published and name != ROBUST_WEIGHTS),
)
TABLE4 = Study(
    name="table4",
    help="by number of patches",
    file="table4.json",
    levels=tuple(JPEG_QUALITIES),
    make=compress_at_levels,
    sample=sample_sizes,
    measure=to_errors_of_size,
    summarise=summarise_sizes,
    render=render_sizes,
    estimators=("q1net",),
    sizes=SIZES,
    compares_costs=True,
)
