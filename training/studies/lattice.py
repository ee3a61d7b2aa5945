"""`python -m training.studies.lattice`: how right the lattice is on crops, or as its thresholds move.

Pictures are lossless validation images; ``lattice_cases`` compresses, cuts and alters them by seed.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType

import numpy as np
from tqdm import tqdm

from q1net_core.arrays import BoolArray, UInt8Array
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
from q1net_core.records import LatticeEstimate
from training.data.photographs import load_corpus
from training.studies.lattice_cases import Case, block_ranges, draw_cases, make_cases, make_crops

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
# Levels of luma below which the range of a block counts as flat, and the share of blocks that must not be flat.
FLAT_RANGE = 3
MIN_NOT_FLAT = 1 / 3
HEADER = "cases | accepted % | exact % | wrong % | abstained %"


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
        known_names = [name_of(module, name) for module, name in THRESHOLDS]
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
