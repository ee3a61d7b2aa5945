"""The study `table3`: what each part of Q1Net adds, beside the figures the paper publishes."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pyarrow as pa

from pipelines import text
from pipelines.evaluation.costs import TIMED_CALLS
from pipelines.evaluation.render import Rendered, Row, describe_corpus, percent, to_parquet, to_text
from pipelines.evaluation.studies.comparison import PUBLISHED, summarise_methods
from pipelines.evaluation.studies.levels import compress_at_levels, to_errors
from pipelines.evaluation.study import Study
from q1net_core.jpeg.tables import JPEG_QUALITIES
from q1net_core.markdown import to_markdown
from q1net_core.network.weights import WeightsFile
from q1net_core.settings import EstimatorSettings

CLASSIFIER = "q1net-classifier"
# Table 3 of Kim and Yang, BMVC 2021: method, MAE, SDE, milliseconds, parameters; and which weights it is: the variant,
# and where there are several trainings of that, the weight of the confidence error (lambda).
ROWS = (
    ("Q1-Regressor", 1.28, 5.79, 9, 125_000, "q1net-regressor", None),
    ("Q1-Classifier", 1.68, 7.69, 10, 125_000, CLASSIFIER, None),
    ("Q1-LambdaQ", 0.39, 0.38, 10, 125_000, "q1net-k8", 0.25),
    ("Q1-Lambda1", 0.36, 0.39, 10, 125_000, "q1net-k8", 1.0),
    ("Q1-Light", 0.44, 0.44, 7, 71_000, "q1net-k6", None),
    ("Q1-Heavy", 0.26, 0.29, 19, 280_000, "q1net-k12", None),
    ("Q1-No-BB", 0.87, 0.89, 5, 49_000, "q1net-no-bottleneck", None),
    ("Q1-Sobel", 0.46, 0.50, 14, 125_000, None, None),
    ("Q1-Softmax", 0.52, 0.67, 10, 125_000, CLASSIFIER, None),
    ("Baseline", 0.40, 0.39, 10, 125_000, "q1net-k8", 0.5),
)
SCHEMA = pa.schema(
    [("method", pa.string()), ("source", pa.string()), ("variant", pa.string()), ("weights_sha256", pa.string())]
    + [("images", pa.int64())]
    + [(name, pa.float64()) for name in ("mae", "sde", "missing", "milliseconds")]
    + [("parameters", pa.int64())]
)
# Of an evaluation, beside its errors.
KEPT = ("variant", "weights_sha256", "threshold", "confidence_weight", "milliseconds", "parameters")
HEADER = ("method", "source", "variant", "images", "MAE", "SDE", "no estimate %", "ms", "parameters")


def settings_of(settings: EstimatorSettings, weights: WeightsFile) -> Sequence[EstimatorSettings]:
    """The paper's rule; the classifier once with all patches, and once without those of low probability."""
    paper = replace(settings, fusion="paper")
    return [replace(paper, threshold=0.0), paper] if weights.variant == CLASSIFIER else [paper]


def belongs(evaluation: Row, method: str, variant: str | None, confidence_weight: float | None) -> bool:
    """Whether an evaluation is of this row of the table."""
    if evaluation["variant"] != variant:
        return False
    if variant == CLASSIFIER:
        return (evaluation["threshold"] == 0) == (method == "Q1-Classifier")
    return confidence_weight in (None, evaluation["confidence_weight"])


def rows_of(statistics: Row) -> Iterator[Row]:
    """Rows of SCHEMA: of each method what was measured, or that no weights were given, and what is published.

    Weights that are in no row of the paper come first.
    """
    evaluations = [row["bands"][-1] | {name: row[name] for name in KEPT} for row in statistics["evaluations"]]
    for row in evaluations:
        if not any(belongs(row, method, variant, weight) for method, *_, variant, weight in ROWS):
            yield row | {"method": row["variant"], "source": "measured"}
    for method, mae, sde, milliseconds, parameters, variant, weight in ROWS:
        measured = [row for row in evaluations if belongs(row, method, variant, weight)]
        yield from (row | {"method": method, "source": "measured"} for row in measured)
        if not measured:
            source = "no weights" if variant else "q1net train --ablation sobel"
            yield {"method": method, "source": source, "variant": variant}
        figures = {"mae": mae, "sde": sde, "milliseconds": milliseconds, "parameters": parameters}
        yield PUBLISHED | {"method": method} | figures


def cells_of(row: Row) -> tuple[str, ...]:
    """Cells below HEADER."""
    digits = 3 if row["source"] == "measured" else 2
    return (
        row["method"],
        row["source"],
        row.get("variant") or "-",
        str(row["images"]) if row.get("images") else "-",
        text.number(row.get("mae"), digits),
        text.number(row.get("sde"), digits),
        percent(row.get("missing")),
        text.number(row.get("milliseconds"), 1),
        "-" if row.get("parameters") is None else f"{row['parameters']:,}",
    )


def render(statistics: Row) -> Rendered:
    """The paper's table 3, our rows above its own: on the screen, in Markdown and in Parquet."""
    rows = list(rows_of(statistics))
    cells = [cells_of(row) for row in rows]
    about = (
        f"Measured: {describe_corpus(statistics)}, the paper's fusion; ms: one image's patches on this machine, "
        f"the fastest of {TIMED_CALLS} calls that take turns; no weights: none were given. Published: Kim and Yang, "
        "BMVC 2021, on DIV2K, times on a phone's GPU."
    )
    files = {"table3.md": to_text(about, to_markdown(HEADER, cells)), "table3.parquet": to_parquet(rows, SCHEMA)}
    return Rendered(text.render_table(HEADER, cells), files)


STUDY = Study(
    name="table3",
    help="parts of Q1Net taken away, beside published figures",
    file="table3.json",
    levels=tuple(JPEG_QUALITIES),
    make=compress_at_levels,
    measure=to_errors,
    summarise=summarise_methods,
    render=render,
    estimators=("q1net",),
    compares_weights=True,
    compares_costs=True,
    settings_of=settings_of,
)
