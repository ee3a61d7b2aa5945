"""The study `figure4`: confusion matrices of several weights side by side, as in figure 4 of the paper."""

import numpy as np

from pipelines import text
from pipelines.evaluation import figures
from pipelines.evaluation.render import Rendered, Row, describe_corpus, to_text
from pipelines.evaluation.studies.comparison import summarise_methods
from pipelines.evaluation.studies.levels import HEADER, compress_at_levels, metric_cells, to_errors
from pipelines.evaluation.study import Study
from q1net_core.jpeg.tables import JPEG_QUALITIES
from q1net_core.markdown import to_markdown


def render(statistics: Row) -> Rendered:
    """The matrices in one picture on one colour scale; a line of figures for each."""
    evaluations = statistics["evaluations"]
    header = ("variant", "sha256", *HEADER)
    cells = [(row["variant"], row["weights_sha256"][:12], *metric_cells(row["bands"][-1])) for row in evaluations]
    panels = [
        (f"{row['variant']}, MAE {text.number(row['bands'][-1]['mae'], 2)}", np.array(row["confusion"]))
        for row in evaluations
    ]
    table = to_text(f"{describe_corpus(statistics)}.", to_markdown(header, cells))
    files = {"figure4.png": figures.draw_confusions(panels), "figure4.md": table}
    return Rendered(text.render_table(header, cells), files)


STUDY = Study(
    name="figure4",
    help="confusion matrices of several variants",
    file="figure4.json",
    levels=tuple(JPEG_QUALITIES),
    make=compress_at_levels,
    measure=to_errors,
    summarise=summarise_methods,
    render=render,
    estimators=("q1net",),
    compares_weights=True,
)
