"""The study `stress`: what may happen to pictures before they are seen, and how many answers are right then."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from functools import reduce
from operator import add

import numpy as np
import pyarrow as pa

from pipelines import text
from pipelines.evaluation.render import Rendered, Row, describe_estimator, percent, to_parquet, to_text
from pipelines.evaluation.steps import Truth, sample_as_audit
from pipelines.evaluation.studies.conditions import CONDITIONS, levels_of, seed_of
from pipelines.evaluation.study import Study
from pipelines.transforms import Encoded
from q1net_core.arrays import UInt8Array
from q1net_core.images.decode import decode
from q1net_core.jpeg.tables import JPEG_QUALITIES
from q1net_core.lattice.dictionary import KnownTable
from q1net_core.markdown import to_markdown
from q1net_core.metrics import UNITS
from q1net_core.records import ImageInfo, ImagePatches, ImageRecord, LatticeEstimate
from q1net_core.sampling import InputKind, sample
from q1net_core.settings import EstimatorSettings

# Condition and level.
Case = tuple[str, int]

SHARES = ("accepted", "exact", "abstained", "false_accepts", "phase_right")
STRESS_SCHEMA = pa.schema(
    [("condition", pa.string()), ("images", pa.int64()), ("mae", pa.float64())]
    + [(name, pa.float64()) for name in SHARES]
)
HEADER = ("condition", "images", "accepted %", "exact %", "MAE", "abstained %", "false accepts %", "phase right %")


@dataclass(frozen=True, slots=True)
class StressTruth(Truth):
    """Also the condition, the ``table`` that is the right answer, and the ``grid`` (x, y) it lies on.

    Where table and grid are None nothing is left to find, and any answer is wrong.
    """

    condition: str
    table: KnownTable | None = None
    grid: tuple[int, int] | None = None


def list_cases(levels: Sequence[int], conditions: Sequence[str]) -> list[Case]:
    """Every condition at each of its levels."""
    return [(condition, level) for condition in conditions for level in levels_of(condition, levels)]


def make_samples(pixels: UInt8Array, cases: Sequence[Case]) -> Iterator[tuple[StressTruth, bytes]]:
    """A lossless picture's files in every case; draws depend on picture and level alone."""
    seed = seed_of(pixels)
    for condition, level in cases:
        made = CONDITIONS[condition].make(pixels, level, np.random.default_rng((seed, level)))
        yield StressTruth(level, condition, made.table, made.grid), made.encoded


def sample_on_grid(
    truth: StressTruth, encoded: Encoded, settings: EstimatorSettings, kind: InputKind
) -> Iterator[tuple[Truth, ImagePatches | ImageRecord]]:
    """As in an audit; but Q1Net alone, which does not look for the grid, is told it where one is left."""
    if "lattice" in settings.estimators:
        yield from sample_as_audit(truth, encoded, settings, kind)
    else:
        image, content = encoded
        patches = sample(decode(content).pixels, kind, settings.most_patches, truth.grid or (0, 0))
        yield truth, ImagePatches(image, ImageInfo(), LatticeEstimate(), patches)


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
    def of(truth: StressTruth, record: ImageRecord) -> "Outcomes":
        """From one image.

        The lattice must name the encoder and its level; Q1Net's answer, rounded, must be the nearest libjpeg level.
        """
        quality, lattice, table = record.answer.quality, record.lattice, truth.table
        if quality is None:
            return Outcomes(images=1)
        if table is None:
            return Outcomes(images=1, accepted=1, false_accepts=1)
        named = lattice.quality is not None
        right = (lattice.match, lattice.level) == (table.match, table.level)
        exact = right if named else round(quality) == table.quality
        return Outcomes(
            images=1,
            accepted=1,
            judged=1,
            exact=int(exact),
            absolute=round(abs(quality - table.quality) * UNITS),
            false_accepts=int(not exact),
            placed=int(named),
            phase_right=int(named and lattice.grid == truth.grid),
        )

    def shares(self) -> Row:
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


def to_outcomes(truth: StressTruth, record: ImageRecord) -> tuple[Case, Outcomes]:
    """One image's outcome, under its case."""
    return (truth.condition, truth.level), Outcomes.of(truth, record)


def summarise(results: Mapping[tuple[int, Case], Outcomes], made_with: Sequence[Row]) -> Row:
    """Metrics overall, by condition in the order of CONDITIONS, and by level, with the counts behind them."""
    by_condition: dict[str, dict[int, Outcomes]] = {}
    for (_, (condition, level)), outcomes in sorted(results.items(), key=lambda item: item[0]):
        by_condition.setdefault(condition, {})[level] = outcomes
    rows = [
        {"condition": condition}
        | reduce(add, by_condition[condition].values()).shares()
        | {"levels": [{"level": level} | asdict(outcomes) for level, outcomes in by_condition[condition].items()]}
        for condition in CONDITIONS
        if condition in by_condition
    ]
    return made_with[0] | {"conditions": rows, "overall": reduce(add, results.values()).shares()}


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


def render(statistics: Row) -> Rendered:
    """A row for each condition and one for all of them: on the screen, in Markdown and in Parquet."""
    rows = [*statistics["conditions"], {"condition": "overall"} | statistics["overall"]]
    cells = list(map(cells_of, rows))
    about = (
        f"{describe_estimator(statistics)}. Exact, MAE and phase are of the accepted; a false accept is a wrong "
        "answer, or any where there is nothing to find."
    )
    files = {
        "stress.md": to_text(about, to_markdown(HEADER, cells)),
        "stress.parquet": to_parquet([{n: row[n] for n in STRESS_SCHEMA.names} for row in rows], STRESS_SCHEMA),
    }
    return Rendered(text.render_table(HEADER, cells), files)


STUDY = Study(
    name="stress",
    help="what happens to altered pictures",
    file="stress.json",
    levels=tuple(JPEG_QUALITIES),
    default_levels=tuple(range(5, 101, 5)),
    conditions=tuple(CONDITIONS),
    cases=list_cases,
    make=make_samples,
    sample=sample_on_grid,
    measure=to_outcomes,
    summarise=summarise,
    render=render,
    estimators=("lattice", "q1net", "combined"),
)
