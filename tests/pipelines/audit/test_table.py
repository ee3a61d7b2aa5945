"""The audit table: the documented columns, and a record's values copied into them."""

from datetime import UTC, datetime

import pyarrow as pa
import pytest

from pipelines.audit.table import AUDIT_SCHEMA, Row, to_row
from q1net_core import __version__
from q1net_core.errors import ImageError
from q1net_core.estimator import finish
from q1net_core.records import Estimate, ImageInfo, JpegHeader, LatticeEstimate, ListedImage, Status, Stop

TIMESTAMP = pa.timestamp("us", tz="UTC")
# What users read in the documentation.
COLUMNS = {
    "uri": pa.string(), "group": pa.string(), "status": pa.string(), "error": pa.string(),
    "size_bytes": pa.int64(), "version": pa.string(), "modified": TIMESTAMP,
    "width": pa.int32(), "height": pa.int32(), "format": pa.string(), "mode": pa.string(),
    "header_quality": pa.float32(), "header_match": pa.string(),
    "header_tables_md5": pa.string(), "subsampling": pa.string(), "progressive": pa.bool_(),
    "lattice_quality": pa.float32(), "lattice_margin": pa.float32(), "lattice_match": pa.string(),
    "lattice_level": pa.int32(), "lattice_ties": pa.list_(pa.int32()), "lattice_last_quality": pa.float32(),
    "lattice_steps": pa.list_(pa.int32()), "grid_x": pa.int8(), "grid_y": pa.int8(),
    "q1net_quality": pa.float32(), "q1net_confidence": pa.float32(), "q1net_spread": pa.float32(),
    "patches": pa.int32(), "patches_used": pa.int32(), "patches_stop": pa.string(),
    "quality": pa.float32(), "quality_low": pa.float32(), "quality_high": pa.float32(),
    "quality_source": pa.string(), "verdict": pa.string(),
    "variant": pa.string(), "weights_sha256": pa.string(), "q1net_version": pa.string(), "schema_version": pa.int32(),
    "processed_at": TIMESTAMP,
}  # fmt: skip
NEVER_NULL = {"uri", "status", "patches", "patches_used", "q1net_version", "schema_version", "processed_at"}
MODIFIED = datetime(2020, 9, 13, 12, 26, 40, 250_001, UTC)
HEADER = JpegHeader(
    640, 480, 3, 8, True, "4:2:0", 10, ((1,) * 64,), "md5", 95.0, "exact", luma_quality=95, chroma_quality=95
)  # fmt: skip
LATTICE = LatticeEstimate(
    quality=40.0, margin=12.5, match="exact", level=40, ties=(41,), last_quality=95.0, evidence=1.0, steps=(2,) * 64,
    grid=(5, 3),
)  # fmt: skip


def as_read(row: Row) -> Row:
    """A row as a reader of the table sees it."""
    (read,) = pa.Table.from_pylist([row], AUDIT_SCHEMA).to_pylist()
    return read


def test_the_schema_is_the_documented_one() -> None:
    assert {field.name: field.type for field in AUDIT_SCHEMA} == COLUMNS
    assert AUDIT_SCHEMA.names == list(COLUMNS)
    assert {field.name for field in AUDIT_SCHEMA if not field.nullable} == NEVER_NULL


def test_an_estimated_image_fills_its_columns() -> None:
    image = ListedImage("s3://b/a.jpg", 1234, "etag", MODIFIED, "cats")
    info = ImageInfo(640, 480, "JPEG", "RGB", HEADER)
    network = Estimate(39.5, 98.0, 2.5, 256, 200, 37.0, 42.0, "q1net-k8", "abc", Stop.ALL)
    record = finish(image, info, LATTICE, network)
    before = datetime.now(UTC)
    row = to_row(record)
    assert before <= row.pop("processed_at") <= datetime.now(UTC)
    assert row == dict.fromkeys(set(COLUMNS) - {"processed_at"}) | {
        "uri": "s3://b/a.jpg", "group": "cats", "status": "ok",
        "size_bytes": 1234, "version": "etag", "modified": MODIFIED,
        "width": 640, "height": 480, "format": "JPEG", "mode": "RGB",
        "header_quality": 95.0, "header_match": "exact", "header_tables_md5": "md5", "subsampling": "4:2:0",
        "progressive": True,
        "lattice_quality": 40.0, "lattice_margin": 12.5, "lattice_match": "exact", "lattice_level": 40,
        "lattice_ties": [41], "lattice_last_quality": 95.0, "grid_x": 5, "grid_y": 3,
        "q1net_quality": 39.5, "q1net_confidence": 98.0, "q1net_spread": 2.5, "patches": 256, "patches_used": 200,
        "patches_stop": "all", "quality": 40.0, "quality_low": 40.0, "quality_high": 41.0, "quality_source": "lattice",
        "verdict": "recompressed",
        "variant": "q1net-k8", "weights_sha256": "abc", "q1net_version": __version__, "schema_version": 4,
    }  # fmt: skip
    assert list(to_row(record)) == list(COLUMNS)


