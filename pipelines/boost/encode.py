"""`q1net boost encode`: a picture to a boosted file, at a level of the base codec or within a rate."""

import argparse
import sys

from pipelines.boost.flags import add_model
from pipelines.runtime.quiet import start_quietly
from q1net_core import storage
from q1net_core.arrays import UInt8Array
from q1net_core.boost.bases import BASES
from q1net_core.boost.model import BoostModel, read_boost_model
from q1net_core.boost.picture import Boosted, boost
from q1net_core.errors import ConfigError, ImageError, WeightsError
from q1net_core.images.decode import Limits, decode


def make_parser() -> argparse.ArgumentParser:
    """The command's flags."""
    parser = argparse.ArgumentParser(prog="q1net boost encode", description="Encode a picture.", allow_abbrev=False)
    parser.add_argument("image", metavar="IMAGE", help="a picture in any format that q1net audit reads")
    parser.add_argument("--output", required=True, metavar="FILE", help="the boosted file")
    add_model(parser)
    rate = parser.add_mutually_exclusive_group(required=True)
    rate.add_argument("--bpp", type=float, metavar="BITS", help="bits per pixel that the whole file must not exceed")
    rate.add_argument("--level", type=int, metavar="LEVEL", help="setting of the base codec")
    return parser


def fit_rate(pixels: UInt8Array, bpp: float, model: BoostModel) -> tuple[int, Boosted]:
    """The best level whose whole file stays within so many bits per pixel, and the picture at that level.

    Raises:
        ConfigError: even the worst level needs more, or the best one does not need half of it.
    """
    levels, size = BASES[model.base].levels, pixels.shape[0] * pixels.shape[1]
    rates: dict[int, float] = {}

    def encode_at(place: int) -> Boosted:
        boosted = boost(pixels, levels[place], model)
        rates[place] = 8 * len(boosted.file) / size
        return boosted

    low, high = 0, len(levels) - 1
    best, fitting = 0, encode_at(0)
    while low < high and rates[0] <= bpp:
        middle = (low + high + 1) // 2
        boosted = encode_at(middle)
        if rates[middle] <= bpp:
            low, best, fitting = middle, middle, boosted
        else:
            high = middle - 1
    last = len(levels) - 1
    if rates[best] > bpp or (best == last and 2 * rates[last] < bpp):
        most = rates[last] if last in rates else 8 * len(boost(pixels, levels[last], model).file) / size
        raise ConfigError(
            f"--bpp is {bpp:g}; {model.base} reaches {rates[0]:.4f} to {most:.4f} bits per pixel on this picture"
        )
    return levels[best], fitting


def run(argv: list[str]) -> int:
    """The command; exit status 1 where the picture cannot be used, 2 where the request cannot be met."""
    options = make_parser().parse_args(argv)
    try:
        model = read_boost_model(options.model)
        pixels = decode(storage.read_bytes(options.image, Limits().max_bytes)).pixels
        start_quietly()
        if options.bpp is None:
            level, boosted = options.level, boost(pixels, options.level, model)
        else:
            level, boosted = fit_rate(pixels, options.bpp, model)
        storage.write_bytes(options.output, boosted.file)
    except ImageError as error:
        print(f"q1net boost encode: {options.image}: {error.status}: {error}", file=sys.stderr)
        return 1
    except (ConfigError, WeightsError) as error:
        print(f"q1net boost encode: {error}", file=sys.stderr)
        return 2
    used = 0 if boosted.indices is None else float((boosted.indices > 0).mean())
    rate = 8 * len(boosted.file) / (pixels.shape[0] * pixels.shape[1])
    print(
        f"{options.output}: {len(boosted.file)} bytes, {rate:.4f} bits per pixel; {model.base} at level {level} "
        f"{len(boosted.stream)}, patterns {len(boosted.file) - len(boosted.control)} in {100 * used:.1f} % of blocks"
    )
    return 0
