"""What the published scheme gains after a training, the bits of its indices counted.

python benchmarks/boost_published.py --images photos/ --base jpeg2000 --level 150 --time-limit 1500 kodak/
"""

import argparse
import time
from dataclasses import replace

import keras
import numpy as np

from q1net_core.arrays import UInt8Array
from q1net_core.boost.bases import BASES, Base
from q1net_core.boost.measures import Curve
from training.boost.pairs import Pair, compress, psnr_of, read_photographs
from training.boost.published import CELL, PRESETS, measure_published, train_published


def codec_curve(pixels: UInt8Array, base: Base) -> Curve:
    """The plain codec's curve of one picture."""
    pairs = [compress(pixels, base, level) for level in base.curve]
    return Curve.through([(pair.bpp, psnr_of(pair.noise)) for pair in pairs])


def net_gain(pair: Pair, curve: Curve, gain: float, side: float) -> float:
    """A gain in dB at the same base -> at the rate that ``side`` bits per pixel more have; NaN beyond the curve."""
    plain = curve.quality_at(pair.bpp + side)
    return psnr_of(pair.noise) + gain - (np.nan if plain is None else plain)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("test", help="lossless photographs to measure on")
    parser.add_argument("--images", required=True, help="lossless photographs to train on")
    parser.add_argument("--base", default="jpeg2000", choices=list(BASES))
    parser.add_argument("--level", type=int, default=150, help="of the base codec, in training and test (%(default)s)")
    parser.add_argument("--preset", default="published-1024", choices=list(PRESETS))
    parser.add_argument("--steps", type=int, default=100, help="batches an epoch (%(default)s)")
    parser.add_argument("--time-limit", type=float, default=1500, help="of CPU for the training (%(default)s)")
    parser.add_argument("--precision", default="float32", choices=("float32", "mixed_bfloat16"))
    options = parser.parse_args()
    keras.mixed_precision.set_global_policy(options.precision)
    base, recipe = BASES[options.base], replace(PRESETS[options.preset], steps=options.steps)
    pairs = [compress(pixels, base, options.level) for pixels in read_photographs(options.images)]
    start = time.process_time()
    networks, centres, epochs = train_published(pairs, recipe, options.time_limit)
    print(f"{epochs} epochs of {recipe.steps} batches, {time.process_time() - start:.0f} CPU seconds")
    whole, rows = np.log2(len(centres)) / CELL**2, []
    for pixels in read_photographs(options.test):
        pair, curve = compress(pixels, base, options.level), codec_curve(pixels, base)
        gain, side = measure_published(networks, centres, pair)
        rows.append((gain, side, net_gain(pair, curve, gain, side), net_gain(pair, curve, gain, whole)))
    gain, side, net, plain = np.mean(rows, axis=0)
    print(f"{len(rows)} pictures: {gain:+.3f} dB over the codec at the same base")
    print(f"{net:+.3f} dB at equal rate if an index costs its entropy, {side:.4f} bits per pixel")
    print(f"{plain:+.3f} dB at equal rate if all indices cost the same, {whole:.4f} bits per pixel")


if __name__ == "__main__":
    main()
