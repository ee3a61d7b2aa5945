"""Header, lattice and Q1Net -> answer and verdict, case by case."""

from dataclasses import replace

import pytest

from q1net_core.jpeg.tables import PHOTOSHOP_TABLES, standard_tables
from q1net_core.records import Answer, Estimate, JpegHeader, LatticeEstimate, Verdict
from q1net_core.verdict import MAX_WIDTH, choose_answer, judge, same_table

PHOTOSHOP_7 = PHOTOSHOP_TABLES[7].luma
CUSTOM = tuple(range(10, 74))
NOTHING = LatticeEstimate()
NO_LATTICE = LatticeEstimate(evidence=-2.5, busy_blocks=256)
NO_INTERVAL = Estimate(98.0, 97.0, 1.0, 256, 100)


def header(quality: float | None, match: str = "exact", steps: tuple[int, ...] | None = None) -> JpegHeader:
    """A file's header whose luma table is ``steps``, or libjpeg's at ``quality``."""
    luma = int(quality) if match == "exact" and quality else None
    if steps is None:
        steps = tuple(standard_tables(luma)[0].tolist()) if luma else (1,) * 64
    return JpegHeader(
        64, 64, 3, 8, False, "4:2:0", 1, (steps, steps), "md5", quality, match, luma_quality=luma, chroma_quality=luma
    )


def lattice(level: int, last: int | None = None, **changes: object) -> LatticeEstimate:
    """What the lattice says of libjpeg's ``level``, with a last compression at ``last`` over it."""
    steps = tuple(standard_tables(level)[0].tolist())
    estimate = LatticeEstimate(float(level), 50.0, "exact", level, (), float(last or level), 1.0, steps, (0, 0))
    return replace(estimate, **changes)


def q1net(quality: float | None, low: float | None = None, high: float | None = None) -> Estimate:
    """What the network says, with an interval of 3 levels to both sides, or another."""
    if quality is None:
        return Estimate(None, None, None, 256, 0)
    ends = (quality - 3 if low is None else low, min(quality + 3, 100) if high is None else high)
    return Estimate(quality, 97.0, 1.0, 256, 100, *ends)


PHOTOSHOPS = LatticeEstimate(70.0, 50.0, "photoshop", 7, (), 70.0, 1.0, PHOTOSHOP_7, (0, 0))
CUSTOMS = LatticeEstimate(60.0, None, "custom", None, (), 60.0, 1.0, (0, 0, *CUSTOM[2:]), (0, 0))
A_STEP_WRONG = replace(CUSTOMS, steps=(0, 2 * CUSTOM[1], *CUSTOM[2:]))
MANY_STEPS_WRONG = replace(CUSTOMS, steps=(*(2 * step for step in CUSTOM[:20]), *CUSTOM[20:]))

