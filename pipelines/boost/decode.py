"""`q1net boost decode`: a boosted file to a PNG."""

import argparse
import sys

from PIL import Image

from pipelines.runtime.quiet import start_quietly
from q1net_core import storage
from q1net_core.boost.container import parse_file
from q1net_core.boost.model import read_boost_model
from q1net_core.boost.picture import show
from q1net_core.codecs.base import save
from q1net_core.errors import ConfigError, ImageError, WeightsError
from q1net_core.images.decode import Limits


def make_parser() -> argparse.ArgumentParser:
    """The command's flags."""
    parser = argparse.ArgumentParser(prog="q1net boost decode", description="Decode a file.", allow_abbrev=False)
    parser.add_argument("file", metavar="FILE", help="what q1net boost encode wrote")
    parser.add_argument("--output", required=True, metavar="PNG", help="the picture")
    parser.add_argument("--model", metavar="NAME", help="an .npz file (the packaged model of the file's codec)")
    return parser


def run(argv: list[str]) -> int:
    """The command; exit status 1 where the file cannot be used, 2 where model or library is missing."""
    options = make_parser().parse_args(argv)
    limits = Limits()
    try:
        encoded = storage.read_bytes(options.file, limits.max_bytes)
        model = read_boost_model(options.model or parse_file(encoded, limits.max_pixels).base)
        start_quietly()
        pixels = show(encoded, model, limits)
        storage.write_bytes(options.output, save(Image.fromarray(pixels), "PNG"))
    except ImageError as error:
        print(f"q1net boost decode: {options.file}: {error.status}: {error}", file=sys.stderr)
        return 1
    except (ConfigError, WeightsError) as error:
        print(f"q1net boost decode: {error}", file=sys.stderr)
        return 2
    print(f"{options.output}: {pixels.shape[1]}x{pixels.shape[0]} pixels")
    return 0
