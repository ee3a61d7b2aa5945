"""Answers of the stress study against the right ones: counts that any number of workers can add up, and their table."""

from collections.abc import Iterable
from dataclasses import asdict, astuple, dataclass
from functools import reduce
from operator import add
from typing import Any

import pyarrow as pa

from pipelines import text
from pipelines.evaluation.render import describe_estimator, percent, render_markdown, write_parquet, write_text
from pipelines.evaluation.steps import read_label
from pipelines.evaluation.stress import CONDITIONS
from q1net_core.metrics import UNITS
from q1net_core.records import ImageRecord

Row = dict[str, Any]
# Condition and level.
Case = tuple[str, int]

SHARES = ("accepted", "exact", "abstained", "false_accepts", "phase_right")
STRESS_SCHEMA = pa.schema(
    [("condition", pa.string()), ("images", pa.int64()), ("mae", pa.float64())]
    + [(name, pa.float64()) for name in SHARES]
)
HEADER = ("condition", "images", "accepted %", "exact %", "MAE", "abstained %", "false accepts %", "phase right %")


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Counts of images: ``accepted`` have an answer, ``judged`` also a right one to compare it with, ``exact`` have it.

    ``absolute`` is the sum of the judged ones' errors in 1/4096 level. ``placed`` have a grid to compare with the true
    one, ``phase_right`` have that. ``false_accepts`` are wrong, or answers where there is nothing to find.
    """

    images: int = 0
    accepted: int = 0
    judged: int = 0
    exact: int = 0
    absolute: int = 0
    false_accepts: int = 0
    placed: int = 0
    phase_right: int = 0

    def __add__(self, other: "Outcomes") -> "Outcomes":
        return Outcomes(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    @staticmethod
    def of(record: ImageRecord) -> "Outcomes":
        """From one image.

        The lattice must name the table, whosever it is; Q1Net must come to its nearest libjpeg level when rounded.
        """
        facts, quality, lattice = read_label(record.image), record.answer.quality, record.lattice
        if quality is None:
            return Outcomes(images=1)
        if facts["table"] is None:
            return Outcomes(images=1, accepted=1, false_accepts=1)
        family, level, true = facts["table"]
        named = lattice.quality is not None
        exact = (lattice.match, lattice.level) == (family, level) if named else round(quality) == true
        return Outcomes(
            images=1,
            accepted=1,
            judged=1,
            exact=int(exact),
            absolute=round(abs(quality - true) * UNITS),
            false_accepts=int(not exact),
            placed=int(named),
            phase_right=int(named and lattice.grid == tuple(facts["grid"])),
        )

    def describe(self) -> Row:
        """Counts, shares 0-1 and the mean absolute error in levels; None where no image tells."""

        def share(part: int, whole: int) -> float | None:
            return part / whole if whole else None

        return {
            "images": self.images,
            "mae": share(self.absolute, self.judged * UNITS),
            "accepted": share(self.accepted, self.images),
            "exact": share(self.exact, self.judged),
            "abstained": share(self.images - self.accepted, self.images),
            "false_accepts": share(self.false_accepts, self.images),
            "phase_right": share(self.phase_right, self.placed),
        }


def to_outcomes(record: ImageRecord, _weights: int) -> tuple[Case, Outcomes]:
    """One image's outcome, under its case."""
    facts = read_label(record.image)
    return (facts["condition"], facts["level"]), Outcomes.of(record)


def add_outcomes(outcomes: Iterable[Outcomes]) -> Outcomes:
    """The sum of any number of outcomes; associative, as Beam's combiners need it."""
    return reduce(add, outcomes, Outcomes())


def describe(cases: list[tuple[Case, Outcomes]]) -> Row:
    """Metrics overall, by condition in the order of CONDITIONS, and by level, with the counts behind them."""
    by_condition: dict[str, dict[int, Outcomes]] = {}
    for (condition, level), outcomes in cases:
        by_condition.setdefault(condition, {})[level] = outcomes
    rows = []
    for condition in (name for name in CONDITIONS if name in by_condition):
        levels = by_condition[condition]
        rows.append(
            {"condition": condition}
            | add_outcomes(levels.values()).describe()
            | {"levels": [{"level": level} | asdict(levels[level]) for level in sorted(levels)]}
        )
    return {"conditions": rows, "overall": add_outcomes(outcomes for _, outcomes in cases).describe()}


def cells_of(row: Row) -> tuple[str, ...]:
    """Cells below HEADER."""
    shares = {name: percent(row[name], 2) for name in SHARES}
    return (
        row["condition"],
        str(row["images"]),
        shares["accepted"],
        shares["exact"],
        text.number(row["mae"], 3),
        shares["abstained"],
        shares["false_accepts"],
        shares["phase_right"],
    )


def publish(output: str, metrics: Row) -> str:
    """Write stress.md and stress.parquet; returns the table as plain text."""
    rows = [*metrics["conditions"], {"condition": "overall"} | metrics["overall"]]
    cells = [cells_of(row) for row in rows]
    about = (
        f"{describe_estimator(metrics)}. Exact, MAE and phase are of the accepted; a false accept is a wrong answer, "
        "or any where there is nothing to find."
    )
    write_text(output, "stress.md", f"{about}\n\n{render_markdown(HEADER, cells)}")
    write_parquet(output, "stress.parquet", [{n: row[n] for n in STRESS_SCHEMA.names} for row in rows], STRESS_SCHEMA)
    return text.render_table(HEADER, cells)
