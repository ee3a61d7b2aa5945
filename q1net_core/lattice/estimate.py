"""Pixels -> the exact level they were compressed at, or an abstention: a maximum-likelihood test over known tables.

Layer: numpy only; no keras, no beam, no pyarrow.

The DCT coefficients of decoded luma are multiples of the table's steps, plus the decoder's rounding noise. Each known
table is judged by how well its lattice explains the busiest blocks; the gate then asks whether that lattice is really
there. Constants were set on the validation images, never on the test images.

Source: Fan and de Queiroz, TIP 2003 (the idea); Neelamani et al., TIP 2006 (tables as a dictionary).
"""

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import numpy.typing as npt

from q1net_core.jpeg.tables import fit_quality
from q1net_core.lattice.dictionary import (
    AC,
    KnownTable,
    Pairs,
    all_pairs,
    known_tables,
    pair_steps,
    screening_pairs,
    select_pairs,
)
from q1net_core.lattice.double_compression import find_first_table
from q1net_core.lattice.grid import Grid, find_grid, measure_activity
from q1net_core.lattice.likelihood import (
    Coefficients,
    PairScores,
    choose_blocks,
    choose_telling_blocks,
    score_pairs,
    score_without_lattice,
)
from q1net_core.records import LatticeEstimate, UInt8Array

Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.intp]

# How many blocks of each kind screen the dictionary, and which tables are then looked at closely: those within so many
# nats of the best one, and always a dozen.
SCREENED_BLOCKS = 96
SCREENED_GAP = 60.0
SCREENED_TABLES = 12
# Evidence of the coefficients that are not zero, observed over expected: about 1 on a lattice, below -2 on none.
MIN_EVIDENCE = 0.7
# What a known table must explain of what the best steps explain that each frequency may choose for itself.
MIN_EXPLAINED = 0.8
# Nats between one level and the next. Levels closer than that are ties, which are answered if they are neighbours.
MIN_MARGIN = 4.0
TIE_SPAN = 2
EQUAL = 0.01
# A table of no known encoder must show so many frequencies with a step of their own, each by so many nats, on a grid
# that stands out by so many deviations.
CUSTOM_FREQUENCIES = 8
CUSTOM_GAIN = 10.0
CUSTOM_PROMINENCE = 8.0
CUSTOM_STEPS = np.arange(1, 129)


@dataclass(frozen=True, slots=True)
class TableFit:
    """The best known table of a picture: its nats above the next level, what ties with it, and how real it is.

    ``explained`` is the share of what freely chosen steps would explain.
    """

    table: KnownTable
    margin: float
    ties: tuple[KnownTable, ...]
    explained: float


def estimate_lattice(pixels: UInt8Array) -> LatticeEstimate:
    """The level of the quantization table whose lattice the pixels lie on; quality None where it abstains.

    Args:
        pixels: uint8 [height, width, 3] RGB or [height, width] luma, as decoded, not altered since.
    """
    if pixels.ndim == 2:
        pixels = np.broadcast_to(pixels[..., None], (*pixels.shape, 3))
    grid = find_grid(pixels)
    found = estimate_on_grid(pixels, grid)
    if found.quality is None and (grid.x, grid.y) != (0, 0):
        # Where little stands out, a wrong phase may be found; files start on their grid.
        at_start = estimate_on_grid(pixels, Grid(0, 0, 0.0, measure_activity(pixels)))
        return found if at_start.quality is None else at_start
    return found


def estimate_on_grid(pixels: UInt8Array, grid: Grid) -> LatticeEstimate:
    """The same for a known grid of these pixels."""
    groups = choose_blocks(pixels, grid)
    if not groups:
        return LatticeEstimate()
    last, evidence = fit_known_tables(groups)
    if last is not None and last.ties:
        last = break_ties(last, pixels, grid)
    first = find_first_table(groups, last.table) if last is not None else None
    if last is not None and (first is not None or last.explained >= MIN_EXPLAINED):
        if first is None and not is_answer(last):
            return LatticeEstimate(evidence=evidence)
        answer = first or last.table
        return LatticeEstimate(
            quality=float(answer.quality),
            margin=last.margin,
            match=answer.family,
            level=answer.level,
            ties=() if first else tuple(sorted(table.level for table in last.ties)),
            last_quality=float(last.table.quality),
            evidence=evidence,
            steps=answer.steps,
            grid=(grid.x, grid.y),
        )
    if grid.prominence >= CUSTOM_PROMINENCE and (custom := fit_free_steps(groups)) is not None:
        steps, evidence = custom
        quality = float(fit_quality(steps))
        return LatticeEstimate(
            quality=quality,
            match="custom",
            last_quality=quality,
            evidence=evidence,
            steps=tuple(steps.tolist()),
            grid=(grid.x, grid.y),
        )
    return LatticeEstimate(evidence=evidence)


def is_answer(fit: TableFit) -> bool:
    """Whether nothing ties but neighbouring levels of libjpeg."""
    qualities = [table.quality for table in (fit.table, *fit.ties)]
    return max(qualities) - min(qualities) <= TIE_SPAN and all(table.family == "exact" for table in fit.ties)