def test_only_tables_of_no_known_encoder_are_written_out() -> None:
    steps = (16, 0, *range(1, 63))
    custom = LatticeEstimate(71.0, match="custom", last_quality=71.0, evidence=1.0, steps=steps, grid=(0, 0))
    row = to_row(finish(ListedImage("a"), lattice=custom))
    assert (row["lattice_steps"], row["lattice_level"], row["lattice_ties"]) == (list(steps), None, None)
    assert (row["quality"], row["quality_source"], row["verdict"]) == (71.0, "lattice", "stripped")
    assert as_read(row)["lattice_steps"] == list(steps)


def test_where_the_lattice_abstains_q1net_answers() -> None:
    lattice, network = (
        LatticeEstimate(evidence=-3.0, busy_blocks=200),
        Estimate(60, 98, 2, 16, 9, 50, 75, "robust", "ef"),
    )
    row = to_row(finish(ListedImage("a"), lattice=lattice, network=network))
    assert (row["quality"], row["quality_source"], row["verdict"]) == (60, "q1net", "altered")
    assert (row["quality_low"], row["quality_high"]) == (50, 75)
    assert (row["variant"], row["weights_sha256"]) == ("robust", "ef")
    assert [name for name in row if name.startswith(("lattice_", "grid_")) and row[name] is not None] == []


def test_an_image_without_confident_patches_has_no_quality_and_no_source() -> None:
    info = ImageInfo(64, 64, "PNG", "L")
    record = finish(ListedImage("a.png"), info, network=Estimate(None, None, None, 256, 0))
    row = to_row(record)
    names = ("quality", "quality_source", "q1net_quality", "q1net_confidence", "q1net_spread", "header_quality")
    assert [row[name] for name in names] == [None] * len(names)
    assert (row["status"], row["patches"], row["patches_used"], row["progressive"]) == ("ok", 256, 0, None)
    assert row["verdict"] == "unsure"


def test_where_nothing_is_known_there_is_an_interval_and_no_number() -> None:
    network = Estimate(60, 98, 2, 16, 9, 10, 95, "robust", "ef")
    row = to_row(finish(ListedImage("a"), lattice=LatticeEstimate(evidence=-3.0), network=network))
    assert (row["quality"], row["quality_source"], row["q1net_quality"]) == (None, None, 60)
    assert (row["quality_low"], row["quality_high"]) == (10, 95)


def test_a_row_names_no_weights_where_no_network_was_asked() -> None:
    row = to_row(finish(ListedImage("a"), lattice=LATTICE))
    assert (row["variant"], row["weights_sha256"], row["quality"]) == (None, None, 40.0)


def test_a_quality_of_zero_is_an_answer() -> None:
    row = to_row(finish(ListedImage("a"), network=Estimate(0.0, 99.0, 0.0, 1, 1)))
    assert (row["quality"], row["quality_source"], row["q1net_spread"]) == (0.0, "q1net", 0.0)


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.OK])
def test_a_failed_image_has_its_reason_and_what_is_known(status: Status) -> None:
    image, error = ListedImage("caf\udce9.jpg", 5), ImageError(status, "what happened")
    row = to_row(finish(image, ImageInfo(header=HEADER), error=error))
    assert (row["uri"], row["status"], row["error"], row["size_bytes"]) == (
        r"caf\xe9.jpg", status.value, "what happened", 5
    )  # fmt: skip
    assert (row["quality"], row["quality_source"], row["patches"], row["patches_used"]) == (None, None, 0, 0)
    assert (row["header_quality"], row["verdict"]) == (95.0, None)
    assert pa.Table.from_pylist([row], AUDIT_SCHEMA).num_rows == 1
