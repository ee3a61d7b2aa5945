"""`q1net predict`: a few images, one process, no Beam; one line per image."""

import argparse
import json
import sys
import time
from datetime import datetime
from io import BytesIO

from PIL import Image

from pipelines import text, video
from pipelines.audit.table import Row, to_row
from pipelines.inputs import list_inputs
from pipelines.inputs.members import read_input
from pipelines.runtime.quiet import start_quietly
from pipelines.settings import add_exclude, add_settings, take_settings
from q1net_core import storage
from q1net_core.arrays import UInt8Array
from q1net_core.errors import ConfigError, WeightsError
from q1net_core.estimator import choose_grid, estimate_image, load_network
from q1net_core.images.decode import decode
from q1net_core.network.predictor import Predictor, needs_keras
from q1net_core.overlay import PatchView, draw_gallery, draw_overlay
from q1net_core.patches import cut_patches, first_blocks
from q1net_core.records import ImageRecord, ListedImage, Status
from q1net_core.sampling import PATCHES
from q1net_core.settings import EstimatorSettings, PinnedWeights


def make_parser() -> argparse.ArgumentParser:
    """The command's flags."""
    parser = argparse.ArgumentParser(
        prog="q1net predict", description="Estimate the quality of a few images.", allow_abbrev=False
    )
    parser.add_argument(
        "images", nargs="+", metavar="IMAGE", help="file, folder, glob, archive or URL; local, gs://, s3://, ..."
    )
    parser.add_argument("--json", action="store_true", help="one JSON object per line, the columns of the audit table")
    parser.add_argument("--overlay", metavar="OUT.png", help="of a single image, also draw the patches over it")
    parser.add_argument("--gallery", metavar="OUT.png", help="of a single image, also draw the patches by confidence")
    parser.add_argument(
        "--frames", type=int, metavar="N", help="of video files: judge up to N key frames, with weights for their codec"
    )
    add_exclude(parser)
    add_settings(parser)
    return parser


def parse(argv: list[str]) -> argparse.Namespace:
    """Command line -> options."""
    return make_parser().parse_args(argv)


def check_pictures(
    options: argparse.Namespace, images: int, settings: EstimatorSettings, weights: dict[str, PinnedWeights]
) -> None:
    """Raise ConfigError where --overlay or --gallery cannot be drawn."""
    for flag in ("overlay", "gallery"):
        if getattr(options, flag) is None:
            continue
        if images != 1:
            raise ConfigError(f"--{flag} draws one image; {images} were given")
        if settings.cascade or not weights:
            raise ConfigError(
                f"--{flag} draws what the network says, which may not be asked; leave --cascade and --estimators out"
            )
        for pinned in weights.values():
            if pinned.input != PATCHES:
                raise ConfigError(f"--{flag} draws patches; {pinned.variant} sees a {pinned.input.sampler}")


def write_pictures(
    options: argparse.Namespace, record: ImageRecord, settings: EstimatorSettings, weights: dict[str, PinnedWeights]
) -> None:
    """Draw the patches that a record was made from, as --overlay and --gallery say."""
    pinned = weights[settings.weights_for(accepted=record.lattice.quality is not None) or ""]
    pixels = decode(read_input(record.image, settings.max_bytes), settings.limits).pixels
    height, width = pixels.shape[:2]
    grid = choose_grid(record.lattice.grid, height, width)
    looked = record.network.patches if record.network else 0
    blocks = first_blocks(height, width, looked, settings.most_patches, grid)
    patches = cut_patches(pixels, blocks)
    quality, confidence = load_network(pinned).predict(patches)
    estimate = record.network.quality if record.network else None
    view = PatchView(quality, confidence, pinned.rule.threshold, estimate)
    title = describe(record)
    if options.overlay:
        write_png(options.overlay, draw_overlay(pixels, blocks, view, title))
    if options.gallery:
        write_png(options.gallery, draw_gallery(patches, view, f"{title}. Below each its quality (confidence)"))


def write_png(uri: str, pixels: UInt8Array) -> None:
    """Pixels uint8 [height, width, 3] as a PNG file."""
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    storage.write_bytes(uri, buffer.getvalue())


def describe(record: ImageRecord) -> str:
    """The title of a picture of patches: the answer, and what the network says."""
    answer, network = record.answer, record.network
    title = "no answer" if answer.quality is None else f"quality {answer.quality:.1f} ({answer.source})"
    if network is None:
        return title
    estimate = "no estimate" if network.quality is None else f"{network.quality:.1f}"
    return f"{title}; {network.variant}: {estimate} from {network.patches_used} of {network.patches} patches"


def to_line(row: Row) -> str:
    """``uri: verdict, quality Q (where it is from, header H)``, or why there is none."""
    if row["status"] != Status.OK:
        return f"{row['uri']}: {row['status']}: {row['error']}"
    header = "" if row["header_quality"] is None else f", header says {text.number(row['header_quality'], 0)}"
    ends = "" if row["quality_low"] is None else f"{row['quality_low']:.0f} to {row['quality_high']:.0f}"
    if row["quality"] is None:
        if ends:
            reason = f"q1net says no more than {ends}"
        elif row["patches"]:
            reason = f"no lattice, none of {row['patches']} patches is confident"
        else:
            reason = "no lattice"
        return f"{row['uri']}: {row['verdict']}, no estimate: {reason}{header}"
    if row["quality_source"] == "lattice":
        source = "lattice"
    else:
        source = f"q1net, {ends}" if ends else f"q1net, confidence {row['q1net_confidence']:.1f}"
    return f"{row['uri']}: {row['verdict']}, quality {text.number(row['quality'])} ({source}{header})"


def tell_time(seconds: float, images: int) -> None:
    """Say on stderr how long all images took, the loading of the networks with the first included."""
    print(f"{images} {'image' if images == 1 else 'images'} in {seconds:.2f} s", file=sys.stderr)


def judge_videos(options: argparse.Namespace, listed: list[ListedImage], settings: EstimatorSettings) -> int:
    """Print what the network says of the key frames of each video file; returns how many files have no answer."""
    if options.frames < 1 or options.overlay or options.gallery:
        raise ConfigError(f"--frames is {options.frames}; expected at least 1, without --overlay and --gallery")
    weights, rule = video.read_video_weights(settings)
    start_quietly()
    model, failures = Predictor(weights), 0
    for file in listed:
        for row in video.judge_video(file, model, weights, rule, settings, options.frames):
            failures += row["status"] is not Status.OK
            print(json.dumps(row) if options.json else video.to_line(row), flush=True)
    return failures


def run(argv: list[str]) -> int:
    """The command; exit status 0 only if every image was decoded."""
    options = parse(argv)
    failures = 0
    try:
        settings = take_settings(vars(options))
        listed = list(list_inputs(options.images, options.exclude))
        if options.frames is not None:
            return 1 if judge_videos(options, listed, settings) else 0
        files = settings.read_weights()
        weights = settings.pin_all(files)
        check_pictures(options, len(listed), settings, weights)
        if any(map(needs_keras, files.values())):
            start_quietly()
        begun = time.perf_counter()
        for image in listed:
            record = estimate_image(image, settings, weights, read=read_input)
            row = to_row(record)
            failures += record.status is not Status.OK
            print(json.dumps(row, default=datetime.isoformat) if options.json else to_line(row), flush=True)
        tell_time(time.perf_counter() - begun, len(listed))
        if (options.overlay or options.gallery) and not failures:
            write_pictures(options, record, settings, weights)
    except (ConfigError, WeightsError) as error:
        print(f"q1net predict: {error}", file=sys.stderr)
        return 2
    return 1 if failures else 0
