"""The quantization tables that the lattice estimator knows.

Layer: numpy only; no keras, no beam, no pyarrow.

Tables share most of their steps. Each pair (frequency, step) is scored once and serves all tables that have it, so the
cost does not grow with the dictionary.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np

from q1net_core.arrays import Float32Array, IntArray
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

# The frequencies that are scored, lowest first: all but the mean of a block (DC), which changes with brightness.
AC = np.array(ZIGZAG[1:], np.intp)
# The lowest of them, which decide what tables are worth a closer look.
SCREENED = AC[:20]


@dataclass(frozen=True, slots=True)
class KnownTable:
    """One luma table of a known encoder.

    ``family`` names the encoders: libjpeg, photoshop, save_for_web or mozjpeg. ``level`` is the encoder's own level,
    ``quality`` the nearest libjpeg level. ``steps`` are 64 in row order.
    """

    family: str
    level: int
    quality: int
    steps: Table

    @property
    def match(self) -> str:
        """The value of the column ``lattice_match``."""
        return "exact" if self.family == "libjpeg" else self.family


@dataclass(frozen=True, slots=True)
class Pairs:
    """The distinct pairs of frequency and step of some tables.

    ``frequencies`` int [P] in row order, ``steps`` float32 [P]. ``rows`` int [tables, frequencies] says which pair each
    table has at each scored frequency.
    """

    frequencies: IntArray
    steps: Float32Array
    rows: IntArray


@cache
def known_tables() -> tuple[KnownTable, ...]:
    """The tables of libjpeg, Photoshop, Save for Web and mozjpeg; a table of two families belongs to the earlier."""
    tables: dict[Table, KnownTable] = {}

    def add(family: str, level: int, steps: Table) -> None:
        quality = level if family == "libjpeg" else fit_quality(steps)
        tables.setdefault(steps, KnownTable(family, level, quality, steps))

    for level in JPEG_QUALITIES:
        add("libjpeg", level, tuple(standard_tables(level)[0].tolist()))
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


@cache
def all_pairs() -> Pairs:
    """The pairs of all known tables at all scored frequencies."""
    return pair_steps(all_steps(), AC)


@cache
def screening_pairs() -> Pairs:
    """The pairs of all known tables at the screened frequencies."""
    return pair_steps(all_steps(), SCREENED)


def select_pairs(pairs: Pairs, tables: IntArray) -> Pairs:
    """The pairs that some of the tables have: ``tables`` int [T] are the rows to keep."""
    used, rows = np.unique(pairs.rows[tables], return_inverse=True)
    return Pairs(pairs.frequencies[used], pairs.steps[used], rows.reshape(len(tables), -1))
