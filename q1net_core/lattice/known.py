"""The known table whose lattice explains the coefficients of blocks best.

Layer: numpy only; no keras, no beam, no pyarrow.
"""

from dataclasses import dataclass, replace

import numpy as np

from q1net_core.arrays import UInt8Array
from q1net_core.lattice.blocks import Coefficients, Grid, choose_discriminative_blocks
from q1net_core.lattice.dictionary import (
    AC,
    KnownTable,
    all_pairs,
    known_tables,
    pair_steps,
    screening_pairs,
    select_pairs,
)
from q1net_core.lattice.likelihood import evidence_of, score_pairs, score_without_lattice

# How many blocks of each kind screen the dictionary.
SCREENED_BLOCKS = 96
# Nats below the best screened table within which a table is looked at closely.
SCREENED_GAP = 60.0
# How many screened tables are looked at closely at least.
SCREENED_TABLES = 12
# Evidence of nonzero coefficients, observed over expected, that a table needs. It is about 1 on a lattice, below -2
# without one.
MIN_EVIDENCE = 0.7
# Nats between a table and the next one. Tables closer than that tie.
MIN_MARGIN = 4.0
# Nats within which tables make the same pixels.
EQUAL = 0.01


@dataclass(frozen=True, slots=True)
class TableFit:
    """The best known table of a picture.

    ``margin`` is in nats above the next table. ``ties`` are the tables closer than MIN_MARGIN. ``explained`` is the
    likelihood gained over no lattice, as a share of what freely chosen steps gain.
    """

    table: KnownTable
    margin: float
    ties: tuple[KnownTable, ...]
    explained: float


def fit_known_tables(groups: list[Coefficients]) -> tuple[TableFit | None, float]:
    """Find the most likely known table among those with enough evidence.

    Returns:
        The fit, or None where no table has MIN_EVIDENCE; and the evidence of the fitted or else the likeliest table.
    """
    pairs = screening_pairs()
    few = [Coefficients(group.magnitudes[:, :SCREENED_BLOCKS], group.noise) for group in groups]
    screened = score_pairs(few, pairs)
    scores = screened.likelihood[pairs.rows].sum(axis=1)
    without = score_without_lattice(few, np.unique(pairs.frequencies)).sum()
    free = np.maximum.reduceat(screened.likelihood, np.flatnonzero(np.diff(pairs.frequencies, prepend=-1))).sum()
    evidence = evidence_of(screened, pairs.rows)
    likeliest = float(evidence[scores.argmax()])
    # Half of what is needed below: there are fewer coefficients here.
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
    # Of tables that make the same pixels, people use those of round levels.
    not_round = np.array([known_tables()[index].level % 5 != 0 for index in chosen])
    best, *others = np.lexsort((gaps, np.where(gaps < EQUAL, not_round, 2)))
    ties = tuple(known_tables()[chosen[index]] for index in others if gaps[index] < MIN_MARGIN)
    margin = min((float(gaps[index]) for index in others if np.isfinite(gaps[index])), default=SCREENED_GAP)
    return TableFit(known_tables()[chosen[best]], margin, ties, float(explained)), float(evidence[best])


def break_ties(fit: TableFit, pixels: UInt8Array, grid: Grid) -> TableFit:
    """Score tied tables by the blocks of the whole picture that discriminate between them.

    Levels 1 and 2 differ in one step, of a frequency that the busiest blocks seldom have.
    """
    tables = (fit.table, *fit.ties)
    steps = np.array([table.steps for table in tables], np.intp)
    frequencies = AC[(steps[:, AC] != steps[0, AC]).any(axis=0)]
    pairs = pair_steps(steps, frequencies)
    blocks = choose_discriminative_blocks(pixels, grid, frequencies)
    scores = score_pairs(blocks, pairs).likelihood[pairs.rows].sum(axis=1)
    best, *others = np.argsort(-scores, kind="stable")
    gaps = scores[best] - scores
    if gaps[others[0]] < MIN_MARGIN:
        return fit
    ties = tuple(tables[index] for index in others if gaps[index] < MIN_MARGIN)
    return replace(fit, table=tables[best], margin=float(gaps[others[0]]), ties=ties)
