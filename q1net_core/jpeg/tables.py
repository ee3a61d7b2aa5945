"""Quantization tables of known encoders, and the levels that a given table stands for.

Layer: standard library and numpy; no keras, no beam, no pyarrow.

Every table has 64 steps in natural (row) order. The numbers lie in ``data/quantization_tables.json``.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType

import numpy as np

from q1net_core.arrays import Float64Array, IntArray
from q1net_core.errors import ConfigError

Table = tuple[int, ...]

JPEG_QUALITIES = range(1, 101)
# The k-th step of a table as JPEG files store it is step ZIGZAG[k] in natural order (ITU-T T.81, figure 5):
# diagonal by diagonal, the odd ones downwards.
ZIGZAG: Table = tuple(sorted(range(64), key=lambda i: (i // 8 + i % 8, (i // 8 if (i // 8 + i % 8) % 2 else i % 8))))
# The frequencies that decide which libjpeg quality is nearest to a table: they decide what is visible.
LOWEST_FREQUENCIES = 10
EXTENDED_LIMIT = 32767


@dataclass(frozen=True, slots=True)
class TablePair:
    """One setting of an encoder: its two tables, 64 steps each, and the subsampling it comes with."""

    luma: Table
    chroma: Table
    subsampling: str


def _read_only(table: list[int]) -> IntArray:
    array = np.array(table, np.intp)
    array.setflags(write=False)
    return array


def _read_pairs(group: dict[str, dict[str, list[int]]]) -> Mapping[int, TablePair]:
    return MappingProxyType(
        {
            int(level): TablePair(tuple(pair["luma"]), tuple(pair["chroma"]), str(pair["subsampling"]))
            for level, pair in group.items()
        }
    )


_DATA = json.loads((files("q1net_core") / "data" / "quantization_tables.json").read_text("ascii"))

ANNEX_K_LUMA = _read_only(_DATA["annex_k"]["luma"])
ANNEX_K_CHROMA = _read_only(_DATA["annex_k"]["chroma"])
# libjpeg 9 starts its chroma table with 16, every other libjpeg with the 17 of Annex K.
LIBJPEG_9_CHROMA = _read_only([16, *_DATA["annex_k"]["chroma"][1:]])
ROBIDOUX = _read_only(_DATA["robidoux"])
PHOTOSHOP_TABLES = _read_pairs(_DATA["photoshop"])
SAVE_FOR_WEB_TABLES = _read_pairs(_DATA["save_for_web"])


def scale_table(base: IntArray, quality: int, *, baseline: bool = True) -> IntArray:
    """Scale the table of quality 50 to ``quality``: int [64] -> int [64], as libjpeg does (jcparam.c).

    Steps end at 255 (``baseline``, what Pillow and most programs ask for) or at 32767 (what ``cjpeg`` writes).
    Raises ConfigError if quality is not in 1-100.
    """
    if quality not in JPEG_QUALITIES:
        raise ConfigError(f"quality is {quality!r}; expected an integer from 1 to 100")
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    return np.clip((base * percent + 50) // 100, 1, 255 if baseline else EXTENDED_LIMIT)


def standard_tables(quality: int, *, baseline: bool = True) -> tuple[IntArray, IntArray]:
    """Luma and chroma tables of libjpeg at ``quality``: two int [64] (ITU-T T.81 Annex K, scaled).

    Raises ConfigError if quality is not in 1-100.
    """
    return (
        scale_table(ANNEX_K_LUMA, quality, baseline=baseline),
        scale_table(ANNEX_K_CHROMA, quality, baseline=baseline),
    )


def mozjpeg_table(quality: int, *, baseline: bool = True) -> IntArray:
    """The one table that mozjpeg uses for luma and chroma at ``quality``: int [64] (its table 3, by N. Robidoux).

    Raises ConfigError if quality is not in 1-100.
    """
    return scale_table(ROBIDOUX, quality, baseline=baseline)


def _index_levels(*bases: IntArray) -> dict[Table, frozenset[int]]:
    levels: defaultdict[Table, set[int]] = defaultdict(set)
    for level in JPEG_QUALITIES:
        for base in bases:
            for baseline in (True, False):
                levels[tuple(scale_table(base, level, baseline=baseline).tolist())].add(level)
    return {table: frozenset(found) for table, found in levels.items()}


@cache
def _luma_index() -> dict[Table, frozenset[int]]:
    return _index_levels(ANNEX_K_LUMA)


@cache
def _chroma_index() -> dict[Table, frozenset[int]]:
    return _index_levels(ANNEX_K_CHROMA, LIBJPEG_9_CHROMA)


@cache
def _mozjpeg_index() -> dict[Table, frozenset[int]]:
    return _index_levels(ROBIDOUX)


@cache
def _log_luma() -> Float64Array:
    return np.log([scale_table(ANNEX_K_LUMA, level) for level in JPEG_QUALITIES])


def find_luma_levels(table: Table) -> frozenset[int]:
    """Levels whose standard luma table is exactly ``table``: one, or none if it is not standard."""
    return _luma_index().get(table, frozenset())


def find_chroma_levels(table: Table) -> frozenset[int]:
    """Levels whose standard chroma table, of any libjpeg, is exactly ``table``.

    Empty if it is not standard; levels 1, 2 and 3 share one table, all others have their own.
    """
    return _chroma_index().get(table, frozenset())


def find_mozjpeg_levels(table: Table) -> frozenset[int]:
    """Levels at which mozjpeg writes exactly ``table``: none if it is not mozjpeg's; levels 1, 2 and 3 share one."""
    return _mozjpeg_index().get(table, frozenset())


def fit_quality(steps: Sequence[int] | IntArray) -> int:
    """The libjpeg quality 1-100 nearest to a luma table; the lower one of equals.

    Least squares between the logarithms of the 10 lowest frequencies that are known: high ones mislead, since some
    encoders (Photoshop) cap them.

    Args:
        steps: int [64] in natural order, 0 where unknown; at least one must be known.
    """
    known = [i for i in ZIGZAG if steps[i] > 0][:LOWEST_FREQUENCIES]
    errors = np.square(np.log([steps[i] for i in known]) - _log_luma()[:, known]).sum(axis=1)
    return JPEG_QUALITIES[int(np.argmin(errors))]
