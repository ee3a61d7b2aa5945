"""What a report needs of a run's rows, gathered part by part: memory does not grow with the run.

Pure functions over columns of the audit table.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from heapq import nsmallest
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from q1net_core.records import Status

COLUMNS = (
    "uri",
    "group",
    "status",
    "error",
    "width",
    "height",
    "header_quality",
    "quality",
    "quality_source",
    "verdict",
    "q1net_quality",
    "q1net_confidence",
    "q1net_spread",
    "patches",
    "grid_x",
    "grid_y",
    "variant",
)
# Images shown of each kind.
SHOWN = 6
# Different errors that are told apart; a run of millions may have as many as it has images.
MOST_ERRORS = 10_000

Row = dict[str, Any]


@dataclass(slots=True)
class Gathered:
    """Findings over the rows seen so far.

    ``agreement[header, quality]``, int [101, 101], counts JPEG files by the level of their header and by their answer,
    both rounded. ``errors[status]`` counts error messages. ``hardest`` are the rows of the lowest quality,
    ``least_sure`` those that the network answered and whose patches disagree most.
    """

    agreement: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros((101, 101), np.int64))
    errors: dict[str, Counter[str]] = field(default_factory=dict)
    hardest: list[Row] = field(default_factory=list)
    least_sure: list[Row] = field(default_factory=list)


def gather(tables: Iterable[pa.Table]) -> Gathered:
    """All parts of a run, one at a time, each with at least COLUMNS."""
    found = Gathered()
    for table in tables:
        count_agreement(found.agreement, table)
        count_errors(found.errors, table)
        answered = table.filter(pa.compute.is_valid(table["quality"]))
        found.hardest = keep_first(found.hardest, answered, "quality")
        by_network = answered.filter(pa.compute.equal(answered["quality_source"], "q1net"))
        least_sure = pa.compute.negate(by_network["q1net_spread"])
        found.least_sure = keep_first(found.least_sure, by_network.append_column("certainty", least_sure), "certainty")
    return found


def count_agreement(counts: npt.NDArray[np.int64], table: pa.Table) -> None:
    """Add a part's files that have both a header level and an answer."""
    both = table.filter(pa.compute.and_(*(pa.compute.is_valid(table[name]) for name in ("header_quality", "quality"))))
    rounded = (np.rint(both[name].to_numpy()).astype(np.intp).clip(0, 100) for name in ("header_quality", "quality"))
    np.add.at(counts, tuple(rounded), 1)


def count_errors(errors: dict[str, Counter[str]], table: pa.Table) -> None:
    """Add a part's failed images by status and message; beyond MOST_ERRORS messages, the count alone."""
    failed = table.filter(pa.compute.not_equal(table["status"], Status.OK.value))
    for status, message in zip(failed["status"].to_pylist(), failed["error"].to_pylist(), strict=True):
        known = errors.setdefault(status, Counter())
        known[message if message in known or len(known) < MOST_ERRORS else "(further messages)"] += 1


def keep_first(kept: list[Row], table: pa.Table, column: str) -> list[Row]:
    """The SHOWN rows with the least values of a column, of those kept so far and those of a part; ties by uri."""
    order = pa.compute.sort_indices(table, [(column, "ascending"), ("uri", "ascending")])[:SHOWN]
    return nsmallest(SHOWN, kept + table.take(order).to_pylist(), key=lambda row: (row[column], row["uri"]))
