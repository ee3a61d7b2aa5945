"""Cases that the lattice is judged on, drawn from lossless pictures by seed: tables, levels, sampling and places."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from q1net_core.alterations import add_noise, resize
from q1net_core.arrays import UInt8Array
from q1net_core.codecs.base import load, save
from q1net_core.codecs.table import CODECS
from q1net_core.lattice.blocks import luma_of
from q1net_core.patches import BLOCK

Random = np.random.Generator

CROP_SIZES = (256, 128, 64)
# Shares of the codecs that crops are compressed by; their levels; the share of libjpeg's with one of the finest levels.
CROP_CODECS = {"jpeg": 0.5, "jpeg-444": 0.3, "jpeg-mozjpeg": 0.2}
CROP_LEVELS = range(5, 96)
FINEST_LEVELS = range(96, 101)
FINEST_SHARE = 0.1
# The plainest windows: this share of a picture's windows has the least varied blocks.
PLAIN = 0.03
# Levels of luma beyond which blocks count as equally varied.
VARIED = 40


@dataclass(frozen=True, slots=True)
class Case:
    """One picture and the truth about it.

    ``pixels`` uint8 [height, width, 3]; ``match`` and ``level`` as in the columns of the audit, None where there is
    nothing to find.
    """

    kind: str
    pixels: UInt8Array
    match: str | None = None
    level: int | None = None


def compress(pixels: UInt8Array, level: int, codec: str = "jpeg") -> UInt8Array:
    """Pixels after a codec of CODECS."""
    return CODECS[codec].compress(pixels, level)


def compress_custom(rng: Random, pixels: UInt8Array) -> UInt8Array:
    """Pixels after JPEG with a table of no known encoder: steps that rise with the frequency, first and rise drawn."""
    first, rise = rng.integers(2, 9), rng.uniform(0.5, 3)
    steps = [int(first + rise * (row + column)) for row in range(BLOCK) for column in range(BLOCK)]
    return load(save(Image.fromarray(pixels), "JPEG", qtables=[steps, steps]))


def scale(pixels: UInt8Array, factor: float) -> UInt8Array:
    """Pixels resized by a factor, no side below one block."""
    height, width = (max(BLOCK, round(side * factor)) for side in pixels.shape[:2])
    return resize(pixels, (width, height))


def block_ranges(pixels: UInt8Array) -> UInt8Array:
    """Largest less smallest luma of each 8x8 block: uint8 [rows, columns]."""
    rows, columns = (side // BLOCK for side in pixels.shape[:2])
    luma = luma_of(pixels)[: rows * BLOCK, : columns * BLOCK].reshape(rows, BLOCK, columns, BLOCK)
    return np.ptp(luma, axis=(1, 3)).astype(np.uint8)


def choose_window(rng: Random, pixels: UInt8Array, size: int, plain: bool) -> tuple[int, int]:
    """Top and left of a window drawn among all windows of a size, or among the plainest."""
    room = [side - size for side in pixels.shape[:2]]
    if not plain:
        return int(rng.integers(0, room[0] + 1)), int(rng.integers(0, room[1] + 1))
    varied = np.minimum(block_ranges(pixels), VARIED).astype(np.float64)
    windows = np.lib.stride_tricks.sliding_window_view(varied, (size // BLOCK, size // BLOCK)).sum(axis=(2, 3))
    order = np.argsort(windows, axis=None)[: max(1, int(PLAIN * windows.size))]
    places = np.array(np.unravel_index(rng.choice(order), windows.shape)) * BLOCK
    top, left = np.clip(places + rng.integers(-BLOCK // 2, BLOCK // 2 + 1, 2), 0, room)
    return int(top), int(left)


def draw_compression(rng: Random) -> tuple[str, int]:
    """A codec and its level, as CROP_CODECS and the levels say."""
    codec = str(rng.choice(list(CROP_CODECS), p=list(CROP_CODECS.values())))
    finest = codec != "jpeg-mozjpeg" and rng.random() < FINEST_SHARE
    return codec, int(rng.choice(FINEST_LEVELS if finest else CROP_LEVELS))


def draw_without_lattice(rng: Random, pixels: UInt8Array, decoded: UInt8Array) -> UInt8Array:
    """Pixels that lie on no lattice: never compressed, altered after their compression, or by another codec."""
    kind = rng.integers(4)
    if kind == 0:
        return pixels
    if kind == 1:
        return compress(pixels, int(rng.integers(30, 96)), "webp")
    return scale(decoded, rng.uniform(0.7, 0.95)) if kind == 2 else add_noise(decoded, rng.uniform(1, 3), rng)


def make_crops(rng: Random, pixels: UInt8Array) -> Iterator[Case]:
    """Windows of a picture compressed once, of each size that fits: a plain one, any one, one without lattice."""
    codec, level = draw_compression(rng)
    match = "mozjpeg" if codec == "jpeg-mozjpeg" else "exact"
    decoded = compress(pixels, level, codec)
    other = draw_without_lattice(rng, pixels, decoded)
    kinds = (("plain", True, decoded), ("any", False, decoded), ("no lattice", True, other))
    for size in CROP_SIZES:
        for kind, plainest, picture in kinds:
            if size <= min(picture.shape[:2]):
                top, left = choose_window(rng, picture, size, plainest)
                cut = np.ascontiguousarray(picture[top : top + size, left : left + size])
                truth = (None, None) if picture is other else (match, level)
                yield Case(f"{size} pixels, {kind}", cut, *truth)


def make_cases(rng: Random, pixels: UInt8Array) -> Iterator[Case]:
    """A picture compressed, compressed twice, cut, altered, and as it is."""
    level, first, photoshop = int(rng.integers(1, 101)), int(rng.integers(20, 70)), int(rng.integers(0, 13))
    yield Case("decoded", compress(pixels, level), "exact", level)
    yield Case("photoshop", compress(pixels, photoshop, "jpeg-photoshop"), "photoshop", photoshop)
    yield Case("mozjpeg", compress(pixels, level // 2 + 40, "jpeg-mozjpeg"), "mozjpeg", level // 2 + 40)
    yield Case("custom", compress_custom(rng, pixels), "custom")
    yield Case("twice", compress(compress(pixels, first), first + 25), "exact", first)
    yield from make_crops(rng, pixels)
    yield Case("never compressed", pixels)
    yield Case("resized", scale(compress(pixels, level), 0.9))
    yield Case("noise", add_noise(compress(pixels, level), 2, rng))
    yield Case("webp", compress(pixels, 75, "webp"))


def draw_cases(
    corpus: list[UInt8Array], rounds: int, make: Callable[[Random, UInt8Array], Iterator[Case]]
) -> Iterator[Case]:
    """Cases of all pictures, so many rounds of each; the same ones at every call."""
    for index, pixels in enumerate(corpus):
        for turn in range(rounds):
            yield from make(np.random.default_rng([index, turn]), pixels)
