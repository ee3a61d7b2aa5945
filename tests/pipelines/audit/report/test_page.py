"""The page of a report: complete, self-contained, and safe against what stands in names and messages."""

from collections import Counter
from typing import Any

import numpy as np
from html_tags import parse

from pipelines.audit.report.gather import Gathered
from pipelines.audit.report.page import render_page
from q1net_core.metrics import AuditSummary

RUN = {"committed_at": "2026-11-21T12:00:00+00:00", "versions": {"q1net_version": "1"}}
HOSTILE = "<script>alert(1)</script>"


def summary(rows: list[tuple[str | None, str, str | None, float | None]]) -> dict[str, Any]:
    return AuditSummary.of(rows).to_json()


def card(uri: str) -> dict[str, Any]:
    return {"uri": uri, "quality": 40.0, "quality_source": "lattice", "verdict": "single", "header_quality": 95.0}


def test_page_shows_groups_charts_cards_and_failures() -> None:
    rows = [("a", "ok", "single", 80.0)] * 13 + [("b", "ok", "stripped", 50.0), ("b", "corrupt", None, None)]
    found = Gathered(errors={"corrupt": Counter({"cut short": 1})}, hardest=[card("x.jpg")])
    found.agreement[95, 40] = 1
    page = render_page(RUN, summary(rows), found, "runs/1", lambda row: b"jpeg")
    tags = parse(page)
    assert tags.tags["svg"] == 4  # all images, two groups, header against pixels
    assert tags.tags["img"] == 1
    told = page.replace("\xa0", " ")
    assert "80 (100 %)" in told
    assert "80 (93 %), 50 (7 %)" in told
    assert "<th>stripped</th>" in page
    assert "<th>altered</th>" not in page
    assert "cut short" in page
    assert "40.0 (lattice), single, header says 95" in page


def test_page_needs_no_other_file() -> None:
    found = Gathered(hardest=[card("x.jpg")])
    tags = parse(render_page(RUN, summary([(None, "ok", "single", 80.0)]), found, "runs/1", lambda row: b"jpeg"))
    assert all(link.startswith(("data:", "#")) for link in tags.links)
    assert tags.tags["script"] == tags.tags["link"] == 0


def test_names_and_messages_stay_text() -> None:
    found = Gathered(errors={"corrupt": Counter({HOSTILE: 1})}, hardest=[card(HOSTILE)])
    rows = [(HOSTILE, "ok", "single", 80.0), (HOSTILE, "corrupt", None, None)]
    page = render_page(RUN, summary(rows), found, HOSTILE, lambda row: None)
    assert parse(page).tags["script"] == 0
    assert "&lt;script&gt;" in page


def test_page_of_a_run_without_answers() -> None:
    page = render_page(RUN, summary([(None, "missing", None, None)]), Gathered(), "runs/1", lambda row: None)
    tags = parse(page)
    assert tags.tags["svg"] == 1
    assert tags.tags["figure"] == 0


def test_pictures_that_cannot_be_drawn_any_more_are_left_out() -> None:
    found = Gathered(np.zeros((101, 101), np.int64), least_sure=[card("gone.jpg")])
    tags = parse(render_page(RUN, summary([(None, "ok", "unsure", 80.0)]), found, "runs/1", lambda row: None))
    assert tags.tags["figure"] == 1
    assert tags.tags["img"] == 0
