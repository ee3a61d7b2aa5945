"""Statistics are monoids, so any number of workers gives one result, and their figures are numpy's."""

from fractions import Fraction
from math import ceil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from q1net_core.metrics import BANDS, ERRORS_KEPT, AuditSummary, FirstErrors, GroupSummary, QualityErrors

Answer = tuple[str | None, str, str | None, float | None]

answers = st.lists(
    st.tuples(
        st.sampled_from([None, "a", "b", ""]),
        st.sampled_from(["ok", "corrupt", "empty"]),
        st.sampled_from(["single", "stripped", None]),
        st.none() | st.floats(0, 100, allow_nan=False),
    ),
    max_size=12,
)
estimates = st.lists(st.tuples(st.integers(1, 100), st.none() | st.floats(0, 100)), max_size=12)


def errors_of(pairs: list[tuple[int, float | None]]) -> QualityErrors:
    total = QualityErrors()
    for level, quality in pairs:
        total = total + QualityErrors.of(level, quality)
    return total


def same(left: QualityErrors, right: QualityErrors) -> bool:
    return all(
        np.array_equal(getattr(left, name), getattr(right, name))
        for name in ("missing", "signed", "absolute", "squared", "confusion")
    )


@given(answers, answers, answers)
def test_audit_summary_is_a_commutative_monoid(a: list[Answer], b: list[Answer], c: list[Answer]) -> None:
    x, y, z = AuditSummary.of(a), AuditSummary.of(b), AuditSummary.of(c)
    assert ((x + y) + z).to_json() == (x + (y + z)).to_json()
    assert (x + y).to_json() == (y + x).to_json()
    assert (x + AuditSummary()).to_json() == (AuditSummary() + x).to_json() == x.to_json()


@given(answers, answers)
def test_summaries_of_parts_add_up_to_the_summary_of_all(a: list[Answer], b: list[Answer]) -> None:
    expected = AuditSummary.of(a + b).to_json()
    assert (AuditSummary.of(a) + AuditSummary.of(b)).to_json() == expected
    assert AuditSummary.merge_all(AuditSummary.of([answer]) for answer in a + b).to_json() == expected


def test_adding_changes_neither_operand() -> None:
    x, y = AuditSummary.of([("a", "ok", "single", 50.0)]), AuditSummary.of([("a", "corrupt", None, None)])
    before = x.to_json(), y.to_json()
    assert (x + y).total.statuses == {"ok": 1, "corrupt": 1}
    assert (x.to_json(), y.to_json()) == before


def test_summary_counts_images_answers_and_groups() -> None:
    summary = AuditSummary.of(
        [
            ("b", "ok", "stripped", 79.6),
            ("b", "ok", "unsure", None),
            ("a", "ok", "stripped", 100.0),
            (None, "corrupt", None, None),
            ("a", "empty", None, None),
        ]
    ).to_json()
    total = summary["total"]
    assert (total["images"], total["answered"]) == (5, 2)
    assert list(total["statuses"].items()) == [("corrupt", 1), ("empty", 1), ("ok", 3)]
    assert list(total["verdicts"].items()) == [("stripped", 2), ("unsure", 1)]
    assert [group["verdicts"] for group in summary["groups"]] == [{}, {"stripped": 1}, {"stripped": 1, "unsure": 1}]
    assert {q: count for q, count in enumerate(total["quality_histogram"]) if count} == {80: 1, 100: 1}
    assert len(total["quality_histogram"]) == 101
    assert [(group["group"], group["images"], group["answered"]) for group in summary["groups"]] == [
        (None, 1, 0),
        ("a", 2, 1),
        ("b", 2, 1),
    ]
    assert summary["groups"][0]["quality_percentiles"] == {"10": None, "50": None, "90": None}


@given(st.lists(st.integers(0, 100), min_size=1, max_size=60))
def test_percentiles_are_those_of_the_sorted_answers(qualities: list[int]) -> None:
    summary = AuditSummary.of(("x", "ok", "single", float(quality)) for quality in qualities).total
    for share in (Fraction(1, 10), Fraction(1, 2), Fraction(9, 10), Fraction(1)):
        expected = sorted(qualities)[ceil(share * len(qualities)) - 1]
        assert summary.percentile(float(share)) == expected
    assert list(summary.to_json()["quality_percentiles"]) == ["10", "50", "90"]
    assert GroupSummary().percentile(0.5) is None


