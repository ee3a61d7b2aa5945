"""The conditions of the stress study: what may happen to pictures before they are seen, with the right answers.

A condition is a function of lossless pixels, a level and a random generator that depends on these two alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from hashlib import sha256

import numpy as np
from PIL import Image

from q1net_core import alterations as change
from q1net_core.arrays import UInt8Array
from q1net_core.codecs.base import load, save
from q1net_core.codecs.jpeg import encode_jpeg, encode_tables, mozjpeg_tables
from q1net_core.codecs.table import CODECS
from q1net_core.jpeg.tables import PHOTOSHOP_TABLES, SAVE_FOR_WEB_TABLES, Table, TablePair, standard_tables
from q1net_core.lattice.dictionary import KnownTable, known_tables
from q1net_core.patches import BLOCK

Random = np.random.Generator


@dataclass(frozen=True, slots=True)
class Sample:
    """One picture to be estimated: the file, the ``table`` that is the right answer, the ``grid`` (x, y) it lies on.

    Where both are None nothing is left to find, and any answer is wrong.
    """

    encoded: bytes
    table: KnownTable | None = None
    grid: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Condition:
    """One row of the study: ``make`` alters a lossless picture at a level, one of ``levels`` where it has its own."""

    make: Callable[[UInt8Array, int, Random], Sample]
    levels: Sequence[int] | None = None


@cache
def tables_by_steps() -> dict[Table, KnownTable]:
    """The known tables by their steps."""
    return {table.steps: table for table in known_tables()}


def standard(level: int) -> KnownTable:
    """The table of a libjpeg level."""
    return tables_by_steps()[tuple(standard_tables(level)[0].tolist())]


def keep(pixels: UInt8Array) -> bytes:
    """Pixels as a lossless file that is cheap to write and read."""
    return save(Image.fromarray(pixels), "PPM")


def on_grid(pixels: UInt8Array, level: int) -> Sample:
    """Pixels that were compressed at a level and stayed on their grid."""
    return Sample(keep(pixels), standard(level), (0, 0))


def crop(
    pixels: UInt8Array, level: int, rng: Random, size: int | None = None, aligned: bool = True, jpeg: bool = True
) -> Sample:
    """Compressed, then a window of ``size`` cut somewhere, or up to 7 pixels from the top and left."""
    pixels = load(encode_jpeg(pixels, level)) if jpeg else pixels
    height, width = pixels.shape[:2]
    room = [side - min(size, side) if size else min(BLOCK - 1, side - 1) for side in (height, width)]
    top, left = (int(rng.integers(0, most + 1)) for most in room)
    if aligned:
        top, left = (start - start % BLOCK for start in (top, left))
    cut = pixels[top : top + size if size else height, left : left + size if size else width]
    return Sample(keep(cut), standard(level), (-left % BLOCK, -top % BLOCK)) if jpeg else Sample(keep(cut))


def compress_jpeg(pixels: UInt8Array, level: int, rng: Random, sampling: str = "4:2:0") -> Sample:
    """The JPEG file itself."""
    return Sample(encode_jpeg(pixels, level, sampling), standard(level), (0, 0))


def compress_progressive(pixels: UInt8Array, level: int, rng: Random) -> Sample:
    """A progressive JPEG file."""
    return Sample(save(Image.fromarray(pixels), "JPEG", quality=level, progressive=True), standard(level), (0, 0))


def compress_foreign(pixels: UInt8Array, level: int, rng: Random, tables: Callable[[int], TablePair]) -> Sample:
    """A JPEG file with the tables of another encoder."""
    pair = tables(level)
    return Sample(encode_tables(pixels, pair), tables_by_steps()[pair.luma], (0, 0))


def add_noise(pixels: UInt8Array, level: int, rng: Random, sigma: float) -> Sample:
    """Compressed, then Gaussian noise: what the level was may still be found."""
    decoded = load(encode_jpeg(pixels, level))
    return on_grid(change.add_noise(decoded, sigma, rng), level)


def brighten(pixels: UInt8Array, level: int, rng: Random, by: int) -> Sample:
    """Compressed, then brighter: the lattice stays, but for its constant term and what is clipped."""
    return on_grid(change.change_tone(load(encode_jpeg(pixels, level)), 1.0, by), level)


def resize(pixels: UInt8Array, level: int, rng: Random, factor: float) -> Sample:
    """Compressed, then resized: no lattice is left."""
    height, width = (round(side * factor) for side in pixels.shape[:2])
    return Sample(keep(change.resize(load(encode_jpeg(pixels, level)), (width, height))))


def rotate(pixels: UInt8Array, level: int, rng: Random) -> Sample:
    """Compressed, then turned by 1-10 degrees, the inner half of it: no lattice is left."""
    turned = change.rotate(load(encode_jpeg(pixels, level)), rng.uniform(1, 10))
    height, width = turned.shape[:2]
    return Sample(keep(turned[height // 4 : height * 3 // 4, width // 4 : width * 3 // 4]))


def convert(pixels: UInt8Array, level: int, rng: Random, codec: str, jpeg: bool) -> Sample:
    """Another codec at ``level``, or at 50-100 after JPEG at ``level``, which may still be found."""
    if not jpeg:
        return Sample(keep(CODECS[codec].compress(pixels, level)))
    return on_grid(CODECS[codec].compress(load(encode_jpeg(pixels, level)), int(rng.integers(50, 101))), level)


def scale_of(level: int) -> float:
    """How coarse libjpeg's steps are at a level."""
    return 5000 / level if level < 50 else 200 - 2 * level


