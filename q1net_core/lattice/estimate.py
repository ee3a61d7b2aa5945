"""Pixels -> the exact level they were compressed at, or an abstention: a maximum-likelihood test over known tables.

Layer: numpy only; no keras, no beam, no pyarrow.

The DCT coefficients of decoded luma are multiples of the table's steps, plus the decoder's rounding noise. Each known
table is judged by how well its lattice explains the busiest blocks; where few are busy, by whether it reproduces the
pixels. Gates then ask whether the lattice is really there.
Thresholds were set on validation images; `python -m training.studies.lattice` prints what each of them decides.

Source: Fan and de Queiroz, TIP 2003 (the idea); Neelamani et al., TIP 2006 (tables as a dictionary).
"""

from dataclasses import replace

from q1net_core.arrays import UInt8Array
from q1net_core.jpeg.tables import fit_quality
from q1net_core.lattice.blocks import Coefficients, Grid, choose_blocks, count_busy, measure_activity
from q1net_core.lattice.custom import fit_free_steps
from q1net_core.lattice.dictionary import KnownTable, known_tables
from q1net_core.lattice.double_compression import find_primary_table
from q1net_core.lattice.grid import find_grid
from q1net_core.lattice.known import TableFit, break_ties, fit_known_tables
from q1net_core.lattice.plain import MIN_GAIN, MIN_SHARE, TIE_SPAN, fit_plain
from q1net_core.lattice.reproduction import Reproduction
from q1net_core.records import LatticeEstimate

# Blocks that vary along rows and columns, below which the noise model does not hold.
BUSY_BLOCKS = 64
# What a known table must explain of what freely chosen steps explain. A custom table's neighbours explain less.
MIN_EXPLAINED = 0.8
# Standard deviations by which the grid must stand out before a custom table is sought.
CUSTOM_PROMINENCE = 8.0


def estimate_lattice(pixels: UInt8Array) -> LatticeEstimate:
    """The level of the quantization table whose lattice the pixels lie on; quality None where it abstains.

    Args:
        pixels: uint8 [height, width, 3] RGB or [height, width] luma, as decoded, not altered since.
    """
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    grid = find_grid(pixels)
    found = estimate_on_grid(pixels, grid)
    if found.quality is None and found.busy_blocks >= BUSY_BLOCKS and (grid.x, grid.y) != (0, 0):
        # Where little stands out, a wrong phase may be found; files start on their grid.
        at_start = estimate_on_grid(pixels, Grid(0, 0, 0.0, measure_activity(pixels)))
        return found if at_start.quality is None else at_start
    return found


def estimate_on_grid(pixels: UInt8Array, grid: Grid) -> LatticeEstimate:
    """The estimate of pixels uint8 [height, width, channels] whose block grid is known."""
    groups = choose_blocks(pixels, grid)
    busy = count_busy(groups)
    if busy < BUSY_BLOCKS:
        return replace(estimate_plain(groups, pixels, grid), busy_blocks=busy)
    return replace(estimate_blocks(groups, pixels, grid), busy_blocks=busy)


def estimate_plain(groups: list[Coefficients], pixels: UInt8Array, grid: Grid) -> LatticeEstimate:
    """The estimate of pixels with few busy blocks: what reproduces them, and for fine tables what is likeliest too."""
    plain = fit_plain(pixels, grid)
    if (plain.grid.x, plain.grid.y) != (grid.x, grid.y):
        groups = choose_blocks(pixels, plain.grid)
    if plain.fit is not None:
        primary = find_primary_table(groups, plain.fit.table) if groups else None
        return answer(plain.fit, plain.fit.explained, plain.grid, primary)
    if not groups:
        return LatticeEstimate()
    fit, evidence = fit_known_tables(groups)
    if fit is not None and plain.best is not None and is_sure(fit, plain.best):
        return answer(fit, evidence, plain.grid)
    return LatticeEstimate(evidence=evidence)


def is_sure(fit: TableFit, best: Reproduction) -> bool:
    """Whether the likeliest table of a plain picture is the one that reproduces it best."""
    return (
        best.gain >= MIN_GAIN
        and best.share >= MIN_SHARE
        and known_tables()[best.table] in (fit.table, *fit.ties)
        and fit.explained >= MIN_EXPLAINED
        and has_near_ties(fit)
    )


def estimate_blocks(groups: list[Coefficients], pixels: UInt8Array, grid: Grid) -> LatticeEstimate:
    """The estimate from the blocks that were chosen of pixels uint8 [height, width, channels]."""
    fit, evidence = fit_known_tables(groups)
    if fit is not None:
        if fit.ties:
            fit = break_ties(fit, pixels, grid)
        primary = find_primary_table(groups, fit.table)
        if primary is not None:
            return answer(fit, evidence, grid, primary)
        if fit.explained >= MIN_EXPLAINED:
            return answer(fit, evidence, grid) if has_near_ties(fit) else LatticeEstimate(evidence=evidence)
    return answer_custom(groups, grid) or LatticeEstimate(evidence=evidence)


def has_near_ties(fit: TableFit) -> bool:
    """Whether only libjpeg levels within TIE_SPAN of the table tie with it."""
    qualities = [table.quality for table in (fit.table, *fit.ties)]
    return max(qualities) - min(qualities) <= TIE_SPAN and all(table.family == "libjpeg" for table in fit.ties)


def answer(fit: TableFit, evidence: float, grid: Grid, primary: KnownTable | None = None) -> LatticeEstimate:
    """The estimate that names the primary table of a double compression, or else the fitted table."""
    table = primary or fit.table
    return LatticeEstimate(
        quality=float(table.quality),
        margin=fit.margin,
        match=table.match,
        level=table.level,
        ties=() if primary else tuple(sorted({tied.quality for tied in fit.ties} - {fit.table.quality})),
        last_quality=float(fit.table.quality),
        evidence=evidence,
        steps=table.steps,
        grid=(grid.x, grid.y),
    )


def answer_custom(groups: list[Coefficients], grid: Grid) -> LatticeEstimate | None:
    """The estimate that gives the steps of a table of no known encoder, or None."""
    if grid.prominence < CUSTOM_PROMINENCE or (found := fit_free_steps(groups)) is None:
        return None
    steps, evidence = found
    quality = float(fit_quality(steps))
    return LatticeEstimate(
        quality=quality,
        match="custom",
        last_quality=quality,
        evidence=evidence,
        steps=tuple(steps.tolist()),
        grid=(grid.x, grid.y),
    )
