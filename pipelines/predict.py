"""`q1net predict`: a few images, one process, no Beam; one line per image."""

import argparse
import json
import sys
from collections.abc import Iterator
from datetime import datetime
from io import BytesIO

from PIL import Image

from pipelines import text
from pipelines.audit.table import Row, Stamp, to_row
from pipelines.inputs import list_inputs
from pipelines.runtime.quiet import start_quietly
from pipelines.settings import add_settings, take_settings
from q1net_core import storage
from q1net_core.errors import ConfigError, WeightsError
from q1net_core.estimator import EstimatorSettings, choose_grid, estimate_image
from q1net_core.images.decode import decode
from q1net_core.network.predictor import Predictor
from q1net_core.network.weights import read_weights
from q1net_core.overlay import draw_overlay
from q1net_core.patches import sample_blocks, sample_patches
from q1net_core.records import ListedImage, Status
from q1net_core.sampling import PATCHES


def make_parser() -> argparse.ArgumentParser:
    """The command's flags."""
    parser = argparse.ArgumentParser(
        prog="q1net predict", description="Estimate the quality of a few images.", allow_abbrev=False
    )
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="file, folder or glob; local, gs://, s3://, ...")
    parser.add_argument("--json", action="store_true", help="one JSON object per line, the columns of the audit table")
    parser.add_argument(
        "--overlay", metavar="OUT.png", help="of a single image, also draw the patches by quality and confidence"
    )
    add_settings(parser)
    return parser


def parse(argv: list[str]) -> argparse.Namespace:
    """Command line -> options."""
    return make_parser().parse_args(argv)


def predict(listed: list[ListedImage], model: Predictor, settings: EstimatorSettings) -> Iterator[Row]:
    """Rows of the audit table, in order."""
    stamp, rule = Stamp(model.weights.variant, model.weights.sha256), settings.rule_of(model.weights)
    for image in listed:
        yield to_row(estimate_image(image, model, settings, rule, model.weights.network.input), stamp)


def write_overlay(uri: str, image: ListedImage, row: Row, model: Predictor, settings: EstimatorSettings) -> None:
    """Draw one image's patches as a PNG, those that its row was made from; raises ImageError if it has none."""
    pixels = decode(storage.read_bytes(image.uri, settings.max_bytes), settings.limits).pixels
    height, width = pixels.shape[:2]
    grid = choose_grid(None if row["grid_x"] is None else (row["grid_x"], row["grid_y"]), height, width)
    quality, confidence = model.predict(sample_patches(pixels, settings.patches, grid))
    blocks = sample_blocks(height, width, settings.patches, grid)
    threshold = settings.rule_of(model.weights).threshold
    buffer = BytesIO()
    Image.fromarray(draw_overlay(pixels, blocks, quality, confidence, threshold)).save(buffer, "PNG")
    storage.write_bytes(uri, buffer.getvalue())


def to_line(row: Row) -> str:
    """``uri: verdict, quality Q (where it is from, header H)``, or why there is none."""
    if row["status"] != Status.OK:
        return f"{row['uri']}: {row['status']}: {row['error']}"
    header = "" if row["header_quality"] is None else f", header says {text.number(row['header_quality'], 0)}"
    if row["quality"] is None:
        reason = f"no lattice, none of {row['patches']} patches is confident"
        return f"{row['uri']}: {row['verdict']}, no estimate: {reason}{header}"
    source = "lattice" if row["quality_source"] == "lattice" else f"q1net, confidence {row['q1net_confidence']:.1f}"
    return f"{row['uri']}: {row['verdict']}, quality {text.number(row['quality'])} ({source}{header})"


def run(argv: list[str]) -> int:
    """The command; exit status 0 only if every image was decoded."""
    options = parse(argv)
    failures = 0
    try:
        settings = take_settings(vars(options))
        listed = list(list_inputs(options.images))
        if options.overlay and len(listed) != 1:
            raise ConfigError(f"--overlay draws one image; {len(listed)} were given")
        file = read_weights(settings.weights)
        if options.overlay and file.network.input != PATCHES:
            raise ConfigError(f"--overlay draws patches; {file.variant} sees a {file.network.input.sampler}")
        start_quietly()
        model = Predictor(file)
        for row in predict(listed, model, settings):
            failures += row["status"] != Status.OK
            print(json.dumps(row, default=datetime.isoformat) if options.json else to_line(row), flush=True)
        if options.overlay and not failures:
            write_overlay(options.overlay, listed[0], row, model, settings)
    except (ConfigError, WeightsError) as error:
        print(f"q1net predict: {error}", file=sys.stderr)
        return 2
    return 1 if failures else 0
