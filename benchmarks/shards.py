"""Making shards, measured: tiles against whole images, every codec, and the command itself; `make bench-shards`.

Tiles and whole images give the same patches, bit for bit, which is checked. Times are of this process's CPU, so that
other work on the machine matters little; still, compare the ratios.
"""

import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from apache_beam.options.pipeline_options import PipelineOptions
from PIL import Image

from pipelines.shards.command import make_shards
from pipelines.shards.config import ShardsConfig
from q1net_core.codecs.base import Codec
from q1net_core.codecs.positions import PHASES, compress_patches, draw_positions
from q1net_core.codecs.table import CODECS
from q1net_core.patches import PATCH, IntArray, cut_windows
from q1net_core.records import UInt8Array

PHOTOGRAPH = Path(__file__).parents[1] / "tests" / "photographs" / "camera" / "airplane.png"
WIDTH, HEIGHT = 2040, 1356
COUNTS = (16, 64, 256)
COUNT = 64
# The fastest of several attempts counts.
ATTEMPTS = 7
# Every so many levels: the ratio is the same, and there is time for all of the attempts.
STEP = 10
# Codecs that need the whole image take seconds for each level.
SLOW_LEVELS = 3
IMAGES = 8


def make_image(shift: int = 0) -> UInt8Array:
    """A picture of DIV2K's usual size: a bundled photograph, mirrored, laid side by side, brightened by ``shift``."""
    photo = np.asarray(Image.open(PHOTOGRAPH).convert("RGB"))
    wide = np.concatenate([photo, photo[:, ::-1]], axis=1)
    tall = np.concatenate([wide, wide[::-1]], axis=0)
    image = np.tile(tall, (-(-HEIGHT // tall.shape[0]), -(-WIDTH // tall.shape[1]), 1))[:HEIGHT, :WIDTH]
    return np.minimum(image, 255 - shift) + np.uint8(shift)


def compress_whole(pixels: UInt8Array, places: IntArray, levels: IntArray, codec: Codec) -> UInt8Array:
    """The plain way: the whole image at every level, then cut."""
    return np.concatenate([cut_windows(codec.compress(pixels, int(level)), *places.T, PATCH) for level in levels])


def timed(function: Callable[..., UInt8Array], *arguments: object, attempts: int = 1) -> tuple[UInt8Array, float]:
    """What a function returns, and the CPU seconds it took."""
    spent = []
    for _ in range(attempts):
        start = time.process_time()
        patches = function(*arguments)
        spent.append(time.process_time() - start)
    return patches, min(spent)


def compare(pixels: UInt8Array, count: int, phases: str, codec: Codec) -> str:
    """Both ways at many levels of a codec of JPEG, as cells of a table."""
    levels = np.array(codec.levels)[::STEP]
    places = draw_positions(np.random.default_rng(1), pixels, count, phases)
    wanted = np.ones((len(levels), count), bool)
    whole, slow = timed(compress_whole, pixels, places, levels, codec, attempts=ATTEMPTS)
    tiles, fast = timed(compress_patches, pixels, places, levels, wanted, codec, attempts=ATTEMPTS)
    if not np.array_equal(whole, tiles):
        raise SystemExit("patches differ from those of the whole image")
    per_level = [spent / len(levels) * 1e3 for spent in (slow, fast)]
    return f"{per_level[0]:>10.1f}{per_level[1]:>10.2f}{slow / fast:>8.1f}x{len(tiles) / fast:>12.0f}"


def measure_whole(pixels: UInt8Array, codec: Codec) -> str:
    """A codec that compresses whole images, at a few levels from worst to best, as cells of a table."""
    levels = np.array(codec.levels)[:: len(codec.levels) // SLOW_LEVELS][:SLOW_LEVELS]
    places = draw_positions(np.random.default_rng(1), pixels, COUNT)
    patches, spent = timed(compress_whole, pixels, places, levels, codec)
    return f"{spent / len(levels) * 1e3:>10.1f}{'-':>10}{'-':>9}{len(patches) / spent:>12.0f}"


def run_command(images: Path, output: Path) -> str:
    """All levels of jpeg through the whole command with one worker."""
    clock, start = time.perf_counter(), time.process_time()
    dataset = make_shards(ShardsConfig(str(images), str(output)), PipelineOptions(["--runner=FnApiRunner"]))
    passed, spent = time.perf_counter() - clock, time.process_time() - start
    rows = sum(split["rows"] for split in dataset["splits"].values())
    return f"{rows} rows\n{spent:.1f} s of CPU ({rows / spent:.0f} rows/s), {passed:.1f} s by the clock"


def main() -> None:
    """Measure and print."""
    pixels = make_image()
    print(f"one image of {WIDTH} x {HEIGHT} pixels, jpeg, CPU time of one level")
    print(f"{'phases':<10}{'places':>8}{'whole ms':>10}{'tiles ms':>10}{'ratio':>9}{'patches/s':>12}")
    for phases in PHASES:
        for count in COUNTS:
            print(f"{phases:<10}{count:>8}{compare(pixels, count, phases, CODECS['jpeg'])}")
    print(f"\nthe same at {COUNT} aligned places; those without tiles at {SLOW_LEVELS} of their levels")
    print(f"{'codec':<18}{'whole ms':>10}{'tiles ms':>10}{'ratio':>9}{'patches/s':>12}")
    for name, codec in CODECS.items():
        print(
            f"{name:<18}{compare(pixels, COUNT, 'aligned', codec) if codec.geometry else measure_whole(pixels, codec)}"
        )
    with TemporaryDirectory() as folder:
        images = Path(folder) / "images"
        images.mkdir()
        for number in range(IMAGES):
            Image.fromarray(make_image(number)).save(images / f"{number}.png", compress_level=1)
        done = run_command(images, Path(folder) / "shards")
    print(f"\nthe whole command, {IMAGES} such images at all levels of jpeg, 1 worker: {done}")


if __name__ == "__main__":
    main()
