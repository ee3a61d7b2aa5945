"""A run and its commit: no run where rows are amiss, and what was committed reads back whole."""

import json
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import dataset

from pipelines import files
from pipelines.audit import parts as module
from pipelines.audit.parts import name_parts, part_of, write_part
from pipelines.audit.run import commit_run, read_run
from pipelines.audit.table import AUDIT_SCHEMA, Row, to_row
from q1net_core.errors import ImageError
from q1net_core.estimator import finish
from q1net_core.metrics import AuditSummary
from q1net_core.records import Estimate, ListedImage, Status

MODIFIED = datetime(2020, 9, 13, 12, 26, 40, 250_001, UTC)


def make_rows(count: int) -> list[Row]:
    """Every third image is corrupt; groups a and b alternate."""
    rows = []
    for number in range(count):
        image = ListedImage(f"s3://b/{number:03d}.jpg", group="ab"[number % 2])
        if number % 3 == 1:
            record = finish(image, error=ImageError(Status.CORRUPT, "cut short"))
        else:
            record = finish(image, network=Estimate(float(number), 99.0, 1.0, 16, 9))
        rows.append(to_row(record) | {"processed_at": MODIFIED})
    return rows


def to_table(rows: list[Row]) -> pa.Table:
    return pa.Table.from_pylist(rows, AUDIT_SCHEMA)


def write_run(
    folder: Path, rows: list[Row], parts: int = 2, expected: int | None = None, by_group: bool = False
) -> str:
    """Rows in several parts and their commit, as the pipeline does it."""
    uri = str(folder / "run_id=1")
    named = name_parts(to_table(rows), parts, by_group)
    written = [write_part((name, [table]), uri) for name, table in reversed(list(named))]
    summary = AuditSummary.merge_all(summary for _, summary in written)
    wanted = len(rows) if expected is None else expected
    return commit_run(uri, [part for part, _ in written], summary, wanted, {"run_id": "1"})


def test_the_same_rows_in_any_order_are_the_same_file(tmp_path: Path) -> None:
    rows = make_rows(20)
    # Two names that are not text may look alike in print.
    rows += [rows[3] | {"processed_at": MODIFIED + timedelta(microseconds=number)} for number in (2, 1, 3)]
    name = "part-00001-of-00003.parquet"
    first, summary = write_part((name, [to_table(rows)]), str(tmp_path / "a"))
    split = [to_table(rows[15:][::-1]), to_table(rows[:15])]
    second, summary_again = write_part((name, iter(split)), str(tmp_path / "b"))
    content = (tmp_path / "a" / name).read_bytes()
    assert content == (tmp_path / "b" / name).read_bytes()
    assert (first.name, first.rows, first.bytes, first.sha256) == (name, 23, len(content), sha256(content).hexdigest())
    assert (second, summary_again.to_json()) == (first, summary.to_json())
    written = [(row["group"], row["uri"]) for row in pq.read_table(tmp_path / "a" / name).to_pylist()]
    assert written == sorted(written)


def test_parts_are_zstd_with_the_schema(tmp_path: Path) -> None:
    part, _ = write_part(("part.parquet", [to_table(make_rows(5))]), str(tmp_path))
    file = pq.ParquetFile(tmp_path / part.name)
    group = file.metadata.row_group(0)
    assert {group.column(number).compression for number in range(group.num_columns)} == {"ZSTD"}
    assert file.schema_arrow.equals(AUDIT_SCHEMA)


def test_row_groups_are_cut_so_that_a_query_for_one_group_skips_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROWS_PER_ROW_GROUP", 10)
    part, _ = write_part(("part.parquet", [to_table(make_rows(40))]), str(tmp_path))
    metadata = pq.ParquetFile(tmp_path / part.name).metadata
    at = AUDIT_SCHEMA.get_field_index("group")
    ranges = [metadata.row_group(n).column(at).statistics for n in range(metadata.num_row_groups)]
    assert [(found.min, found.max) for found in ranges] == [("a", "a")] * 2 + [("b", "b")] * 2


