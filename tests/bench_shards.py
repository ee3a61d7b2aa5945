"""Compressing tiles around places against compressing whole images, in the same run: `make bench-shards`.

Both ways give the same patches, bit for bit, which is checked. Compare the ratios: absolute times drift with the
machine.
"""

import time
from pathlib import Path

import numpy as np
from PIL import Image

from q1net_core.codecs import compress_jpeg
from q1net_core.patches import PATCH, IntArray, cut_windows
from q1net_core.places import PHASES, compress_places, draw_places
from q1net_core.records import UInt8Array

PHOTOGRAPH = Path(__file__).parent / "photographs" / "camera" / "airplane.png"
WIDTH, HEIGHT = 2040, 1356
LEVELS = np.arange(1, 101)
COUNTS = (16, 64, 256)


def make_image() -> UInt8Array:
    """A picture of DIV2K's usual size: a bundled photograph, mirrored and laid side by side."""
    photo = np.asarray(Image.open(PHOTOGRAPH).convert("RGB"))
    wide = np.concatenate([photo, photo[:, ::-1]], axis=1)
    tall = np.concatenate([wide, wide[::-1]], axis=0)
    return np.tile(tall, (-(-HEIGHT // tall.shape[0]), -(-WIDTH // tall.shape[1]), 1))[:HEIGHT, :WIDTH]


def compress_whole(pixels: UInt8Array, places: IntArray) -> UInt8Array:
    """The plain way: the whole image at every level, then cut."""
    return np.concatenate([cut_windows(compress_jpeg(pixels, int(level)), *places.T, PATCH) for level in LEVELS])


def main() -> None:
    """Measure both ways, all phases and counts, and print the table."""
    pixels = make_image()
    print(f"one image of {WIDTH} x {HEIGHT} pixels, levels 1-100, 1 thread")
    print(f"{'phases':<10}{'places':>8}{'whole ms':>10}{'tiles ms':>10}{'ratio':>8}")
    for phases in PHASES:
        for count in COUNTS:
            places = draw_places(np.random.default_rng(1), pixels, count, phases)
            wanted = np.ones((len(LEVELS), count), bool)
            start = time.perf_counter()
            whole = compress_whole(pixels, places)
            middle = time.perf_counter()
            tiles = compress_places(pixels, places, LEVELS, wanted)
            end = time.perf_counter()
            if not np.array_equal(whole, tiles):
                raise SystemExit("patches differ from those of the whole image")
            spent = middle - start, end - middle
            print(f"{phases:<10}{count:>8}{spent[0] * 1e3:>10.0f}{spent[1] * 1e3:>10.0f}{spent[0] / spent[1]:>7.1f}x")


if __name__ == "__main__":
    main()
