"""Monoid statistics: each has an identity, an ``of`` for data, and ``+``, so any number of workers gives one result.

Layer: numpy only; no keras, no beam, no pyarrow.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import reduce
from operator import add
from typing import Any

import numpy as np
import numpy.typing as npt

# libjpeg levels, 1-100.
N_LEVELS = 100
# The bands of the evaluation tables; the ends are included.
BANDS = ((1, 10), (11, 50), (51, 90), (91, 95), (96, 100), (1, 100))
# Errors are added up in whole units of 1/4096 level: sums of integers do not depend on their order, sums of floats do.
# Squares then fit int64 for 50 million images of one level.
UNITS = 4096
# Of each status, how many images without an estimate a summary names.
ERRORS_KEPT = 3

Counts = npt.NDArray[np.int64]


def _zeros(*shape: int) -> npt.NDArray[np.int64]:
    return np.zeros(shape, np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class GroupSummary:
    """Images of one group: counts by status and by verdict, and of the answers, ``histogram[q]`` for q of 0..100."""

    statuses: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[str] = field(default_factory=Counter)
    histogram: Counts = field(default_factory=lambda: _zeros(N_LEVELS + 1))

    def __add__(self, other: "GroupSummary") -> "GroupSummary":
        return GroupSummary(
            self.statuses + other.statuses, self.verdicts + other.verdicts, self.histogram + other.histogram
        )

    def percentile(self, share: float) -> int | None:
        """The quality that ``share`` (0-1) of the answers do not exceed; None without answers."""
        total = int(self.histogram.sum())
        return int(np.searchsorted(self.histogram.cumsum(), share * total)) if total else None

    def to_json(self) -> dict[str, Any]:
        """Plain values, statuses and verdicts in alphabetical order."""
        return {
            "images": sum(self.statuses.values()),
            "statuses": dict(sorted(self.statuses.items())),
            "verdicts": dict(sorted(self.verdicts.items())),
            "answered": int(self.histogram.sum()),
            "quality_percentiles": {str(round(share * 100)): self.percentile(share) for share in (0.1, 0.5, 0.9)},
            "quality_histogram": self.histogram.tolist(),
        }


@dataclass(frozen=True, slots=True, eq=False)
class FirstErrors:
    """The first images of each status that have no estimate, by uri, as (uri, error), ``ERRORS_KEPT`` at most."""

    by_status: dict[str, list[tuple[str, str]]] = field(default_factory=dict)

    @staticmethod
    def of(rows: Iterable[tuple[str, str, str | None]]) -> "FirstErrors":
        """From (status, uri, error or None) of each image."""
        found: dict[str, list[tuple[str, str]]] = {}
        for status, uri, error in rows:
            if error is not None:
                found.setdefault(status, []).append((uri, error))
        return FirstErrors({status: sorted(errors)[:ERRORS_KEPT] for status, errors in found.items()})

    def __add__(self, other: "FirstErrors") -> "FirstErrors":
        statuses = self.by_status | other.by_status
        both = {status: self.by_status.get(status, []) + other.by_status.get(status, []) for status in statuses}
        return FirstErrors({status: sorted(errors)[:ERRORS_KEPT] for status, errors in both.items()})

    def to_json(self) -> dict[str, Any]:
        """Plain values, statuses in alphabetical order."""
        return {
            status: [{"uri": uri, "error": error} for uri, error in errors]
            for status, errors in sorted(self.by_status.items())
        }


@dataclass(frozen=True, slots=True, eq=False)
class AuditSummary:
    """Summaries of all groups of a run, images without a group under None; and the first errors of each kind."""

    groups: dict[str | None, GroupSummary] = field(default_factory=dict)
    errors: FirstErrors = field(default_factory=FirstErrors)

    @staticmethod
    def of(
        rows: Iterable[tuple[str | None, str, str | None, float | None]], errors: FirstErrors | None = None
    ) -> "AuditSummary":
        """From (group, status, verdict or None, quality or None) of each image."""
        groups: dict[str | None, GroupSummary] = {}
        for group, status, verdict, quality in rows:
            summary = groups.setdefault(group, GroupSummary())
            summary.statuses[status] += 1
            if verdict is not None:
                summary.verdicts[verdict] += 1
            if quality is not None:
                summary.histogram[round(quality)] += 1
        return AuditSummary(groups, errors or FirstErrors())

    def __add__(self, other: "AuditSummary") -> "AuditSummary":
        groups = {
            group: self.groups[group] + summary if group in self.groups else summary
            for group, summary in other.groups.items()
        }
        return AuditSummary(self.groups | groups, self.errors + other.errors)

    @staticmethod
    def merge_all(summaries: Iterable["AuditSummary"]) -> "AuditSummary":
        """The sum of any number of summaries."""
        return reduce(add, summaries, AuditSummary())

    @property
    def total(self) -> GroupSummary:
        """All groups together."""
        return reduce(add, self.groups.values(), GroupSummary())

    def to_json(self) -> dict[str, Any]:
        """Plain values: the total, and a list of groups in alphabetical order, the images without one first."""
        ordered = sorted(self.groups.items(), key=lambda item: (item[0] is not None, item[0] or ""))
        return {
            "total": self.total.to_json(),
            "groups": [{"group": group} | summary.to_json() for group, summary in ordered],
            "errors": self.errors.to_json(),
        }


@dataclass(frozen=True, slots=True, eq=False)
class QualityErrors:
    """Errors of estimates against known levels. Index 0..99 of every array is the true level 1..100.

    ``signed`` and ``absolute`` are sums in 1/4096 level, ``squared`` in the square of that; all are exact, whatever the
    order of adding. ``confusion[true - 1, rounded estimate]`` has 101 columns, for estimates of 0..100.
    """

    missing: Counts = field(default_factory=lambda: _zeros(N_LEVELS))
    signed: Counts = field(default_factory=lambda: _zeros(N_LEVELS))
    absolute: Counts = field(default_factory=lambda: _zeros(N_LEVELS))
    squared: Counts = field(default_factory=lambda: _zeros(N_LEVELS))
    confusion: Counts = field(default_factory=lambda: _zeros(N_LEVELS, N_LEVELS + 1))

    @staticmethod
    def of(level: int, quality: float | None) -> "QualityErrors":
        """From one image of known ``level``, and its estimate or None."""
        errors = QualityErrors()
        if quality is None:
            errors.missing[level - 1] = 1
        else:
            error = round((quality - level) * UNITS)
            errors.signed[level - 1] = error
            errors.absolute[level - 1] = abs(error)
            errors.squared[level - 1] = error**2
            errors.confusion[level - 1, round(quality)] = 1
        return errors

    def __add__(self, other: "QualityErrors") -> "QualityErrors":
        return QualityErrors(
            self.missing + other.missing,
            self.signed + other.signed,
            self.absolute + other.absolute,
            self.squared + other.squared,
            self.confusion + other.confusion,
        )

    def band(self, low: int, high: int) -> dict[str, float | int | None]:
        """Metrics over the true levels ``low``..``high``; errors in levels.

        ``mae`` is the mean absolute error, ``bias`` the mean signed one, estimate minus truth. ``sde`` is the standard
        deviation of the absolute errors, as the reference implementation computes it, and ``sde_signed`` that of the
        signed ones; these, and the shares ``exact`` and ``within_1`` (of rounded estimates), are over images with an
        estimate and None without any. ``missing`` is the share without estimate.
        """
        part = slice(low - 1, high)
        confusion = self.confusion[part]
        answered, missing = int(confusion.sum()), int(self.missing[part].sum())
        images = answered + missing
        result: dict[str, float | int | None] = {"images": images, "missing": missing / images if images else None}
        if not answered:
            return result | dict.fromkeys(("mae", "bias", "sde", "sde_signed", "exact", "within_1"))
        mae = int(self.absolute[part].sum()) / answered / UNITS
        bias = int(self.signed[part].sum()) / answered / UNITS
        mean_square = int(self.squared[part].sum()) / answered / UNITS**2
        true = np.arange(low, high + 1)[:, None]
        distance = np.abs(np.arange(N_LEVELS + 1)[None, :] - true)
        return result | {
            "mae": mae,
            "bias": bias,
            "sde": max(mean_square - mae**2, 0.0) ** 0.5,
            "sde_signed": max(mean_square - bias**2, 0.0) ** 0.5,
            "exact": int(confusion[distance == 0].sum()) / answered,
            "within_1": int(confusion[distance <= 1].sum()) / answered,
        }
