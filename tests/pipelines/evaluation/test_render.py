"""Numbers and tables as people and programs read them."""

from io import BytesIO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.evaluation.render import describe_estimator, percent, to_parquet, to_text


def test_shares_are_shown_in_percent() -> None:
    assert (percent(None), percent(0.12345), percent(0.12345, 2), percent(1)) == ("-", "12.3", "12.35", "100.0")


def test_paragraphs_are_apart_and_the_file_ends_with_a_line() -> None:
    assert to_text("a", "b\nc") == b"a\n\nb\nc\n"


def test_fields_that_a_row_lacks_are_null_and_others_are_left_out() -> None:
    schema = pa.schema([("a", pa.int32()), ("b", pa.string())])
    table = pq.read_table(BytesIO(to_parquet([{"a": 1, "c": 2}], schema)))
    assert table.schema == schema
    assert table.to_pylist() == [{"a": 1, "b": None}]


@pytest.mark.parametrize(
    ("estimator", "expected"),
    [
        ("q1net", "q1net-k8 (0123456789ab), fusion paper, threshold 60, 3 lossless images, q1net 1.2, 64 patches"),
        (
            "combined",
            "lattice, else q1net-k8 (0123456789ab), fusion paper, threshold 60, 3 lossless images, q1net 1.2, "
            "64 patches",
        ),
        ("lattice", "lattice, 3 lossless images, q1net 1.2"),
    ],
)
def test_estimators_are_described_by_all_that_decides_their_answers(estimator: str, expected: str) -> None:
    made_with = {"variant": "q1net-k8", "weights_sha256": "0123456789abcdef", "fusion": "paper", "threshold": 60.0}
    if estimator == "lattice":
        made_with = dict.fromkeys(made_with)
    statistics = {"arguments": {"estimator": estimator, "patches": 64}, "images": 3, "versions": {"q1net": "1.2"}}
    assert describe_estimator(made_with | statistics) == expected
