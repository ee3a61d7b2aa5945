"""`q1net boost evaluate`: whole files of codec, control and patterns on lossless pictures, compared at equal rate.

One element is one picture with all its rates: gains are interpolated on the picture's own curves.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.options.pipeline_options import PipelineOptions

from pipelines import files
from pipelines.boost.flags import add_model
from pipelines.boost.measure import Row, measure_picture, read_pinned_model
from pipelines.boost.references import REFERENCES, import_imagecodecs
from pipelines.boost.results import SCHEMA, draw, render, sort_rows, summarise
from pipelines.inputs import list_inputs
from pipelines.runtime import counters
from pipelines.runtime.local import run_pipeline
from pipelines.runtime.options import add_workers, parse_flags, parse_levels
from pipelines.runtime.versions import find_versions
from q1net_core import storage
from q1net_core.boost.bases import BASES
from q1net_core.boost.indices import import_constriction
from q1net_core.boost.model import read_boost_model
from q1net_core.codecs import video
from q1net_core.errors import ConfigError, ImageError, WeightsError
from q1net_core.images.decode import Limits, decode
from q1net_core.records import ListedImage


@dataclass(frozen=True, slots=True)
class BoostStudy:
    """What is measured: a model by source and sha256, levels of its base codec, codecs to compare with."""

    base: str
    source: str
    sha256: str
    levels: tuple[int, ...]
    references: tuple[str, ...]


def make_parser() -> argparse.ArgumentParser:
    """The command's flags."""
    parser = argparse.ArgumentParser(
        prog="q1net boost evaluate",
        description="Measure codec, post-filter and patterns.",
        epilog="All other flags go to Apache Beam.",
        allow_abbrev=False,
    )
    parser.add_argument("--images", required=True, metavar="URI", help="folder, file or glob of lossless images")
    parser.add_argument("--output", required=True, metavar="URI", help="folder that gets rows, summary and diagram")
    add_model(parser)
    parser.add_argument("--levels", type=parse_levels, metavar="LEVELS", help="levels of the base codec (its curve)")
    parser.add_argument(
        "--references",
        type=lambda names: tuple(name for name in names.split(",") if name),
        default=(),
        metavar="NAMES",
        help=f"codecs to compare with, by commas: {', '.join(REFERENCES)} (none)",
    )
    add_workers(parser)
    return parser


def make_study(model: str, levels: Sequence[int] | None, references: tuple[str, ...]) -> BoostStudy:
    """A checked study; raises ConfigError or WeightsError for what cannot be measured."""
    read = read_boost_model(model)
    base = BASES[read.base]
    wrong = sorted(set(levels or ()) - set(base.levels))
    if wrong:
        raise ConfigError(f"levels are {wrong}; {read.base} has {min(base.levels)} to {max(base.levels)}")
    unknown = [name for name in references if name not in REFERENCES]
    if unknown:
        raise ConfigError(f"--references are {', '.join(unknown)}; expected some of {', '.join(REFERENCES)}")
    import_constriction()
    if read.base == "hevc" or "hevc" in references:
        video.versions()
    if "jpegxl" in references:
        import_imagecodecs()
    return BoostStudy(read.base, model, read.sha256, tuple(levels or base.curve), references)


def measure_image(image: ListedImage, study: BoostStudy) -> list[Row]:
    """The rows of one picture; one that cannot be used stops the run: the figures would be of others."""
    try:
        pixels = decode(storage.read_bytes(image.uri, Limits().max_bytes)).pixels
        model = read_pinned_model(study.source, study.sha256)
        rows = measure_picture(image.uri, pixels, model, study.levels, study.references)
    except ImageError as error:
        raise RuntimeError(f"{image.uri} is not usable for evaluation: {error.status}: {error}") from error
    counters.inc("rows")
    return rows


def write_results(rows: list[Row], output: str, study: BoostStudy, about: dict[str, Any]) -> str:
    """Write rows, summary, table and diagram; returns the table."""
    ordered = sort_rows(rows)
    buffer = BytesIO()
    pq.write_table(pa.Table.from_pylist(ordered, SCHEMA), buffer, compression="zstd")
    summary = summarise(ordered, study.base)
    text = render(summary, study.base)
    for name, content in (
        ("boost.parquet", buffer.getvalue()),
        ("boost.md", text.encode() + b"\n"),
        ("boost.png", draw(summary, study.base)),
    ):
        storage.write_bytes(storage.join(output, name), content)
    files.write_json(storage.join(output, "boost.json"), about | summary)
    return text


def evaluate(images: str, output: str, study: BoostStudy, options: PipelineOptions) -> str:
    """Run the pipeline; returns the table. Raises ConfigError before any work starts."""
    storage.ensure_writable(output)
    listed = list(list_inputs([images]))
    about = {
        "model": {"base": study.base, "sha256": study.sha256},
        "levels": list(study.levels),
        "images": len(listed),
        "versions": find_versions(),
    }

    def build(root: beam.Pipeline) -> None:
        _ = (
            root
            | "Images" >> beam.Create(listed)
            | "Spread" >> beam.Reshuffle()
            | "Measure" >> beam.FlatMap(measure_image, study)
            | "Together" >> beam.combiners.ToList()
            | "Write" >> beam.Map(write_results, output, study, about)
        )

    run_pipeline(build, options, "rows", len(listed), "image")
    return files.read_uri(storage.join(output, "boost.md")).decode()


def run(argv: list[str]) -> int:
    """The command; returns its exit status."""
    try:
        values, options = parse_flags(make_parser(), argv)
        study = make_study(values["model"], values["levels"], values["references"])
        print(evaluate(values["images"], values["output"], study, options), end="")
    except (ConfigError, WeightsError) as error:
        print(f"q1net boost evaluate: {error}", file=sys.stderr)
        return 2
    return 0
