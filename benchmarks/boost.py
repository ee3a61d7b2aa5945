"""CPU seconds per megapixel of `q1net boost encode` and `decode`, beside those of the base codec alone; coded size.

python benchmarks/boost.py --model jpeg2000 --level 150 photo.png
"""

import argparse
import os
import time
from collections.abc import Callable
from typing import Any

from pipelines.runtime.quiet import start_quietly
from q1net_core import storage
from q1net_core.boost.bases import BASES
from q1net_core.boost.indices import measure_bits, rate_class
from q1net_core.boost.model import read_boost_model
from q1net_core.boost.picture import boost, show
from q1net_core.images.decode import decode

REPEATS = 3


def measure(function: Callable[[], Any], megapixels: float) -> float:
    """CPU seconds of the process per megapixel, the least of three calls."""
    seconds = []
    for _ in range(REPEATS):
        start = time.process_time()
        function()
        seconds.append(time.process_time() - start)
    return min(seconds) / megapixels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image")
    parser.add_argument("--model", required=True)
    parser.add_argument("--level", type=int, required=True)
    options = parser.parse_args()
    model, pixels = read_boost_model(options.model), decode(storage.read_bytes(options.image, 1 << 28)).pixels
    height, width = pixels.shape[:2]
    megapixels, base = height * width / 1e6, BASES[model.base]
    # One core: set before TensorFlow starts, which reads them once.
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1")
    start_quietly()
    boosted = boost(pixels, options.level, model)
    for label, function in (
        ("base encode", lambda: base.encode(pixels, options.level)),
        ("base decode", lambda: base.decode_checked(boosted.stream, height, width)),
        ("boost encode", lambda: boost(pixels, options.level, model)),
        ("boost decode", lambda: show(boosted.file, model)),
    ):
        print(f"{label:<13}{measure(function, megapixels):6.2f} s per megapixel")
    if boosted.indices is None:
        print("no patterns")
    else:
        coded = len(boosted.file) - len(boosted.control)
        ideal = measure_bits(boosted.indices, model.tables, rate_class(len(boosted.stream), height, width)) / 8
        used = 100 * (boosted.indices > 0).mean()
        print(
            f"patterns in {used:.1f} % of blocks: {coded} bytes, ideal {ideal:.1f}, {100 * (coded / ideal - 1):+.2f} %"
        )


if __name__ == "__main__":
    main()