def fit_known_tables(groups: list[Coefficients]) -> tuple[TableFit | None, float]:
    """The most likely known table whose lattice is really there, if any, and its evidence, or else the likeliest's."""
    pairs = screening_pairs()
    few = [Coefficients(group.magnitudes[:, :SCREENED_BLOCKS], group.noise) for group in groups]
    screened = score_pairs(few, pairs)
    scores = screened.likelihood[pairs.rows].sum(axis=1)
    without = score_without_lattice(few, np.unique(pairs.frequencies)).sum()
    free = np.maximum.reduceat(screened.likelihood, np.flatnonzero(np.diff(pairs.frequencies, prepend=-1))).sum()
    evidence = evidence_of(screened, pairs.rows)
    likeliest = float(evidence[scores.argmax()])
    # Half the gate: there are fewer coefficients here than below.
    scores[evidence < MIN_EVIDENCE / 2] = -np.inf
    order = np.argsort(-scores, kind="stable")
    if not np.isfinite(scores[order[0]]):
        return None, likeliest
    wanted = max(int((scores >= scores[order[0]] - SCREENED_GAP).sum()), SCREENED_TABLES)
    chosen = np.sort(order[: min(wanted, int(np.isfinite(scores).sum()))])
    explained = (scores[order[0]] - without) / max(free - without, 1e-9)

    pairs = select_pairs(all_pairs(), chosen)
    close = score_pairs(groups, pairs)
    scores, evidence = close.likelihood[pairs.rows].sum(axis=1), evidence_of(close, pairs.rows)
    scores[evidence < MIN_EVIDENCE] = -np.inf
    if not np.isfinite(scores.max()):
        return None, likeliest
    gaps = scores.max() - scores
    # Of tables that the pixels cannot tell apart at all, people use those of round levels.
    usual = np.array([known_tables()[index].level % 5 != 0 for index in chosen])
    best, *others = np.lexsort((gaps, np.where(gaps < EQUAL, usual, 2)))
    ties = tuple(known_tables()[chosen[index]] for index in others if gaps[index] < MIN_MARGIN)
    margin = min((float(gaps[index]) for index in others if np.isfinite(gaps[index])), default=SCREENED_GAP)
    return TableFit(known_tables()[chosen[best]], margin, ties, float(explained)), float(evidence[best])


def break_ties(fit: TableFit, pixels: UInt8Array, grid: Grid) -> TableFit:
    """The same with fewer ties, by the blocks of the whole picture that have most where the tied tables differ.

    Levels 1 and 2 differ in one step, that of a pattern which seldom is among the busiest blocks.
    """
    tables = (fit.table, *fit.ties)
    steps = np.array([table.steps for table in tables], np.intp)
    frequencies = AC[(steps[:, AC] != steps[0, AC]).any(axis=0)]
    pairs = pair_steps(steps, frequencies)
    scores = score_pairs(choose_telling_blocks(pixels, grid, frequencies), pairs).likelihood[pairs.rows].sum(axis=1)
    best, *others = np.argsort(-scores, kind="stable")
    gaps = scores[best] - scores
    if gaps[others[0]] < MIN_MARGIN:
        return fit
    ties = tuple(tables[index] for index in others if gaps[index] < MIN_MARGIN)
    return replace(fit, table=tables[best], margin=float(gaps[others[0]]), ties=ties)


def evidence_of(scores: PairScores, rows: IntArray) -> Array:
    """Evidence for each table, observed over expected; 0 where no coefficient could give any."""
    observed, expected = scores.observed[rows].sum(axis=1), scores.expected[rows].sum(axis=1)
    ratio: Array = np.divide(observed, expected, out=np.zeros_like(observed), where=expected > 0)
    return ratio


@cache
def free_pairs() -> Pairs:
    """Every step at every frequency but DC, one row a step."""
    return pair_steps(np.broadcast_to(CUSTOM_STEPS[:, None], (len(CUSTOM_STEPS), 64)), AC)


def fit_free_steps(groups: list[Coefficients]) -> tuple[IntArray, float] | None:
    """The best step of each frequency for itself, int [64] with 0 where nothing tells, and its evidence; or None."""
    pairs = free_pairs()
    scores = score_pairs(groups, pairs)
    likelihood = scores.likelihood[pairs.rows]
    best = likelihood.argmax(axis=0)
    gain = likelihood.max(axis=0) - score_without_lattice(groups, AC)
    columns = np.arange(len(AC))
    decided = (gain >= CUSTOM_GAIN) & (scores.expected[pairs.rows[best, columns]] > 0)
    if decided.sum() < CUSTOM_FREQUENCIES:
        return None
    chosen = pairs.rows[best, columns][decided]
    evidence = float(scores.observed[chosen].sum() / scores.expected[chosen].sum())
    if evidence < MIN_EVIDENCE:
        return None
    found = np.zeros(64, np.intp)
    found[AC[decided]] = CUSTOM_STEPS[best[decided]]
    return found, evidence
