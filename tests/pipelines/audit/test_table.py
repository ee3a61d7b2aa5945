"""The audit table and its commit: the documented columns, one row per record, and no run where rows are amiss."""

import json
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.audit import table as tables
from pipelines.audit.table import AUDIT_SCHEMA, Part, Row, Stamp, commit_run, part_of, read_run, to_row, write_part
from q1net_core import __version__
from q1net_core.records import Estimate, ImageInfo, ImageRecord, JpegHeader, LatticeEstimate, ListedImage, Status

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
    "patches": pa.int32(), "patches_used": pa.int32(),
    "quality": pa.float32(), "quality_source": pa.string(), "verdict": pa.string(),
    "variant": pa.string(), "weights_sha256": pa.string(), "q1net_version": pa.string(), "schema_version": pa.int32(),
    "processed_at": TIMESTAMP,
}  # fmt: skip
NEVER_NULL = {"uri", "status", "patches", "patches_used", "variant", "weights_sha256", "q1net_version",
              "schema_version", "processed_at"}  # fmt: skip
STAMP = Stamp("q1net-k8", "abc")
MODIFIED = datetime(2020, 9, 13, 12, 26, 40, 250_001, UTC)
HEADER = JpegHeader(
    640, 480, 3, 8, True, "4:2:0", 10, ((1,) * 64,), "md5", 95.0, "exact", luma_quality=95, chroma_quality=95
)  # fmt: skip
LATTICE = LatticeEstimate(
    quality=40.0, margin=12.5, match="exact", level=40, ties=(41,), last_quality=95.0, evidence=1.0, steps=(2,) * 64,
    grid=(5, 3),
)  # fmt: skip


def make_rows(count: int) -> list[Row]:
    statuses = [Status.OK, Status.CORRUPT, Status.OK]
    records = [
        ImageRecord(
            ListedImage(f"s3://b/{number:03d}.jpg", group="ab"[number % 2]),
            statuses[number % 3],
            None,
            ImageInfo(),
            Estimate(float(number), 99.0, 1.0, 16, 9) if statuses[number % 3] is Status.OK else None,
        )
        for number in range(count)
    ]
    return [to_row(record, STAMP) | {"processed_at": MODIFIED} for record in records]


def as_read(row: Row) -> Row:
    """A row as a reader of the table sees it."""
    (read,) = pa.Table.from_pylist([row], AUDIT_SCHEMA).to_pylist()
    return read


def write_run(folder: Path, rows: list[Row], parts: int = 2, expected: int | None = None) -> str:
    """Rows in several parts and their commit, as the pipeline does it."""
    uri = str(folder / "run_id=1")
    written = [
        write_part((number, [row for row in rows if part_of(row["uri"], parts) == number]), uri, parts)
        for number in reversed(range(parts))
    ]
    return commit_run(None, written, uri, len(rows) if expected is None else expected, {"run_id": "1"})


def test_the_schema_is_the_documented_one() -> None:
    assert {field.name: field.type for field in AUDIT_SCHEMA} == COLUMNS
    assert AUDIT_SCHEMA.names == list(COLUMNS)
    assert {field.name for field in AUDIT_SCHEMA if not field.nullable} == NEVER_NULL


def test_an_estimated_image_fills_its_columns() -> None:
    image = ListedImage("s3://b/a.jpg", 1234, "etag", MODIFIED, "cats")
    record = ImageRecord(
        image, Status.OK, None, ImageInfo(640, 480, "JPEG", "RGB", HEADER, LATTICE), Estimate(39.5, 98.0, 2.5, 256, 200)
    )
    before = datetime.now(UTC)
    row = to_row(record, STAMP)
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
        "quality": 40.0, "quality_source": "lattice", "verdict": "recompressed",
        "variant": "q1net-k8", "weights_sha256": "abc", "q1net_version": __version__, "schema_version": 2,
    }  # fmt: skip
    assert list(to_row(record, STAMP)) == list(COLUMNS)


