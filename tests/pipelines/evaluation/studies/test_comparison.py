"""Several weights, or numbers of patches, beside the figures the paper publishes."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from evaluations import errors_by_hand, run_study

from pipelines.evaluation.studies.comparison import (
    COMPARISON_SCHEMA,
    PUBLISHED_METHODS,
    PUBLISHED_SIZES,
    SIZES,
    add_relative_times,
)
from q1net_core.network.variants import VARIANTS


def test_table_4_has_the_figures_of_each_number_of_patches(lossless: Path, weights_uri: str, tmp_path: Path) -> None:
    arguments = ("--study", "table4", "--levels", "8,50,93", "--direct_num_workers=1")
    output = run_study(lossless, weights_uri, tmp_path / "out", *arguments)
    table = pq.read_table(output / "table4.parquet")
    assert table.schema == COMPARISON_SCHEMA
    rows = table.to_pylist()
    measured, published = rows[:6], rows[6:]
    assert [row["patches"] for row in measured] == list(SIZES) == [16, 64, 144, 256, 400, 576]
    for row in measured[:2]:
        band = errors_by_hand(lossless, weights_uri, 60, row["patches"]).band(1, 100)
        assert {name: row[name] for name in ("images", "mae", "sde", "exact", "missing")} == pytest.approx(
            {name: band[name] for name in ("images", "mae", "sde", "exact", "missing")}, abs=1e-9
        )
    assert {row["source"] for row in measured} == {"measured"}
    assert {row["source"] for row in published} == {"published"}
    assert [row["relative_time"] for row in published] == [0.2, 0.4, 0.6, 1.0, 1.5, 2.1]
    whole = measured[3]["milliseconds"]
    assert [row["relative_time"] for row in measured] == [row["milliseconds"] / whole for row in measured]
    lines = [[cell.strip() for cell in line.split("|")] for line in (output / "table4.md").read_text().splitlines()]
    published = [
        "Q1Net (baseline, k=8)",
        "published",
        "256",
        "10000",
        "0.40",
        "0.39",
        "-",
        "-",
        "10.0",
        "1.00",
        "-",
        "-",
        "-",
    ]
    assert ["", *published, ""] in lines


def test_table_2_compares_several_weights_with_published_methods(
    lossless: Path, weights_uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--study", "table2", "--variant", "q1net-k8", "--levels", "50", "--patches", "16")
    output = run_study(lossless, weights_uri, tmp_path / "out", *arguments)
    rows = pq.read_table(output / "table2.parquet").to_pylist()
    # Ours stand above what they compare with; what is not in the paper's table comes first.
    assert [(row["method"], row["source"], row["parameters"]) for row in (rows[0], *rows[-2:])] == [
        ("q1net-no-bottleneck", "measured", 49_298),
        ("q1net-k8", "measured", 125_234),
        ("Q1Net (baseline, k=8)", "published", 125_000),
    ]
    pairs = list(zip(rows[1::2], rows[2::2], strict=True))
    assert [published["method"] for _, published in pairs] == [method for method, *_ in PUBLISHED_METHODS]
    assert [ours["source"] for ours, _ in pairs] == ["no weights"] * (len(PUBLISHED_METHODS) - 1) + ["measured"]
    for ours, published in pairs:
        assert VARIANTS[ours["method"]].published == published["method"]
        assert ours["parameters"] > 0 < ours["multiply_adds"]
    assert rows[0]["mae"] > 10 > rows[-2]["mae"]
    assert all(row["milliseconds"] > 0 for row in (rows[0], rows[-2]))
    # 16 patches were asked for.
    assert rows[-2]["multiply_adds"] == pytest.approx(16 * 7.6e6, rel=0.01)
    assert (rows[0]["runtime"], rows[-2]["runtime"]) == ("keras", "onnx")
    assert len((output / "table2.md").read_text().splitlines()) == 4 + len(rows)
    printed = capsys.readouterr().out
    assert printed.splitlines()[2].startswith("q1net-no-bottleneck")


def test_published_figures_are_the_papers() -> None:
    # Sums over the columns of tables 2 and 4, so that a slip of a digit shows.
    totals = [round(sum(column), 2) for column in zip(*(row[1:] for row in PUBLISHED_METHODS), strict=True)]
    assert totals == [14.48, 13.3, 3264, 12_373_000]
    assert [round(sum(column), 2) for column in zip(*PUBLISHED_SIZES, strict=True)] == [1456, 2.87, 2.89, 58]


def test_times_are_relative_to_the_same_source() -> None:
    rows = [
        {"source": source, "patches": patches, "milliseconds": milliseconds}
        for source, patches, milliseconds in (("a", 16, 1.0), ("b", 16, 30.0), ("a", 256, 4.0), ("b", 256, 60.0))
    ]
    assert [row["relative_time"] for row in add_relative_times(rows)] == [0.25, 0.5, 1, 1]