CASES = {
    "one compression": (header(80), lattice(80), q1net(79), Verdict.SINGLE),
    "one compression, Q1Net not run": (header(80), lattice(80), None, Verdict.SINGLE),
    "one compression, Q1Net astray": (header(80), lattice(80), q1net(30), Verdict.SINGLE),
    "a level that ties with the header's": (header(2), lattice(1, ties=(2,)), None, Verdict.SINGLE),
    "Photoshop's own table": (header(70, "photoshop", PHOTOSHOP_7), PHOTOSHOPS, None, Verdict.SINGLE),
    "another's table found, steps unknown left out": (header(60, "custom", CUSTOM), CUSTOMS, None, Verdict.SINGLE),
    "another's table found but for one step": (header(60, "custom", CUSTOM), A_STEP_WRONG, None, Verdict.SINGLE),
    "a table found that is not the file's": (header(60, "custom", CUSTOM), MANY_STEPS_WRONG, None, Verdict.UNSURE),
    "a harder one under the last": (header(95), lattice(40, last=95), q1net(40), Verdict.RECOMPRESSED),
    "pixels harder than the header": (header(95), lattice(40), None, Verdict.RECOMPRESSED),
    "blocks off the file's grid": (header(80), lattice(80, grid=(3, 0)), None, Verdict.RECOMPRESSED),
    "pixels finer than the header": (header(40), lattice(90), None, Verdict.UNSURE),
    "not a JPEG now": (None, lattice(70), q1net(70), Verdict.STRIPPED),
    "not a JPEG now, cut off the grid": (None, lattice(70, grid=(5, 3)), None, Verdict.STRIPPED),
    "not a JPEG now, twice compressed": (None, lattice(40, last=95), None, Verdict.STRIPPED),
    "no lattice, the network's interval at the top": (None, NO_LATTICE, q1net(98, 85, 100), Verdict.PRISTINE),
    "no lattice, the interval below the top": (None, NO_LATTICE, q1net(60, 40, 80), Verdict.ALTERED),
    "no lattice, a wide interval below the top": (None, NO_LATTICE, q1net(60, 20, 97), Verdict.ALTERED),
    "no lattice, any level possible": (None, NO_LATTICE, q1net(90, 30, 100), Verdict.UNSURE),
    "no lattice, no patch confident": (None, NO_LATTICE, q1net(None), Verdict.UNSURE),
    "no lattice, the network not asked": (None, NO_LATTICE, None, Verdict.UNSURE),
    "no lattice, weights without intervals": (None, NO_LATTICE, NO_INTERVAL, Verdict.UNSURE),
    "a trace of a lattice, the interval below": (None, replace(NO_LATTICE, evidence=0.3), q1net(60), Verdict.ALTERED),
    "a lattice that could not be named": (None, replace(NO_LATTICE, evidence=0.9), q1net(60), Verdict.UNSURE),
    "too plain for a lattice": (None, replace(NO_LATTICE, busy_blocks=31), q1net(60), Verdict.UNSURE),
    "too plain, the interval at the top": (None, replace(NO_LATTICE, busy_blocks=31), q1net(98), Verdict.UNSURE),
    "nothing to look at": (None, NOTHING, q1net(98), Verdict.UNSURE),
    "lattice hidden, the header's level inside": (header(80), NO_LATTICE, q1net(78), Verdict.SINGLE),
    "lattice hidden, the header's level above": (header(95), NO_LATTICE, q1net(60), Verdict.RECOMPRESSED),
    "lattice hidden, the header's level below": (header(40), NO_LATTICE, q1net(80), Verdict.UNSURE),
    "lattice hidden, any level possible": (header(95), NO_LATTICE, q1net(70, 40, 100), Verdict.UNSURE),
    "lattice hidden, no patch confident": (header(95), NO_LATTICE, q1net(None), Verdict.UNSURE),
    "lattice hidden, the network not asked": (header(95), NO_LATTICE, None, Verdict.UNSURE),
    "lattice hidden, weights without intervals": (header(80), NO_LATTICE, NO_INTERVAL, Verdict.UNSURE),
    "a header without a level": (header(None, "custom"), NO_LATTICE, q1net(60), Verdict.UNSURE),
}


@pytest.mark.parametrize(("head", "found", "estimate", "verdict"), CASES.values(), ids=CASES)
def test_verdicts(head: JpegHeader | None, found: LatticeEstimate, estimate: Estimate | None, verdict: Verdict) -> None:
    assert judge(head, found, estimate) is verdict


def test_every_verdict_has_a_case() -> None:
    assert {verdict for *_, verdict in CASES.values()} == set(Verdict)


@pytest.mark.parametrize(
    ("found", "estimate", "expected"),
    [
        (lattice(40), q1net(60), Answer(40.0, "lattice", 40.0, 40.0)),
        (lattice(40), q1net(None), Answer(40.0, "lattice", 40.0, 40.0)),
        (lattice(40), None, Answer(40.0, "lattice", 40.0, 40.0)),
        (lattice(2, ties=(1, 3)), None, Answer(2.0, "lattice", 1.0, 3.0)),
        (NO_LATTICE, q1net(60), Answer(60, "q1net", 57, 63)),
        (NO_LATTICE, q1net(0.0, 0.0), Answer(0.0, "q1net", 0.0, 3.0)),
        (NO_LATTICE, q1net(60, 40, 40 + MAX_WIDTH), Answer(60, "q1net", 40, 40 + MAX_WIDTH)),
        # Too little is known for a number, but not nothing.
        (NO_LATTICE, q1net(60, 40, 41 + MAX_WIDTH), Answer(None, None, 40, 41 + MAX_WIDTH)),
        (NO_LATTICE, NO_INTERVAL, Answer(98.0, "q1net", None, None)),
        (NO_LATTICE, q1net(None), Answer()),
        (NOTHING, None, Answer()),
    ],
)
def test_the_answer_has_one_source_the_lattice_first(
    found: LatticeEstimate, estimate: Estimate | None, expected: Answer
) -> None:
    assert choose_answer(found, estimate) == expected


def test_a_file_whose_tables_could_not_be_read_has_not_the_lattices() -> None:
    assert not same_table(lattice(80), replace(header(80), tables=(), luma_quality=None))
    assert same_table(lattice(80), header(80))