def test_groups_in_hive_folders_read_back_whole_and_hive_readers_find_them(tmp_path: Path) -> None:
    groups = {0: "a b/c=d", 1: None, 2: "é"}
    rows = [row | {"group": groups[number % 3]} for number, row in enumerate(make_rows(12))]
    uri = write_run(tmp_path, rows, parts=1, by_group=True)
    table = read_run(uri)
    assert table.schema.equals(AUDIT_SCHEMA)
    assert sorted(table.to_pylist(), key=lambda row: row["uri"]) == rows
    found = sorted(path.parent.name for path in Path(uri).glob("group=*/part-*.parquet"))
    assert found == ["group=%C3%A9", "group=__HIVE_DEFAULT_PARTITION__", "group=a%20b%2Fc%3Dd"]
    by_hive = dataset.dataset(
        [str(path) for path in Path(uri).glob("group=*/*.parquet")], format="parquet",
        partitioning=dataset.HivePartitioning(pa.schema([("group", pa.string())])), partition_base_dir=uri,
    ).to_table()  # fmt: skip
    told = sorted(zip(by_hive["uri"].to_pylist(), by_hive["group"].to_pylist(), strict=True))
    assert told == [(row["uri"], row["group"]) for row in rows]


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
    assert not any((folder / name).exists() for name in ("_run.json", "summary.json"))
    with pytest.raises(FileNotFoundError, match="not a committed run"):
        read_run(str(folder))


def test_run_json_is_written_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    original = files.storage.write_bytes

    def record(uri: str, data: bytes) -> None:
        written.append(Path(uri).name)
        original(uri, data)

    monkeypatch.setattr(files.storage, "write_bytes", record)
    write_run(tmp_path, make_rows(5), parts=1)
    assert written == ["part-00000-of-00001.parquet", "summary.json", "_run.json"]


def test_a_run_of_schema_2_reads_as_what_it_was(tmp_path: Path) -> None:
    """Columns that it did not have are null, and what it said of itself stays."""
    later = {"quality_low", "quality_high"}
    schema = pa.schema(
        [
            field.with_nullable(field.nullable and field.name not in ("variant", "weights_sha256"))
            for field in AUDIT_SCHEMA
            if field.name not in later
        ]
    )
    rows = [row | {"variant": "q1net-k8", "weights_sha256": "abc", "schema_version": 2} for row in make_rows(5)]
    rows = [{name: value for name, value in row.items() if name not in later} for row in rows]
    buffer = BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema), buffer, compression="zstd")
    part = files.write_part(str(tmp_path), "part-00000-of-00001.parquet", buffer.getvalue(), len(rows))
    files.commit(f"{tmp_path}/_run.json", {"run_id": "1"}, [part])
    table = read_run(str(tmp_path))
    assert table.schema.equals(AUDIT_SCHEMA)
    assert table.to_pylist() == [row | dict.fromkeys(later) for row in rows]


def test_an_altered_part_is_refused(tmp_path: Path) -> None:
    uri = write_run(tmp_path, make_rows(10), parts=1)
    write_part(("part-00000-of-00001.parquet", [to_table(make_rows(9))]), uri)
    with pytest.raises(ValueError, match=r"part-00000-of-00001\.parquet of .* is not the file that was committed"):
        read_run(uri)


def test_stray_files_in_the_folder_are_not_rows(tmp_path: Path) -> None:
    uri = write_run(tmp_path, make_rows(10), parts=1)
    write_part(("part-00000-of-00007.parquet", [to_table(make_rows(3))]), uri)
    assert read_run(uri).num_rows == 10


def test_a_run_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="not a committed run"):
        read_run(str(tmp_path / "run_id=0"))


def test_parts_without_rows_can_be_summed(tmp_path: Path) -> None:
    part, summary = write_part(("part.parquet", [to_table([])]), str(tmp_path))
    assert (part.rows, summary.total.to_json()["images"]) == (0, 0)
