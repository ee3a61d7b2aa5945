"""Making shards, measured: tiles against whole images, every codec, and the command itself; `make bench-shards`.

Tiles and whole images give the same patches, bit for bit, which is checked. Times are of this process's CPU, so that
other work on the machine matters little; still, compare the ratios.
"""

import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import numpy as np
from apache_beam.options.pipeline_options import PipelineOptions
from PIL import Image

from pipelines.shards.command import make_shards
from pipelines.shards.config import ShardsConfig
from pipelines.shards.dataset import to_table
from pipelines.shards.images import Source, draw_image_positions, fingerprint_of, load_pixels
from pipelines.shards.parquet import encode_parquet
from pipelines.shards.rows import pack_rows
from q1net_core.codecs.base import Codec
from q1net_core.codecs.positions import PHASES, compress_patches, draw_positions
from q1net_core.codecs.table import CODECS
from q1net_core.lattice.estimate import estimate_lattice
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
IMAGES = 24

T = TypeVar("T")


def make_image(shift: int = 0) -> UInt8Array:
    """A picture of DIV2K's usual size: a bundled photograph, mirrored, laid side by side, brightened by ``shift``."""
    photo = np.asarray(Image.open(PHOTOGRAPH).convert("RGB"))
    wide = np.concatenate([photo, photo[:, ::-1]], axis=1)
    tall = np.concatenate([wide, wide[::-1]], axis=0)
    image = np.tile(tall, (-(-HEIGHT // tall.shape[0]), -(-WIDTH // tall.shape[1]), 1))[:HEIGHT, :WIDTH]
    return np.minimum(image, 255 - shift) + np.uint8(shift)


def compress_whole(pixels: UInt8Array, places: IntArray, levels: IntArray, codec: Codec) -> UInt8Array:
    """The plain way: the whole image at every level, then cut."""
    tops, lefts = places.T
    return np.stack([cut_windows(codec.compress(pixels, int(level)), tops, lefts, PATCH) for level in levels])


def timed(function: Callable[..., T], *arguments: object, attempts: int = 1) -> tuple[T, float]:
    """What a function returns, and the CPU seconds it took."""
    spent = []
    for _ in range(attempts):
        start = time.process_time()
        result = function(*arguments)
        spent.append(time.process_time() - start)
    return result, min(spent)


def compare(pixels: UInt8Array, count: int, phases: str, codec: Codec) -> str:
    """Both ways at many levels of a codec of JPEG, as cells of a table."""
    levels = np.array(codec.levels)[::STEP]
    places = draw_positions(np.random.default_rng(1), pixels, count, phases)
    whole, slow = timed(compress_whole, pixels, places, levels, codec, attempts=ATTEMPTS)
    tiles, fast = timed(compress_patches, pixels, places, levels, codec, attempts=ATTEMPTS)
    if not np.array_equal(whole, tiles):
        raise SystemExit("patches differ from those of the whole image")
    per_level = [spent / len(levels) * 1e3 for spent in (slow, fast)]
    return f"{per_level[0]:>10.1f}{per_level[1]:>10.2f}{slow / fast:>8.1f}x{len(levels) * count / fast:>12.0f}"


def measure_whole(pixels: UInt8Array, codec: Codec) -> str:
    """A codec that compresses whole images, at a few levels from worst to best, as cells of a table."""
    levels = np.array(codec.levels)[:: len(codec.levels) // SLOW_LEVELS][:SLOW_LEVELS]
    places = draw_positions(np.random.default_rng(1), pixels, COUNT)
    _, spent = timed(compress_whole, pixels, places, levels, codec)
    return f"{spent / len(levels) * 1e3:>10.1f}{'-':>10}{'-':>9}{len(levels) * COUNT / spent:>12.0f}"


def run_command(images: Path, output: Path) -> int:
    """All levels of jpeg through the whole command with one worker; returns how many rows it wrote."""
    dataset = make_shards(ShardsConfig(str(images), str(output)), PipelineOptions(["--runner=FnApiRunner"]))
    return sum(split["rows"] for split in dataset["splits"].values())


def measure_steps(encoded: bytes) -> dict[str, float]:
    """CPU seconds of every step of the command for one image."""
    config = ShardsConfig("", "")
    levels = np.array(config.levels)
    pixels, decoding = timed(load_pixels, encoded, config, attempts=ATTEMPTS)
    fingerprint, hashing = timed(fingerprint_of, pixels, attempts=ATTEMPTS)
    _, screening = timed(estimate_lattice, pixels, attempts=ATTEMPTS)
    positions, drawing = timed(draw_image_positions, pixels, fingerprint, config, attempts=ATTEMPTS)
    patches, compressing = timed(compress_patches, pixels, positions, levels, attempts=ATTEMPTS)
    source = Source("", "", fingerprint, "train", 0)
    rows = [rows for _, rows in pack_rows(source, levels, positions, patches, 1, config)]
    table, shuffling = timed(to_table, rows, attempts=ATTEMPTS)
    _, writing = timed(encode_parquet, table, attempts=ATTEMPTS)
    return {
        "decode": decoding,
        "fingerprint": hashing,
        "lattice, to screen": screening,
        "draw places": drawing,
        "compress tiles": compressing,
        "rows in order": shuffling,
        "Parquet": writing,
    }


def describe_command(folder: Path) -> str:
    """The whole command on images of the usual size: where its time goes."""
    (folder / "images").mkdir()
    for number in range(IMAGES):
        Image.fromarray(make_image(number)).save(folder / "images" / f"{number}.png", compress_level=1)
    rows, spent = timed(run_command, folder / "images", folder / "shards")
    steps = measure_steps((folder / "images" / "0.png").read_bytes())
    steps["files, Beam, start"] = spent / IMAGES - sum(steps.values())
    lines = [f"{name:<20}{took * 1e3:>10.1f}{took * IMAGES / spent:>8.0%}" for name, took in steps.items()]
    return "\n".join(
        [
            f"the whole command, {IMAGES} such images at all levels of jpeg, 1 worker",
            f"{rows} rows, {spent:.1f} s of CPU, {rows / spent:.0f} rows/s",
            f"{'CPU time of an image':<20}{'ms':>10}{'share':>8}",
            *lines,
        ]
    )


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
        print(f"\n{describe_command(Path(folder))}")


if __name__ == "__main__":
    main()
