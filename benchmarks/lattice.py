"""The lattice against the decoder, CPU time on the same pictures in the same run: `make bench-lattice`.

Times are of one thread of this process, so that other work on the machine matters little; the two are taken in turns,
and the ratio is the median over the turns. ``grid`` is finding the block grid, which the estimate includes.
"""

import os

os.environ |= dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")

import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

from q1net_core.lattice.estimate import estimate_lattice
from q1net_core.lattice.grid import find_grid
from q1net_core.records import UInt8Array

PHOTOGRAPHS = Path(__file__).parents[1] / "tests" / "photographs"
WIDTH, HEIGHT = 1632, 1224
LEVELS = (50, 75, 90, 95)
REPEATS = 15


def make_picture() -> UInt8Array:
    """Two megapixels: a bundled photograph that was never compressed, mirrored, laid side by side."""
    photo = np.asarray(Image.open(PHOTOGRAPHS / "camera" / "airplane.png").convert("RGB"))
    wide = np.concatenate([photo, photo[:, ::-1]], axis=1)
    tall = np.concatenate([wide, wide[::-1]], axis=0)
    return np.tile(tall, (-(-HEIGHT // tall.shape[0]), -(-WIDTH // tall.shape[1]), 1))[:HEIGHT, :WIDTH]


def encode(pixels: UInt8Array, level: int) -> bytes:
    """Pixels as a JPEG file, 4:2:0."""
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=level)
    return buffer.getvalue()


def decode(encoded: bytes) -> UInt8Array:
    """Pillow's decoder."""
    return np.asarray(Image.open(BytesIO(encoded)))


def timed(function: Callable[..., object], argument: object) -> float:
    """CPU milliseconds of one call."""
    start = time.process_time()
    function(argument)
    return 1e3 * (time.process_time() - start)


def measure(name: str, encoded: bytes, pixels: UInt8Array) -> str:
    """Decode ``encoded`` and estimate ``pixels`` in turns, as one line of the table."""
    # The first calls prepare the dictionary of tables.
    answer = estimate_lattice(pixels).quality
    turns = [
        (timed(decode, encoded), timed(find_grid, pixels), timed(estimate_lattice, pixels)) for _ in range(REPEATS)
    ]
    decoding, grid, whole = (median(column) for column in zip(*turns, strict=True))
    ratio = median(lattice / decoded for decoded, _, lattice in turns)
    shown = "-" if answer is None else f"{answer:.0f}"
    return f"{name:<26}{shown:>8}{decoding:>11.1f}{grid:>9.1f}{whole:>12.1f}{ratio:>8.2f}x"


def main() -> None:
    """Measure and print."""
    picture = make_picture()
    print(f"{WIDTH} x {HEIGHT} pixels, one core, CPU time, medians of {REPEATS}")
    print(f"{'':<26}{'answer':>8}{'decode ms':>11}{'grid ms':>9}{'lattice ms':>12}{'ratio':>9}")
    for level in LEVELS:
        encoded = encode(picture, level)
        print(measure(f"JPEG {level}", encoded, decode(encoded)))
    encoded = encode(picture, 75)
    print(measure("JPEG 75, cut off the grid", encoded, np.ascontiguousarray(decode(encoded)[3:, 5:])))
    print(measure("never compressed, as PNG", encode_png(picture), picture))
    print(measure("never compressed, JPEG 75", encoded, picture))


def encode_png(pixels: UInt8Array) -> bytes:
    """Pixels as a PNG file."""
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


if __name__ == "__main__":
    main()