@given(estimates, estimates, estimates)
def test_quality_errors_are_a_commutative_monoid(
    a: list[tuple[int, float | None]], b: list[tuple[int, float | None]], c: list[tuple[int, float | None]]
) -> None:
    x, y, z = errors_of(a), errors_of(b), errors_of(c)
    assert same((x + y) + z, x + (y + z))
    assert same(x + y, y + x)
    assert same(x + y, errors_of(a + b))
    assert same(x + QualityErrors(), x)
    assert same(QualityErrors() + x, x)


@pytest.mark.parametrize(("low", "high"), BANDS)
def test_band_figures_are_numpys(low: int, high: int) -> None:
    generator = np.random.default_rng(low * 1000 + high)
    levels = np.repeat(np.arange(1, 101), 8)
    qualities = np.clip(levels + generator.normal(0.5, 3, len(levels)), 0, 100)
    qualities[::9] = np.rint(qualities[::9])
    answered = generator.random(len(levels)) > 0.2
    errors = errors_of(
        [
            (int(level), float(quality) if known else None)
            for level, quality, known in zip(levels, qualities, answered, strict=True)
        ]
    )
    inside = (low <= levels) & (levels <= high)
    difference = (qualities - levels)[inside & answered]
    rounded = np.abs(np.rint(qualities) - levels)[inside & answered]
    band = errors.band(low, high)
    assert band == pytest.approx(
        {
            "images": int(inside.sum()),
            "missing": float(np.mean(~answered[inside])),
            "mae": float(np.abs(difference).mean()),
            "bias": float(difference.mean()),
            "sde": float(np.abs(difference).std()),
            "sde_signed": float(difference.std()),
            "exact": float(np.mean(rounded == 0)),
            "within_1": float(np.mean(rounded <= 1)),
        },
        abs=1e-4,
    )
    # So that no two figures could be mistaken for each other above.
    assert len({round(float(value), 6) for value in band.values() if value is not None}) == len(band)


def test_confusion_counts_rounded_estimates_by_true_level() -> None:
    errors = errors_of([(1, 0.2), (100, 99.6), (100, 99.4), (50, None)])
    assert {(int(t) + 1, int(q)): int(errors.confusion[t, q]) for t, q in np.argwhere(errors.confusion)} == {
        (1, 0): 1,
        (100, 100): 1,
        (100, 99): 1,
    }


def test_bands_without_answers_or_images_have_no_figures() -> None:
    errors = errors_of([(10, None), (50, 50.0)])
    nothing = dict.fromkeys(("mae", "bias", "sde", "sde_signed", "exact", "within_1"))
    assert errors.band(1, 10) == nothing | {"images": 1, "missing": 1.0}
    assert errors.band(91, 95) == nothing | {"images": 0, "missing": None}
    assert errors.band(50, 50) == {
        "images": 1, "missing": 0.0, "mae": 0.0, "bias": 0.0, "sde": 0.0, "sde_signed": 0.0, "exact": 1.0,
        "within_1": 1.0,
    }  # fmt: skip


def test_equal_errors_have_no_deviation_whatever_the_rounding() -> None:
    errors = errors_of([(90, 90.1)] * 7)
    assert errors.band(90, 90)["sde"] == pytest.approx(0, abs=1e-6)
    assert not np.iscomplexobj(np.asarray(errors.band(90, 90)["sde"]))


@given(
    st.permutations([(level, level + error) for level, error in zip(range(1, 90), np.linspace(0, 9, 89), strict=True)])
)
def test_the_order_of_adding_changes_no_figure_to_the_last_bit(pairs: list[tuple[int, float]]) -> None:
    assert errors_of(list(pairs)).band(1, 100) == errors_of(sorted(pairs)).band(1, 100)


def test_sums_hold_for_any_corpus() -> None:
    worst = QualityErrors.of(100, 0.0)
    images = 50_000_000
    assert int(worst.squared[99]) * images <= np.iinfo(np.int64).max


rows_with_errors = st.lists(
    st.tuples(st.sampled_from("abc"), st.text("xyz", max_size=3), st.one_of(st.none(), st.just("e")))
)


@given(rows_with_errors, rows_with_errors)
def test_first_errors_of_parts_are_those_of_the_whole(
    one: list[tuple[str, str, str | None]], other: list[tuple[str, str, str | None]]
) -> None:
    whole = FirstErrors.of(one + other)
    assert (FirstErrors.of(one) + FirstErrors.of(other)).to_json() == whole.to_json()
    assert (whole + FirstErrors()).to_json() == (FirstErrors() + whole).to_json() == whole.to_json()
    for status, errors in whole.by_status.items():
        expected = sorted((uri, "e") for found, uri, error in one + other if found == status and error)
        assert errors == expected[:ERRORS_KEPT]
