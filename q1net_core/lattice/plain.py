"""The level of a picture that has too few busy blocks for a model of independent noise: sky, walls, small crops.

Layer: numpy only; no keras, no beam, no pyarrow.

A table is judged by whether it reproduces the pixels of the few blocks that vary. Thresholds were set on validation
images; `python -m training.studies.lattice --crops` prints how such pictures are answered.
"""

from dataclasses import dataclass

import numpy as np

from q1net_core.arrays import UInt8Array
from q1net_core.lattice.blocks import Grid, busiest, dct, luma_of, measure_activity
from q1net_core.lattice.dictionary import known_tables
from q1net_core.lattice.grid import PHASES, WINDOW, ZERO
from q1net_core.lattice.known import EQUAL, MIN_MARGIN, TableFit
from q1net_core.lattice.reproduction import (
    Reproduction,
    choose_varied_blocks,
    find_reproducing_tables,
    measure_range,
)
from q1net_core.patches import BLOCK

# With so many windows the grid of busy windows is sure.
SURE_WINDOWS = 24
# How many windows are searched where busy ones are fewer, and how many grids are tried.
WINDOWS = 256
GRIDS = 3
# What a table needs: nats over no table, and the share of blocks that it reproduces.
MIN_GAIN = 25.0
# Nats over no table, and over those of other levels, that tables finer than this libjpeg level need: on a wrong grid
# several come near the pixels.
FINE = 80
FINE_GAIN = 60.0
MIN_SHARE = 0.85
# Nats over no table from which on no other grid is tried.
SURE_GAIN = 400.0
# The finest table, by the libjpeg level nearest to it, that reproduction alone tells: finer ones come near any pixels.
FINEST = 92
# Levels between which ties are still an answer.
TIE_SPAN = 2


@dataclass(frozen=True, slots=True, eq=False)
class PlainFit:
    """What reproduces a plain picture on its likeliest grid: the ``best`` table, and the ``fit`` where it is sure."""

    grid: Grid
    best: Reproduction | None
    fit: TableFit | None


def list_grids(pixels: UInt8Array) -> list[tuple[int, int]]:
    """The likeliest phases (x, y) of the block grid, and (0, 0), on which files start.

    As find_grid, with windows that vary anywhere, and without their blocks that have clipped pixels.
    """
    varied, _ = measure_range(pixels, 0, 0)
    if min(varied.shape) < 2:
        return [(0, 0)]
    pairs = np.maximum(varied[:-1], varied[1:])
    tops, lefts = busiest(np.maximum(pairs[:, :-1], pairs[:, 1:]), WINDOWS)
    if len(tops) == 0:
        return [(0, 0)]
    views = np.lib.stride_tricks.sliding_window_view(pixels, (WINDOW, WINDOW, pixels.shape[2]))[:, :, 0]
    windows = views[tops * BLOCK, lefts * BLOCK]
    slide = np.lib.stride_tricks.sliding_window_view
    clipped = slide(((windows == 0) | (windows == 255)).any(axis=3), (BLOCK, BLOCK), axis=(1, 2)).any(axis=(3, 4))
    blocks = slide(luma_of(windows), (BLOCK, BLOCK), axis=(1, 2)).reshape(-1, BLOCK, BLOCK)
    coefficients = dct(blocks)[:, 1:].reshape(len(tops), PHASES, -1)
    scores = np.cos(2 * np.pi * coefficients).mean(axis=2) + (np.abs(coefficients) < ZERO).mean(axis=2)
    whole = ~clipped.reshape(len(tops), PHASES)
    # Windows differ more than their phases do.
    mean = (scores * whole).sum(axis=1, keepdims=True) / np.maximum(whole.sum(axis=1, keepdims=True), 1)
    by_phase = ((scores - mean) * whole).sum(axis=0) / np.sqrt(whole.sum(axis=0) + 1)
    best = [divmod(int(phase), BLOCK)[::-1] for phase in np.argsort(-by_phase, kind="stable")[:GRIDS]]
    return best if (0, 0) in best else [*best, (0, 0)]


def choose_table(found: list[Reproduction]) -> TableFit | None:
    """The table that made blocks, of those that reproduce them best, or None where it is not sure which one did."""
    if not found or found[0].gain < MIN_GAIN or found[0].share < MIN_SHARE:
        return None
    near = [one for one in found if one.gain > found[0].gain - MIN_MARGIN]
    tables = [known_tables()[one.table] for one in near]
    qualities = [table.quality for table in tables]
    if max(qualities) > FINEST or max(qualities) - min(qualities) > TIE_SPAN:
        return None
    rivals = [one.gain for one in found if abs(known_tables()[one.table].quality - qualities[0]) > TIE_SPAN]
    if max(qualities) > FINE and found[0].gain - max([0.0, *rivals]) < FINE_GAIN:
        return None
    # Of tables that make the same pixels, people use libjpeg's, and those of round levels.
    equal = [table for one, table in zip(near, tables, strict=True) if one.gain > found[0].gain - EQUAL]
    table = min(equal, key=lambda table: (table.family != "libjpeg", table.level % 5 != 0))
    margin = found[0].gain - found[1].gain
    return TableFit(table, margin, tuple(other for other in tables if other is not table), found[0].share)


def fit_plain(pixels: UInt8Array, grid: Grid) -> PlainFit:
    """Find the table that reproduces a picture with few busy blocks, on ``grid`` or on a likelier one."""
    grids = [(grid.x, grid.y)] if grid.windows >= SURE_WINDOWS else list_grids(pixels)
    by_grid = []
    for x, y in grids:
        by_grid.append((find_reproducing_tables(choose_varied_blocks(pixels, x, y)), x, y))
        # Elsewhere no table comes near this.
        if choose_table(by_grid[-1][0]) is not None and by_grid[-1][0][0].gain >= SURE_GAIN:
            break
    found, x, y = max(by_grid, key=lambda one: one[0][0].gain if one[0] else -np.inf)
    if (x, y) != (grid.x, grid.y):
        grid = Grid(x, y, 0.0, measure_activity(pixels, x, y))
    return PlainFit(grid, found[0] if found else None, choose_table(found))