def draw_finer(level: int, rng: Random, ratio: float = 1) -> int:
    """A level above this one whose steps are at least ``ratio`` times finer; 100 where there is none."""
    finer = [other for other in range(level + 1, 101) if scale_of(other) * ratio <= scale_of(level)]
    return int(rng.choice(finer)) if finer else 100


def compress_twice(
    pixels: UInt8Array, level: int, rng: Random, coarse_first: bool, ratio: float = 1, shift: bool = False
) -> Sample:
    """Compressed twice, at ``level`` and a finer one, in either order: the coarser one is the answer.

    With ``shift`` the picture is cut off the grid in between, and then only the last, the coarser one can be found.
    """
    finer = draw_finer(level, rng, ratio)
    first, last = (level, finer) if coarse_first else (finer, level)
    decoded = load(encode_jpeg(pixels, first))
    if shift:
        top, left = divmod(int(rng.integers(1, BLOCK * BLOCK)), BLOCK)
        decoded = decoded[top:, left:]
    return Sample(encode_jpeg(decoded, last), standard(last if shift else level), (0, 0))


CROP_SIZES = (256, 128, 64, 32)
CONDITIONS = (
    {"full": Condition(compress_jpeg), "full-random": Condition(partial(crop, aligned=False))}
    | {
        f"crop-{size}{suffix}": Condition(partial(crop, size=size, aligned=not suffix))
        for size in CROP_SIZES
        for suffix in ("", "-random")
    }
    | {
        f"jpeg-{sampling.replace(':', '')}": Condition(partial(compress_jpeg, sampling=sampling))
        for sampling in ("4:2:2", "4:4:4", "grey")
    }
    | {
        "progressive": Condition(compress_progressive),
        "photoshop": Condition(partial(compress_foreign, tables=PHOTOSHOP_TABLES.__getitem__), tuple(PHOTOSHOP_TABLES)),
        "save-for-web": Condition(
            partial(compress_foreign, tables=SAVE_FOR_WEB_TABLES.__getitem__), tuple(SAVE_FOR_WEB_TABLES)
        ),
        "mozjpeg": Condition(partial(compress_foreign, tables=mozjpeg_tables)),
    }
    | {f"noise-{sigma:g}": Condition(partial(add_noise, sigma=sigma)) for sigma in (0.5, 1.0, 2.0)}
    | {"brighter-6": Condition(partial(brighten, by=6))}
    | {
        "twice-finer": Condition(partial(compress_twice, coarse_first=True)),
        "twice-much-finer": Condition(partial(compress_twice, coarse_first=True, ratio=2)),
        "twice-coarser": Condition(partial(compress_twice, coarse_first=False)),
        "twice-coarser-shifted": Condition(partial(compress_twice, coarse_first=False, shift=True)),
        "twice-finer-shifted": Condition(partial(compress_twice, coarse_first=True, shift=True)),
        "webp-of-jpeg": Condition(partial(convert, codec="webp", jpeg=True)),
        "avif-of-jpeg": Condition(partial(convert, codec="avif", jpeg=True)),
    }
    | {f"resize-{factor:g}": Condition(partial(resize, factor=factor)) for factor in (0.5, 0.9, 1.03)}
    | {
        "rotate": Condition(rotate),
        "webp": Condition(partial(convert, codec="webp", jpeg=False)),
        "avif": Condition(partial(convert, codec="avif", jpeg=False)),
        "never": Condition(lambda pixels, level, rng: Sample(keep(pixels)), (0,)),
        "never-crop-256": Condition(partial(crop, size=256, aligned=False, jpeg=False)),
    }
)


def levels_of(condition: str, levels: Sequence[int]) -> Sequence[int]:
    """The levels at which a condition is tried: its own, or those of the study."""
    return CONDITIONS[condition].levels or levels


def seed_of(pixels: UInt8Array) -> int:
    """A seed that depends on the picture alone."""
    return int.from_bytes(sha256(pixels.tobytes()).digest()[:8])