def test_only_tables_of_no_known_encoder_are_written_out() -> None:
    steps = (16, 0, *range(1, 63))
    custom = LatticeEstimate(71.0, match="custom", last_quality=71.0, evidence=1.0, steps=steps, grid=(0, 0))
    record = ImageRecord(ListedImage("a"), Status.OK, None, ImageInfo(lattice=custom), None)
    row = to_row(record, STAMP)
    assert (row["lattice_steps"], row["lattice_level"], row["lattice_ties"]) == (list(steps), None, None)
    assert (row["quality"], row["quality_source"], row["verdict"]) == (71.0, "lattice", "stripped")
    assert as_read(row)["lattice_steps"] == list(steps)


def test_where_the_lattice_abstains_q1net_answers() -> None:
    record = ImageRecord(
        ListedImage("a"), Status.OK, None, ImageInfo(lattice=LatticeEstimate(evidence=-3.0)), Estimate(60, 98, 2, 16, 9)
    )
    row = to_row(record, STAMP)
    assert (row["quality"], row["quality_source"], row["verdict"]) == (60, "q1net", "unsure")
    assert [name for name in row if name.startswith(("lattice_", "grid_")) and row[name] is not None] == []


def test_an_image_without_confident_patches_has_no_quality_and_no_source() -> None:
    record = ImageRecord(
        ListedImage("a.png"), Status.OK, None, ImageInfo(64, 64, "PNG", "L"), Estimate(None, None, None, 256, 0)
    )
    row = to_row(record, STAMP)
    names = ("quality", "quality_source", "q1net_quality", "q1net_confidence", "q1net_spread", "header_quality")
    assert [row[name] for name in names] == [None] * len(names)
    assert (row["status"], row["patches"], row["patches_used"], row["progressive"]) == ("ok", 256, 0, None)
    assert row["verdict"] == "unsure"


def test_a_quality_of_zero_is_an_answer() -> None:
    row = to_row(ImageRecord(ListedImage("a"), Status.OK, None, ImageInfo(), Estimate(0.0, 99.0, 0.0, 1, 1)), STAMP)
    assert (row["quality"], row["quality_source"], row["q1net_spread"]) == (0.0, "q1net", 0.0)


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.OK])
def test_a_failed_image_has_its_reason_and_what_is_known(status: Status) -> None:
    record = ImageRecord(ListedImage("caf\udce9.jpg", 5), status, "what happened", ImageInfo(header=HEADER), None)
    row = to_row(record, STAMP)
    assert (row["uri"], row["status"], row["error"], row["size_bytes"]) == (
        r"caf\xe9.jpg", status.value, "what happened", 5
    )  # fmt: skip
    assert (row["quality"], row["quality_source"], row["patches"], row["patches_used"]) == (None, None, 0, 0)
    assert (row["header_quality"], row["verdict"]) == (95.0, None)
    assert pa.Table.from_pylist([row], AUDIT_SCHEMA).num_rows == 1


def test_the_same_rows_in_any_order_are_the_same_file(tmp_path: Path) -> None:
    rows = make_rows(20)
    # Two names that are not text may look alike in print.
    rows += [rows[3] | {"processed_at": MODIFIED + timedelta(microseconds=number)} for number in (2, 1, 3)]
    first = write_part((1, rows), str(tmp_path / "a"), 3)
    second = write_part((1, iter(reversed(rows))), str(tmp_path / "b"), 3)
    name = "part-00001-of-00003.parquet"
    content = (tmp_path / "a" / name).read_bytes()
    assert content == (tmp_path / "b" / name).read_bytes()
    assert (first.name, first.rows, first.bytes, first.sha256) == (name, 23, len(content), sha256(content).hexdigest())
    assert first.summary.to_json() == second.summary.to_json()
    uris = pq.read_table(tmp_path / "a" / name)["uri"].to_pylist()
    assert uris == sorted(uris)


