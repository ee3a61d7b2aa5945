"""`q1net evaluate`: lossless images, compressed at every level, estimated as in an audit, compared with the truth."""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import reduce
from operator import add
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from pipelines import runner, tables, text
from pipelines.inference import Q1NetHandler
from pipelines.runner import parse_levels
from pipelines.sources import list_inputs
from pipelines.transforms import Encoded, EstimateQuality, FusePredictions, ReadImages, SamplePatches
from q1net_core import __version__, storage
from q1net_core.codecs import CODECS, encode_jpeg
from q1net_core.decode import decode
from q1net_core.errors import ConfigError, ImageError, WeightsError
from q1net_core.estimator import configure
from q1net_core.fusion import FUSIONS
from q1net_core.metrics import BANDS, QualityErrors
from q1net_core.patches import DEFAULT_PATCHES
from q1net_core.records import ImageRecord, ListedImage, Status
from q1net_core.weights import read_weights

LEVELS = CODECS["jpeg"].levels


@dataclass(frozen=True, slots=True)
class EvaluateConfig:
    """One evaluation: lossless ``images`` x JPEG ``levels``, with some weights; results go to the folder ``output``."""

    images: str
    output: str
    levels: tuple[int, ...] = tuple(LEVELS)
    weights: str = "q1net-k8"
    fusion: str | None = None
    threshold: float | None = None
    patches: int = DEFAULT_PATCHES

    def __post_init__(self) -> None:
        wrong = [level for level in self.levels if level not in LEVELS]
        if wrong or not self.levels:
            raise ConfigError(f"levels are {list(self.levels)}; expected some of {LEVELS[0]}..{LEVELS[-1]}")


def compress_levels(lossless: Encoded, levels: tuple[int, ...]) -> Iterator[Encoded]:
    """A lossless image -> the JPEG files of all levels; the level travels as the image's group."""
    image, encoded = lossless
    try:
        pixels = decode(encoded).pixels
    except ImageError as error:
        raise RuntimeError(f"{image.uri} is not usable for evaluation: {error.status}: {error}") from error
    for level in levels:
        yield replace(image, group=str(level), size_bytes=None), encode_jpeg(pixels, level)


def measure(record: ImageRecord) -> QualityErrors:
    """The errors of one estimate; raises RuntimeError for an image that gave none of the expected pixels."""
    if record.status is not Status.OK or record.estimate is None or record.image.group is None:
        raise RuntimeError(f"{record.image.uri} is not usable for evaluation: {record.status}: {record.error}")
    return QualityErrors.of(int(record.image.group), record.estimate.quality)


def add_errors(errors: Iterable[QualityErrors]) -> QualityErrors:
    """The sum of any number of errors; associative, as Beam's combiners need it."""
    return reduce(add, errors, QualityErrors())


def write_metrics(errors: QualityErrors, uri: str, about: dict[str, Any]) -> str:
    """Write metrics.json: bands, per level, confusion counts, and what was evaluated."""
    bands = [{"levels": [low, high]} | errors.band(low, high) for low, high in BANDS]
    by_level = [{"level": level} | errors.band(level, level) for level in LEVELS]
    tables.write_json(uri, about | {"bands": bands, "levels": by_level, "confusion": errors.confusion.tolist()})
    return uri


def build(root: beam.Pipeline, config: EvaluateConfig, images: list[ListedImage]) -> beam.PCollection[str]:
    """The whole pipeline; its one output element is the uri of metrics.json."""
    file = read_weights(config.weights)
    estimator = configure(file.rule(config.fusion), config.threshold, config.patches)
    about = {
        "arguments": asdict(config) | {"threshold": estimator.threshold, "fusion": estimator.fusion},
        "images": len(images),
        "versions": {"q1net": __version__, "variant": file.variant, "weights_sha256": file.sha256},
    }
    read = root | "Images" >> beam.Create(images) | "Spread" >> beam.Reshuffle() | "ReadImages" >> ReadImages()
    sampled = (
        read.read
        | "CompressLevels" >> beam.FlatMap(compress_levels, config.levels)
        | "SamplePatches" >> SamplePatches(estimator)
    )
    fused = (
        sampled.sampled
        | "EstimateQuality" >> EstimateQuality(Q1NetHandler(config.weights, file.sha256))
        | "FusePredictions" >> FusePredictions(estimator)
    )
    return (
        (fused, read.finished, sampled.finished)
        | "Finished" >> beam.Flatten()
        | "Measure" >> beam.Map(measure)
        | "Add" >> beam.CombineGlobally(add_errors)
        | "WriteMetrics" >> beam.Map(write_metrics, storage.join(config.output, "metrics.json"), about)
    )


def evaluate(config: EvaluateConfig, options: PipelineOptions) -> dict[str, Any]:
    """Run one evaluation; returns what metrics.json says.

    Raises:
        ConfigError, WeightsError: before any work starts.
    """
    storage.ensure_writable(config.output)
    images = list(list_inputs([config.images]))
    total = len(images) * len(config.levels)
    runner.run_pipeline(lambda root: build(root, config, images), options, "rows", total, "image")
    metrics: dict[str, Any] = json.loads(tables.read_uri(storage.join(config.output, "metrics.json")))
    return metrics


def render_bands(bands: list[dict[str, Any]]) -> str:
    """The metrics of each band of levels as a table; errors in levels, shares in percent."""
    cells = [
        (
            "{}-{}".format(*band["levels"]),
            str(band["images"]),
            *(text.number(band[name], 3) for name in ("mae", "sde", "sde_signed")),
            *(
                text.number(None if band[name] is None else 100 * band[name], 1)
                for name in ("exact", "within_1", "missing")
            ),
        )
        for band in bands
        if band["images"]
    ]
    return text.render_table(
        ("levels", "images", "MAE", "SDE", "signed SDE", "exact %", "within 1 %", "no estimate %"), cells
    )


def make_parser() -> argparse.ArgumentParser:
    """The command's flags."""
    parser = argparse.ArgumentParser(
        prog="q1net evaluate",
        description="Compress lossless images at every level, estimate, compare.",
        epilog="All other flags go to Apache Beam.",
        allow_abbrev=False,
    )
    parser.add_argument("--images", required=True, metavar="URI", help="folder, file or glob of lossless images")
    parser.add_argument("--output", required=True, metavar="DIR", help="folder that gets metrics.json")
    parser.add_argument(
        "--levels", type=parse_levels, default=tuple(LEVELS), metavar="LEVELS", help="1-100, 5-100:5 or 10,50,90 (all)"
    )
    parser.add_argument("--weights", default="q1net-k8", metavar="NAME", help="variant, or a .keras file (%(default)s)")
    parser.add_argument("--fusion", choices=list(FUSIONS), help="how patches become one estimate (the weights' best)")
    parser.add_argument("--threshold", type=float, help="confidence a patch must exceed, 0-100 (the weights' own)")
    parser.add_argument(
        "--patches", type=int, default=DEFAULT_PATCHES, help="patches per image, a square (%(default)s)"
    )
    return parser


def parse(argv: list[str]) -> tuple[EvaluateConfig, PipelineOptions]:
    """Command line -> config and Beam's options."""
    values, options = runner.parse_flags(make_parser(), argv)
    return EvaluateConfig(**values), options


def run(argv: list[str]) -> int:
    """The command; returns its exit status, 0 only when metrics.json is written."""
    try:
        metrics = evaluate(*parse(argv))
    except (ConfigError, WeightsError) as error:
        print(f"q1net evaluate: {error}", file=sys.stderr)
        return 2
    print(render_bands(metrics["bands"]))
    return 0
