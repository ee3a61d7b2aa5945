"""How far an estimate may be off: 90 % intervals by split conformal prediction, learnt on validation images.

Layer: numpy only; no keras, no beam, no pyarrow.

Residuals, truth minus estimate, are kept apart by the estimate's quality and spread. In each such cell the interval is
between two of the sorted residuals, chosen so that the truth of another image like those lies inside with 90 %.

Source: Lei et al., JASA 2018 (split conformal); Vovk et al., ACML 2012 (by cells: Mondrian).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from math import ceil, floor
from typing import Any

import numpy as np
import numpy.typing as npt

from q1net_core.arrays import Float32Array
from q1net_core.fusion import estimate_quality
from q1net_core.records import Estimate, FusionRule, IntervalTable

FloatArray = npt.NDArray[np.float64]
Interval = tuple[float, float]

SHARE = 0.9
# Quality of any compression: an interval that says nothing.
SCALE_ENDS = (1.0, 100.0)
# Few patches err more than many: a table for each of these numbers.
PATCHES = (256, 64, 16, 4)
QUALITY_BANDS = 5
SPREAD_CELLS = 3
# Residuals in a cell at least: in smaller ones a single far-off image decides the end.
LEAST_CELL = 60


def fit_cell(residuals: FloatArray, share: float = SHARE) -> Interval:
    """Ends between which a further residual like these [N] lies with at least this probability, 0 always inside.

    Below 20 residuals nothing is known, and the ends are a whole scale away.

    >>> fit_cell(np.arange(-10.0, 11.0))
    (-10.0, 10.0)
    """
    tail = (1 - share) / 2 * (len(residuals) + 1)
    # Rounding errors must not take a residual more.
    first, last = floor(tail + 1e-9), ceil(len(residuals) + 1 - tail - 1e-9)
    whole = SCALE_ENDS[1] - SCALE_ENDS[0]
    if first < 1 or last > len(residuals):
        return -whole, whole
    ordered = np.sort(residuals)
    return min(float(ordered[first - 1]), 0.0), max(float(ordered[last - 1]), 0.0)


def borders(values: FloatArray, parts: int) -> tuple[float, ...]:
    """Borders that cut values [N] into parts of about equal numbers; fewer where values are alike."""
    if len(values) == 0:
        return ()
    return tuple(sorted({round(float(cut), 3) for cut in np.quantile(values, np.arange(1, parts) / parts)}))


def fit_table(quality: FloatArray, spread: FloatArray, truth: FloatArray, patches: int) -> IntervalTable:
    """The table of estimates from so many ``patches``: quality, spread and true level of each image, float [N]."""
    residuals = truth - quality
    qualities = borders(quality, QUALITY_BANDS)
    bands = np.searchsorted(qualities, quality)
    spreads, low, high = [], [], []
    for band in range(len(qualities) + 1):
        inside = bands == band
        cuts = borders(spread[inside], max(1, min(SPREAD_CELLS, int(inside.sum()) // LEAST_CELL)))
        cells = np.searchsorted(cuts, spread[inside])
        ends = [fit_cell(residuals[inside][cells == cell]) for cell in range(len(cuts) + 1)]
        spreads.append(cuts)
        low.append(tuple(round(end, 3) for end, _ in ends))
        high.append(tuple(round(end, 3) for _, end in ends))
    return IntervalTable(patches, qualities, tuple(spreads), tuple(low), tuple(high))


def fit_intervals(
    quality: Float32Array, confidence: Float32Array, truth: Float32Array, rule: FusionRule
) -> tuple[IntervalTable, ...]:
    """Tables for a fusion rule from predictions of validation images, most patches first.

    Calibrate on images like those that the network will judge, every condition with its share: the promise is for
    images like these together. Images without estimate are left out.

    Args:
        quality: float [images, N], 0-100, of patches spread over each image.
        confidence: float [images, N], 0-100, in the same order.
        truth: true level of each image, float [images]; 100 where it was never compressed.
        rule: with its threshold and calibration.
    """
    tables = []
    order = np.random.default_rng(0).permutation(quality.shape[1])
    for patches in (count for count in PATCHES if count <= len(order)):
        chosen = order[:patches]
        found = [
            (estimate.quality, estimate.spread, true)
            for q, c, true in zip(quality[:, chosen], confidence[:, chosen], truth, strict=True)
            if (estimate := estimate_quality(q, c, rule)).quality is not None
        ]
        fused, spread, true_levels = np.array(found, np.float64).reshape(-1, 3).T
        tables.append(fit_table(fused, spread, true_levels, patches))
    return tuple(tables)


def add_interval(estimate: Estimate, tables: Sequence[IntervalTable]) -> Estimate:
    """The estimate with its interval, by the table of as many patches as it has, or the next fewer.

    It stays without one where it has no quality, or where there is no table for so few patches.
    """
    table = next((table for table in tables if table.patches <= estimate.patches), None)
    if table is None or estimate.quality is None or estimate.spread is None:
        return estimate
    band = int(np.searchsorted(table.qualities, estimate.quality))
    cell = int(np.searchsorted(table.spreads[band], estimate.spread))
    low, high = (estimate.quality + ends[band][cell] for ends in (table.low, table.high))
    return replace(estimate, low=float(np.clip(low, *SCALE_ENDS)), high=float(np.clip(high, *SCALE_ENDS)))


def tables_to_json(tables: Sequence[IntervalTable]) -> list[dict[str, Any]]:
    """As a weights' card keeps them: under ``intervals``, for each fusion rule by name, a list of these.

    ``{"patches": 256, "qualities": [q1, ...], "spreads": [[s1, ...], ...], "low": [[-3.1, ...], ...], "high": ...}``:
    ``qualities`` are borders between bands; each band has a list of borders between cells in ``spreads``, and one
    number more in ``low`` and ``high``, which are added to the estimate.
    """
    return [asdict(table) for table in tables]


def tables_from_json(values: Sequence[Mapping[str, Any]]) -> tuple[IntervalTable, ...]:
    """What tables_to_json wrote; raises KeyError, TypeError or ValueError if it is something else."""

    def nested(rows: Sequence[Sequence[float]]) -> tuple[tuple[float, ...], ...]:
        return tuple(tuple(float(value) for value in row) for row in rows)

    tables = tuple(
        IntervalTable(
            int(value["patches"]),
            tuple(float(border) for border in value["qualities"]),
            nested(value["spreads"]),
            nested(value["low"]),
            nested(value["high"]),
        )
        for value in values
    )
    for table in tables:
        cells = [len(row) + 1 for row in table.spreads]
        found = [[len(row) for row in ends] for ends in (table.low, table.high)]
        if len(cells) != len(table.qualities) + 1 or found != [cells, cells]:
            raise ValueError(f"intervals for {table.patches} patches do not fit together: cells are {cells}, {found}")
    return tables
