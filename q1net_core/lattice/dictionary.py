"""The dictionary of quantization tables that the lattice estimator knows, arranged for scoring.

Layer: numpy only; no keras, no beam, no pyarrow.

Tables share most of their steps: scoring each pair (frequency, step) once serves all tables, so that the cost does not
grow with the dictionary.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from q1net_core.jpeg.tables import (
    JPEG_QUALITIES,
    PHOTOSHOP_TABLES,
    SAVE_FOR_WEB_TABLES,
    ZIGZAG,
    Table,
    fit_quality,
    mozjpeg_table,
    standard_tables,
)
from q1net_core.records import Float32Array

IntArray = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class KnownTable:
    """One luma table: its ``family`` as in HEADER_MATCHES, the family's own ``level``, the libjpeg ``quality``."""

    family: str
    level: int
    quality: int
    steps: Table


@dataclass(frozen=True, slots=True)
class Pairs:
    """All different pairs of frequency and step of some tables.

    ``frequencies`` int [P] in natural order, ``steps`` float32 [P], and ``rows`` int [tables, frequencies]: which pair
    each table has at each frequency looked at.
    """

    frequencies: IntArray
    steps: Float32Array
    rows: IntArray


@cache
def known_tables() -> tuple[KnownTable, ...]:
    """The tables of libjpeg, Photoshop, Save for Web and mozjpeg, each once, earlier families first."""
    tables: dict[Table, KnownTable] = {}

    def add(family: str, level: int, steps: Table) -> None:
        quality = level if family == "exact" else fit_quality(steps)
        tables.setdefault(steps, KnownTable(family, level, quality, steps))

    for level in JPEG_QUALITIES:
        add("exact", level, tuple(standard_tables(level)[0].tolist()))
    for level, pair in PHOTOSHOP_TABLES.items():
        add("photoshop", level, pair.luma)
    for level, pair in SAVE_FOR_WEB_TABLES.items():
        add("save_for_web", level, pair.luma)
    for level in JPEG_QUALITIES:
        add("mozjpeg", level, tuple(mozjpeg_table(level).tolist()))
    return tuple(tables.values())


@cache
def all_steps() -> IntArray:
    """Steps of all known tables: int [tables, 64], read-only."""
    steps = np.array([table.steps for table in known_tables()], np.intp)
    steps.setflags(write=False)
    return steps


def pair_steps(steps: IntArray, frequencies: IntArray) -> Pairs:
    """The pairs of tables int [tables, 64] at some frequencies."""
    chosen, values, rows = [], [], np.empty((len(steps), len(frequencies)), np.intp)
    count = 0
    for column, frequency in enumerate(frequencies):
        unique, inverse = np.unique(steps[:, frequency], return_inverse=True)
        rows[:, column] = inverse + count
        chosen.append(np.full(len(unique), frequency))
        values.append(unique)
        count += len(unique)
    return Pairs(np.concatenate(chosen), np.concatenate(values).astype(np.float32), rows)


# All frequencies but the mean of a block, DC: that changes with brightness, the others do not.
AC = np.array(ZIGZAG[1:], np.intp)
# The lowest frequencies decide which tables are worth a closer look.
SCREENED = AC[:20]


@cache
def all_pairs() -> Pairs:
    """The pairs of all known tables at all frequencies but the first, DC."""
    return pair_steps(all_steps(), AC)


def select_pairs(pairs: Pairs, tables: IntArray) -> Pairs:
    """Only the pairs that some of the tables have, ``tables`` int [T], and their rows."""
    used, rows = np.unique(pairs.rows[tables], return_inverse=True)
    return Pairs(pairs.frequencies[used], pairs.steps[used], rows.reshape(len(tables), -1))


@cache
def screening_pairs() -> Pairs:
    """The pairs of all known tables at the screened frequencies."""
    return pair_steps(all_steps(), SCREENED)
