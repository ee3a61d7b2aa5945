"""`python -m training.studies.lattice`: how right the lattice is on crops, or as its thresholds move.

Pictures are lossless validation images. They are compressed, cut and altered by seed: tables, levels, colour sampling
and places are drawn.
"""

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType

import numpy as np
from PIL import Image
from tqdm import tqdm

from q1net_core.arrays import BoolArray, UInt8Array
from q1net_core.codecs.base import load, save
from q1net_core.codecs.table import CODECS
from q1net_core.errors import ConfigError
from q1net_core.jpeg.tables import fit_quality, mozjpeg_table
from q1net_core.lattice import (
    blocks,
    custom,
    double_compression,
    estimate,
    grid,
    known,
    likelihood,
    plain,
    reproduction,
)
from q1net_core.lattice.blocks import luma_of
from q1net_core.patches import BLOCK
from q1net_core.records import LatticeEstimate
from training.data.photographs import load_corpus

Random = np.random.Generator

# What thresholds are multiplied with.
FACTORS = (0.5, 0.9, 1.0, 1.1, 2.0)
# Module and name of each threshold.
THRESHOLDS: tuple[tuple[ModuleType, str], ...] = (
    (grid, "WINDOWS"),
    (grid, "FIRST_WINDOWS"),
    (grid, "SURE"),
    (grid, "ZERO"),
    (blocks, "BLOCKS"),
    (blocks, "SPARSE_ACTIVITY"),
    (blocks, "DISCRIMINATIVE_CANDIDATES"),
    (likelihood, "SMALL_STEP"),
    (known, "SCREENED_BLOCKS"),
    (known, "SCREENED_GAP"),
    (known, "SCREENED_TABLES"),
    (known, "MIN_EVIDENCE"),
    (known, "MIN_MARGIN"),
    (known, "EQUAL"),
    (estimate, "MIN_EXPLAINED"),
    (estimate, "BUSY_BLOCKS"),
    (estimate, "CUSTOM_PROMINENCE"),
    (custom, "MIN_EVIDENCE"),
    (custom, "CUSTOM_GAIN"),
    (custom, "CUSTOM_FREQUENCIES"),
    (double_compression, "SAMPLED_BLOCKS"),
    (double_compression, "LARGEST_MULTIPLE"),
    (double_compression, "ROUNDING"),
    (double_compression, "OUTLIERS"),
    (double_compression, "COARSER"),
    (double_compression, "MIN_COARSER"),
    (double_compression, "MIN_GAIN"),
    (double_compression, "MIN_SHARE"),
    (plain, "SURE_WINDOWS"),
    (plain, "WINDOWS"),
    (plain, "GRIDS"),
    (plain, "MIN_GAIN"),
    (plain, "MIN_SHARE"),
    (plain, "FINE_GAIN"),
    (plain, "SURE_GAIN"),
    (plain, "FINEST"),
    (plain, "TIE_SPAN"),
    (reproduction, "ENOUGH_BLOCKS"),
    (reproduction, "MAX_CLIPPED"),
    (reproduction, "GUESSES"),
    (reproduction, "SCREENED_BLOCKS"),
    (reproduction, "SCREENED_TABLES"),
    (reproduction, "OUTLIERS"),
)
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
# Levels of luma below which the range of a block counts as flat, and the share of blocks that must not be flat.
FLAT_RANGE = 3
MIN_NOT_FLAT = 1 / 3
HEADER = "cases | accepted % | exact % | wrong % | abstained %"


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


@dataclass(frozen=True, slots=True)
class Outcome:
    """The lattice's answer to a case: ``accepted`` or not; if so ``exact``, or ``wrong``, or tied with the truth."""

    accepted: bool
    exact: bool
    wrong: bool


def quality_of(case: Case) -> int | None:
    """The libjpeg level of the truth, nearest where the table is mozjpeg's; None where there is none to tie with."""
    if case.match == "mozjpeg" and case.level is not None:
        return fit_quality(tuple(mozjpeg_table(case.level).tolist()))
    return case.level if case.match == "exact" else None


def judge(case: Case, found: LatticeEstimate) -> Outcome:
    """Compare an answer with the truth."""
    accepted = found.quality is not None
    exact = accepted and case.match is not None and (found.match, found.level) == (case.match, case.level)
    quality = quality_of(case)
    same = case.match == found.match and quality == found.quality
    tied = accepted and quality is not None and (same or quality in found.ties)
    return Outcome(accepted, exact, accepted and not exact and not tied)


def compress(pixels: UInt8Array, level: int, codec: str = "jpeg") -> UInt8Array:
    """Pixels after a codec of CODECS."""
    return CODECS[codec].compress(pixels, level)


def compress_custom(rng: Random, pixels: UInt8Array) -> UInt8Array:
    """Pixels after JPEG with a table of no known encoder: steps that rise with the frequency, first and rise drawn."""
    first, rise = rng.integers(2, 9), rng.uniform(0.5, 3)
    steps = [int(first + rise * (row + column)) for row in range(BLOCK) for column in range(BLOCK)]
    return load(save(Image.fromarray(pixels), "JPEG", qtables=[steps, steps]))


def resize(pixels: UInt8Array, factor: float) -> UInt8Array:
    """Pixels resized by a factor."""
    height, width = (max(BLOCK, round(side * factor)) for side in pixels.shape[:2])
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS))