def test_parts_are_zstd_with_the_schema(tmp_path: Path) -> None:
    part = write_part((0, make_rows(5)), str(tmp_path), 1)
    file = pq.ParquetFile(tmp_path / part.name)
    group = file.metadata.row_group(0)
    assert {group.column(number).compression for number in range(group.num_columns)} == {"ZSTD"}
    assert file.schema_arrow.equals(AUDIT_SCHEMA)


def test_parts_depend_on_the_uri_alone_and_spread() -> None:
    uris = [f"s3://bucket/{number}.jpg" for number in range(3000)]
    assert all(part_of(uri, 1) == 0 for uri in uris[:10])
    counts = [sum(part_of(uri, 3) == part for uri in uris) for part in range(3)]
    assert sum(counts) == 3000
    assert min(counts) > 800
    # Fixed: workers of a mixed fleet, and a retry tomorrow, must agree.
    assert [part_of(uri, 1000) for uri in ("", "s3://bucket/0.jpg", "/p/é.jpg")] == [876, 596, 249]


def test_a_committed_run_reads_back_whole(tmp_path: Path) -> None:
    rows = make_rows(30)
    uri = write_run(tmp_path, rows, parts=3)
    table = read_run(uri)
    assert table.schema.equals(AUDIT_SCHEMA)
    assert sorted(table.to_pylist(), key=lambda row: row["uri"]) == rows
    run = json.loads((tmp_path / "run_id=1" / "_run.json").read_text())
    assert [file["name"] for file in run["files"]] == [f"part-0000{number}-of-00003.parquet" for number in range(3)]
    assert sum(file["rows"] for file in run["files"]) == run["totals"]["rows"] == 30
    assert (run["totals"]["ok"], run["run_id"]) == (20, "1")
    assert datetime.fromisoformat(run["committed_at"]).tzinfo is not None
    summary = json.loads((tmp_path / "run_id=1" / "summary.json").read_text())
    assert summary["total"]["statuses"] == {"corrupt": 10, "ok": 20}
    assert summary["total"]["verdicts"] == {"unsure": 20}
    assert {group["group"]: group["images"] for group in summary["groups"]} == {"a": 15, "b": 15}


@pytest.mark.parametrize(("rows", "expected"), [(9, 10), (10, 9), (0, 1)])
def test_missing_or_doubled_rows_are_never_committed(rows: int, expected: int, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=f"has {rows} rows for {expected} inputs; it is not committed"):
        write_run(tmp_path, make_rows(rows), expected=expected)
    folder = tmp_path / "run_id=1"
    assert {path.name for path in folder.iterdir()}.isdisjoint({"_run.json", "summary.json"})
    with pytest.raises(FileNotFoundError, match="not a committed run"):
        read_run(str(folder))


def test_run_json_is_written_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    original = tables.storage.write_bytes

    def record(uri: str, data: bytes) -> None:
        written.append(Path(uri).name)
        original(uri, data)

    monkeypatch.setattr(tables.storage, "write_bytes", record)
    write_run(tmp_path, make_rows(5), parts=1)
    assert written == ["part-00000-of-00001.parquet", "summary.json", "_run.json"]


def test_an_altered_part_is_refused(tmp_path: Path) -> None:
    uri = write_run(tmp_path, make_rows(10), parts=1)
    write_part((0, make_rows(9)), uri, 1)
    with pytest.raises(ValueError, match=r"part-00000-of-00001\.parquet of .* is not the file that was committed"):
        read_run(uri)


def test_stray_files_in_the_folder_are_not_rows(tmp_path: Path) -> None:
    uri = write_run(tmp_path, make_rows(10), parts=1)
    write_part((0, make_rows(3)), uri, 7)
    assert read_run(uri).num_rows == 10


def test_a_run_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="not a committed run"):
        read_run(str(tmp_path / "run_id=0"))


def test_parts_without_rows_can_be_summed(tmp_path: Path) -> None:
    part = write_part((0, []), str(tmp_path), 1)
    assert isinstance(part, Part)
    assert (part.rows, part.summary.total.to_json()["images"]) == (0, 0)
