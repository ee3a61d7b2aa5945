"""What a report takes from the rows of a run."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.audit.report import gather as module
from pipelines.audit.report.gather import COLUMNS, Row, gather
from pipelines.audit.table import AUDIT_SCHEMA


def row(uri: str, **values: object) -> Row:
    return dict.fromkeys(COLUMNS) | {"uri": uri, "status": "ok", "patches": 256, "variant": "v"} | values


def table(rows: list[Row]) -> pa.Table:
    schema = pa.schema([AUDIT_SCHEMA.field(name) for name in COLUMNS])
    return pa.Table.from_pylist(rows, schema)


def test_agreement_counts_files_with_header_and_answer() -> None:
    rows = [
        row("a", header_quality=95.0, quality=40.2),
        row("b", header_quality=95.0, quality=39.8),
        row("c", header_quality=80.0),
        row("d", quality=70.0),
    ]
    found = gather([table(rows[:1]), table(rows[1:])])
    assert found.agreement[95, 40] == 2
    assert found.agreement.sum() == 2


def test_errors_are_counted_by_status_and_message() -> None:
    rows = [row("a", status="corrupt", error="cut short"), row("b", status="corrupt", error="cut short"), row("c")]
    found = gather([table(rows), table([row("d", status="empty", error="0 bytes")])])
    assert {status: dict(counts) for status, counts in found.errors.items()} == {
        "corrupt": {"cut short": 2},
        "empty": {"0 bytes": 1},
    }


def test_different_messages_are_told_apart_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_ERRORS", 2)
    rows = [row(f"{number}", status="missing", error=f"no {number}") for number in range(5)]
    assert gather([table(rows)]).errors["missing"] == {"no 0": 1, "no 1": 1, "(further messages)": 3}


@given(st.lists(st.integers(0, 100), max_size=30), st.integers(1, 5))
def test_the_hardest_are_the_same_however_the_rows_lie_in_parts(qualities: list[int], parts: int) -> None:
    rows = [row(f"{number:03d}", quality=float(quality)) for number, quality in enumerate(qualities)]
    split = [table(rows[start::parts]) for start in range(parts)]
    expected = sorted((quality, f"{number:03d}") for number, quality in enumerate(qualities))[: module.SHOWN]
    assert [(found["quality"], found["uri"]) for found in gather(split).hardest] == expected


def test_the_least_sure_are_answers_of_the_network_with_the_widest_spread() -> None:
    rows = [
        row("a", quality=50.0, quality_source="q1net", q1net_spread=3.0),
        row("b", quality=50.0, quality_source="lattice", q1net_spread=30.0),
        row("c", quality=50.0, quality_source="q1net", q1net_spread=9.0),
    ]
    assert [found["uri"] for found in gather([table(rows)]).least_sure] == ["c", "a"]


def test_a_run_without_rows_has_nothing() -> None:
    found = gather([])
    assert not found.hardest
    assert not found.errors
    assert not np.any(found.agreement)