def add_noise(rng: Random, pixels: UInt8Array, sigma: float) -> UInt8Array:
    """Pixels with Gaussian noise."""
    return np.clip(np.rint(pixels + rng.normal(0, sigma, pixels.shape)), 0, 255).astype(np.uint8)


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
    return resize(decoded, rng.uniform(0.7, 0.95)) if kind == 2 else add_noise(rng, decoded, rng.uniform(1, 3))


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
    yield Case("resized", resize(compress(pixels, level), 0.9))
    yield Case("noise", add_noise(rng, compress(pixels, level), 2))
    yield Case("webp", compress(pixels, 75, "webp"))


def draw_cases(
    corpus: list[UInt8Array], rounds: int, make: Callable[[Random, UInt8Array], Iterator[Case]]
) -> Iterator[Case]:
    """Cases of all pictures, so many rounds of each; the same ones at every call."""
    for index, pixels in enumerate(corpus):
        for turn in range(rounds):
            yield from make(np.random.default_rng([index, turn]), pixels)


@contextmanager
def moved(module: ModuleType, name: str, factor: float) -> Iterator[float]:
    """A threshold multiplied by a factor for as long as the context lasts; integers stay integers of at least 1."""
    before = getattr(module, name)
    value = max(1, round(before * factor)) if isinstance(before, int) else before * factor
    setattr(module, name, value)
    double_compression.reach_multiples.cache_clear()
    try:
        yield value
    finally:
        setattr(module, name, before)
        double_compression.reach_multiples.cache_clear()


def name_of(module: ModuleType, name: str) -> str:
    """The name of a threshold on the command line: known.MIN_MARGIN."""
    return f"{module.__name__.rpartition('.')[2]}.{name}"


def shares(outcomes: Iterable[Outcome]) -> str:
    """Cells of a Markdown table, as in HEADER."""
    counts: BoolArray = np.array([(o.accepted, o.exact, o.wrong, not o.accepted) for o in outcomes], np.bool_)
    accepted, exact, wrong, abstained = (f"{100 * share:.2f}" for share in counts.mean(axis=0))
    return f"{len(counts)} | {accepted} | {exact} | {wrong} | {abstained}"


def move_thresholds(corpus: list[UInt8Array], rounds: int, names: list[str]) -> Iterator[str]:
    """A Markdown table: how all cases are answered as each threshold moves alone."""
    cases = list(draw_cases(corpus, rounds, make_cases))
    yield f"| threshold | factor | value | {HEADER} |"
    yield "|---" * 8 + "|"
    for module, name in THRESHOLDS:
        full = name_of(module, name)
        if names and full not in names:
            continue
        for factor in FACTORS:
            with moved(module, name, factor) as value:
                cells = shares(judge(case, estimate.estimate_lattice(case.pixels)) for case in cases)
            yield f"| `{full}` | {factor:g} | {value:g} | {cells} |"


def measure_crops(corpus: list[UInt8Array], rounds: int) -> Iterator[str]:
    """A Markdown table: how crops are answered, by size and content, and the abstentions on those that are not flat."""
    found = []
    for case in tqdm(draw_cases(corpus, rounds, make_crops), desc="crops", unit="crop", disable=None):
        not_flat = float((block_ranges(case.pixels) >= FLAT_RANGE).mean()) > MIN_NOT_FLAT
        found.append((case, judge(case, estimate.estimate_lattice(case.pixels)), not_flat))
    yield f"| crops | {HEADER} | not flat | abstained of these % |"
    yield "|---" * 8 + "|"
    decodes = [one for one in found if one[0].match is not None]
    for name in (*sorted({case.kind for case, _, _ in found}), "all decodes"):
        chosen = decodes if name == "all decodes" else [one for one in found if one[0].kind == name]
        rest = [not outcome.accepted for _, outcome, not_flat in chosen if not_flat]
        silent = f"{100 * np.mean(rest):.2f}" if rest else "-"
        yield f"| {name} | {shares(outcome for _, outcome, _ in chosen)} | {len(rest)} | {silent} |"


def make_parser() -> argparse.ArgumentParser:
    """The command's flags."""
    parser = argparse.ArgumentParser(prog="python -m training.studies.lattice", description=__doc__)
    parser.add_argument("--images", required=True, nargs="+", metavar="URI", help="lossless validation images")
    parser.add_argument("--crops", action="store_true", help="measure crops instead of thresholds")
    parser.add_argument("--rounds", type=int, default=1, help="levels drawn for each picture (default: %(default)s)")
    parser.add_argument("--thresholds", nargs="+", default=[], metavar="MODULE.NAME", help="only these thresholds")
    return parser


def run(argv: list[str]) -> int:
    """Print the table; returns the exit status."""
    options = make_parser().parse_args(argv)
    try:
        known_names = [f"{module.__name__.rpartition('.')[2]}.{name}" for module, name in THRESHOLDS]
        if unknown := sorted(set(options.thresholds) - set(known_names)):
            raise ConfigError(
                f"thresholds {', '.join(unknown)} do not exist; expected some of {', '.join(known_names)}"
            )
        corpus = [pixels for pattern in options.images for pixels in load_corpus(pattern)]
    except ConfigError as error:
        print(f"studies.lattice: {error}", file=sys.stderr)
        return 2
    lines = (
        measure_crops(corpus, options.rounds)
        if options.crops
        else move_thresholds(corpus, options.rounds, options.thresholds)
    )
    for line in lines:
        print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
