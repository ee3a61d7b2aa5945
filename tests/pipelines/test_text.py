"""Plain text for people: aligned tables, bars that add up, uris without what they share."""

import pytest

from pipelines.text import common_folder, number, render_histogram, render_images, render_summary, render_table
from q1net_core.metrics import AuditSummary
from q1net_core.records import Verdict


def image_row(uri: str, **values: object) -> dict[str, object]:
    empty = dict.fromkeys(("format", "header_quality", "lattice_quality", "q1net_quality", "quality", "verdict"))
    return empty | {"uri": uri, "status": "ok"} | values


def test_tables_align_the_first_column_left_and_the_others_right() -> None:
    assert render_table(("image", "q"), [("a", "7"), ("longer.jpg", "100")]).splitlines() == [
        "image         q",
        "---------------",
        "a             7",
        "longer.jpg  100",
    ]
    assert render_table(("image", "q"), []).splitlines() == ["image  q", "--------"]


def test_numbers() -> None:
    assert (number(None), number(79.96), number(79.96, 0), number(0.0)) == ("-", "80.0", "80", "0.0")


@pytest.mark.parametrize(
    ("uris", "folder"),
    [
        ([], ""),
        (["photos/a.jpg"], "photos/"),
        (["a.jpg"], ""),
        (["/x/a.jpg", "/x/b/c.jpg"], "/x/"),
        (["/x/same.jpg", "/x/same.jpg"], "/x/"),
        (["/x/ab/1.jpg", "/x/ac/1.jpg"], "/x/"),
        (["/x/a", "/x/a/b"], "/x/"),
        (["s3://b/k/1.jpg", "gs://b/k/1.jpg"], ""),
        (["s3://one/1.jpg", "s3://other/1.jpg"], "s3://"),
        (["/x/c.jpg", "/y/a.jpg", "/x/d.jpg"], "/"),
    ],
)
def test_common_folder(uris: list[str], folder: str) -> None:
    assert common_folder(uris) == folder


def test_images_show_the_answer_beside_the_header() -> None:
    lines = render_images(
        [
            image_row("/p/a.jpg", format="JPEG", header_quality=95.0, lattice_quality=40.0, q1net_quality=39.64,
                      quality=40.0, verdict="recompressed"),
            image_row("/p/sub/b.png", status="corrupt"),
        ]
    ).splitlines()  # fmt: skip
    assert lines[0].split() == ["image", "status", "format", "header", "lattice", "q1net", "quality", "verdict"]
    assert lines[2].split() == ["a.jpg", "ok", "JPEG", "95", "40", "39.6", "40.0", "recompressed"]
    assert lines[3].split() == ["sub/b.png", "corrupt", "-", "-", "-", "-", "-", "-"]


def test_histogram_lines_count_every_decoded_image_once() -> None:
    qualities = [0.3, 0.7, 10.4, 10.6, 90.4, 90.6, 95.4, 95.6, 100.0]
    answers = [(None, "ok", "single", quality) for quality in qualities]
    summary = AuditSummary.of([*answers, (None, "ok", "unsure", None), (None, "corrupt", None, None)])
    counts = {}
    for line in render_histogram(summary.total.to_json()).removeprefix("quality").splitlines():
        label, *_, count = line.split()
        counts[label] = int(count)
    assert sum(counts.values()) == len(qualities) + 1
    assert (counts["0-10"], counts["11-20"], counts["81-90"]) == (3, 1, 1)
    assert (counts["91-95"], counts["96-100"], counts["none"]) == (2, 2, 1)


def test_histogram_bars_grow_with_their_counts() -> None:
    summary = AuditSummary.of([(None, "ok", "single", 50.0)] * 4 + [(None, "ok", "single", 80.0)] * 2)
    bars = {line.split()[-1]: line.count("#") for line in render_histogram(summary.total.to_json()).splitlines()}
    assert bars == {"0": 0, "4": 40, "2": 20}


def test_summaries_show_groups_only_where_there_are_some() -> None:
    without = render_summary(AuditSummary.of([(None, "ok", "single", 50.0), (None, "empty", None, None)]).to_json())
    assert without.splitlines()[:2] == ["2 images: empty 1 (50 %), ok 1 (50 %)", "verdicts: single 1 (100 %)"]
    assert without.splitlines()[-1].split() == ["levels", "all", "50", "(100", "%)"]
    assert "group" not in without
    rows = [
        ("cats", "ok", "stripped", 50.0), ("cats", "ok", "recompressed", 90.0), ("dogs", "corrupt", None, None),
        (None, "ok", "pristine", None),
    ]  # fmt: skip
    lines = render_summary(AuditSummary.of(rows).to_json()).splitlines()
    assert lines[1] == "verdicts: pristine 1 (33 %), recompressed 1 (33 %), stripped 1 (33 %)"
    assert lines[-4:] == [
        "levels  all         50 (50 %), 90 (50 %)",
        "        (no group)  -",
        "        cats        50 (50 %), 90 (50 %)",
        "        dogs        -",
    ]
    lines = lines[:-5]
    assert lines[-5].split() == ["group", "images", "answered", "p10", "median", "p90", *Verdict]
    assert [line.split() for line in lines[-3:]] == [
        ["(no", "group)", "1", "0", "-", "-", "-", "0", "0", "0", "0", "1", "0"],
        ["cats", "2", "2", "50", "50", "90", "0", "1", "1", "0", "0", "0"],
        ["dogs", "1", "0", "-", "-", "-", "0", "0", "0", "0", "0", "0"],
    ]


def test_an_empty_summary_renders() -> None:
    assert render_summary(AuditSummary().to_json()).splitlines()[:2] == ["0 images: ", "verdicts: none"]
