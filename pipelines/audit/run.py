"""A run: parts first, `_run.json` last. Readers take a run only if it is there, and only the parts that it lists."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from io import BytesIO
from operator import itemgetter
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines import files
from pipelines.audit.table import AUDIT_SCHEMA, Row
from q1net_core import storage
from q1net_core.errors import ImageError
from q1net_core.metrics import AuditSummary
from q1net_core.records import Status

ROWS_PER_PART = 100_000

Written = tuple[files.Part, AuditSummary]


def part_of(uri: str, parts: int) -> int:
    """Which part a row belongs to; depends on the uri alone, so retries rewrite the same files."""
    return int.from_bytes(blake2b(uri.encode(), digest_size=8).digest()) % parts


def write_part(numbered: tuple[int, Iterable[Row]], run_uri: str, parts: int) -> Written:
    """Write one part, sorted by uri, zstd; returns it with the statistics of its rows."""
    number, rows = numbered
    # Names that are not text may look alike in print; a retry must write the same bytes even so.
    ordered = sorted(rows, key=itemgetter("uri", "processed_at"))
    buffer = BytesIO()
    pq.write_table(pa.Table.from_pylist(ordered, AUDIT_SCHEMA), buffer, compression="zstd")
    name = f"part-{number:05d}-of-{parts:05d}.parquet"
    part = files.write_part(run_uri, name, buffer.getvalue(), len(ordered))
    return part, AuditSummary.of((row["group"], row["status"], row["verdict"], row["quality"]) for row in ordered)


def commit_run(_: None, written: list[Written], run_uri: str, expected: int, about: files.JSON) -> str:
    """Check that every input became exactly one row, then write summary.json and, last, `_run.json`.

    Raises:
        RuntimeError: rows are missing or doubled; nothing is committed.
    """
    rows = sum(part.rows for part, _ in written)
    if rows != expected:
        raise RuntimeError(f"run {run_uri} has {rows} rows for {expected} inputs; it is not committed, start it again")
    summary = AuditSummary.merge_all(summary for _, summary in written)
    files.write_json(storage.join(run_uri, "summary.json"), summary.to_json())
    totals = {"rows": rows, "ok": summary.total.statuses.get(Status.OK.value, 0)}
    about = about | {"totals": totals, "committed_at": datetime.now(UTC).isoformat()}
    files.commit(storage.join(run_uri, "_run.json"), about, (part for part, _ in written))
    return run_uri


@dataclass
class WriteRun(beam.PTransform):
    """Rows -> Parquet parts under ``run_uri``, then the commit; one output element, the committed run's uri.

    Args:
        run_uri: the run's own, new folder.
        expected: how many rows there must be.
        about: what else `_run.json` says, JSON values.
    """

    run_uri: str
    expected: int
    about: dict[str, Any]

    def expand(self, rows: beam.PCollection[Row]) -> beam.PCollection[str]:
        """Group rows into parts by their uri, write, commit."""
        count = max(1, -(-self.expected // ROWS_PER_PART))
        parts = (
            rows
            | "ByPart" >> beam.WithKeys(lambda row, count: part_of(row["uri"], count), count)
            | "GroupByPart" >> beam.GroupByKey()
            | "WritePart" >> beam.Map(write_part, self.run_uri, count)
        )
        return (
            rows.pipeline
            | "Once" >> beam.Create([None])
            | "Commit" >> beam.Map(commit_run, beam.pvalue.AsList(parts), self.run_uri, self.expected, self.about)
        )


def open_run(run_uri: str) -> files.JSON:
    """What `_run.json` of a committed run says; raises FileNotFoundError if the run was never committed."""
    try:
        return files.read_json(storage.join(run_uri, "_run.json"))
    except ImageError as error:
        if error.status is not Status.MISSING:
            raise
        raise FileNotFoundError(f"{run_uri} is not a committed run: it has no _run.json") from error


def read_parts(run_uri: str, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """The parts of a committed run, one at a time, as `_run.json` lists them, checked against its checksums.

    All columns of AUDIT_SCHEMA or some; those that a run of an older version did not have are null.

    Raises:
        FileNotFoundError: the run was never committed.
        ValueError: a part is not the one that was committed.
    """
    wanted = AUDIT_SCHEMA.names if columns is None else columns
    schema = pa.schema([AUDIT_SCHEMA.field(name) for name in wanted])
    for listed in open_run(run_uri)["files"]:
        file = pq.ParquetFile(BytesIO(files.read_part(run_uri, listed)))
        part = file.read(columns=[name for name in wanted if name in file.schema_arrow.names])
        yield pa.table([column_of(part, field) for field in schema], schema=schema)


def column_of(part: pa.Table, field: pa.Field) -> pa.Array:
    """A column of the audit table from a part of any version; nulls where it does not have it."""
    return part[field.name].cast(field.type) if field.name in part.column_names else pa.nulls(len(part), field.type)


def read_run(run_uri: str) -> pa.Table:
    """All rows of a committed run in AUDIT_SCHEMA; raises as read_parts."""
    return pa.concat_tables([AUDIT_SCHEMA.empty_table(), *read_parts(run_uri)])
