"""A run: parts first, `_run.json` last. Readers take a run only if it is there, and only the parts that it lists."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from operator import itemgetter
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.pvalue import AsList, AsSingleton

from pipelines import files
from pipelines.audit.accounting import Difference, MatchInputs, describe_differences
from pipelines.audit.parts import buckets_of, group_in, name_parts, write_part
from pipelines.audit.pieces import WritePieces, read_piece
from pipelines.audit.table import AUDIT_SCHEMA, audit_schema
from q1net_core import storage
from q1net_core.errors import ImageError
from q1net_core.metrics import AuditSummary
from q1net_core.records import Status


def describe_inputs(count: int | None, input_files: Iterable[str]) -> files.JSON:
    """What a run's JSON files say of its inputs."""
    return {"listed": count, "files": sorted(uri.rpartition("/")[2] for uri in input_files)}


def commit_run(
    run_uri: str,
    parts: Sequence[files.Part],
    summary: AuditSummary,
    expected: int,
    about: files.JSON,
    carried: int = 0,
    differences: Sequence[Difference] = (),
    input_files: Sequence[str] = (),
) -> str:
    """Check that every input became exactly one row, then write summary.json and, last, `_run.json`.

    ``carried`` of the rows are from earlier runs; ``differences`` are between the rows and what ``input_files`` list.

    Raises:
        RuntimeError: rows are missing, doubled or of no input; nothing is committed.
    """
    rows = sum(part.rows for part in parts)
    if rows != expected or differences:
        told = describe_differences(differences, input_files, parts, run_uri)
        raise RuntimeError(
            f"run {run_uri} has {rows} rows for {expected} inputs{told}; it is not committed, start it "
            "again with --resume"
        )
    files.write_json(storage.join(run_uri, "summary.json"), summary.to_json())
    totals = {"rows": rows, "ok": summary.total.statuses.get(Status.OK.value, 0), "carried": carried}
    if input_files:
        about = about | {"inputs": describe_inputs(expected, input_files)}
    about = about | {"totals": totals, "committed_at": datetime.now(UTC).isoformat()}
    about["failed"] = find_failure(totals["ok"], rows, about.get("arguments", {}).get("max_failure_ratio"))
    files.commit(storage.join(run_uri, "_run.json"), about, parts)
    return run_uri


def find_failure(ok: int, rows: int, limit: float | None) -> str | None:
    """Why a run with all its rows is a failed one: more than a share ``limit`` of them have no estimate; else None."""
    failed = rows - ok
    if limit is None or failed <= limit * rows:
        return None
    share = f"a share of {failed / rows:.3g}; expected at most {limit:g} (--max-failure-ratio)"
    return f"{failed} of {rows} images have no estimate, {share}"


@dataclass
class CommitRun(beam.PTransform):
    """Tables of rows -> parts, then the commit; one output element, the committed run's uri.

    Args:
        run_uri: the run's own, new folder.
        expected: how many rows there must be, a number or a PCollection of it.
        about: what else `_run.json` says, JSON values.
        by_group: put the rows of each group into a Hive folder of its own.
        input_files: uris of the files that list the inputs, a PCollection: each input must have its row. Without, rows
            are counted only.
    """

    run_uri: str
    expected: Any
    about: dict[str, Any]
    by_group: bool = False
    input_files: Any = None

    def expand(self, tables: Any) -> beam.PCollection[str]:
        """From tables of rows, or a pair of them: judged by this run, carried over from earlier ones."""
        judged, *carried = tables if isinstance(tables, tuple) else (tables,)
        buckets = buckets_of(self.expected)
        expected = self.expected if isinstance(self.expected, int) else AsSingleton(self.expected)
        count: Any = 0
        if carried:
            count = AsSingleton(
                carried[0] | "Rows" >> beam.Map(len) | "Sum" >> beam.CombineGlobally(sum).without_defaults(), 0
            )
        written = (
            (judged, *carried)
            | "AllRows" >> beam.Flatten()
            | "NameParts" >> beam.FlatMap(name_parts, buckets, self.by_group)
            | "GroupByPart" >> beam.GroupByKey()
            | "WritePart" >> beam.Map(write_part, self.run_uri)
        )
        parts = written | "Parts" >> beam.Map(itemgetter(0))
        summaries = written | "Summaries" >> beam.Map(itemgetter(1))
        summary = summaries | "Summary" >> beam.CombineGlobally(AuditSummary.merge_all)
        matched: tuple[Any, ...] = ()
        if self.input_files is not None:
            differences = parts | "MatchInputs" >> MatchInputs(self.input_files, self.run_uri, buckets)
            matched = AsList(differences), AsList(self.input_files)
        return (
            judged.pipeline
            | "Once" >> beam.Create([self.run_uri])
            | "Commit"
            >> beam.Map(commit_run, AsList(parts), AsSingleton(summary), expected, self.about, count, *matched)
        )


@dataclass
class WriteRun(beam.PTransform):
    """Rows, as one PCollection or several -> a committed run; one output element, its uri.

    The arguments are those of CommitRun. Rows are counted, not matched: nobody listed what they are of.
    """

    run_uri: str
    expected: int
    about: dict[str, Any]
    by_group: bool = False

    def expand(self, rows: Any) -> beam.PCollection[str]:
        """Write pieces as rows come, then parts, then the commit."""
        commit = CommitRun(self.run_uri, self.expected, self.about, self.by_group)
        return rows | "WritePieces" >> WritePieces(self.run_uri) | "ReadPieces" >> ReadPieces(self.run_uri) | commit


@dataclass
class ReadPieces(beam.PTransform):
    """Names of pieces of a run -> tables of their rows."""

    run_uri: str

    def expand(self, names: beam.PCollection[str]) -> beam.PCollection[pa.Table]:
        """One output; what follows can be done again without estimating anything again."""
        return names | "Keep" >> beam.Reshuffle() | "ReadPiece" >> beam.Map(read_piece, self.run_uri)


def open_run(run_uri: str) -> files.JSON:
    """What `_run.json` of a committed run says; raises FileNotFoundError if the run was never committed."""
    try:
        return files.read_json(storage.join(run_uri, "_run.json"))
    except ImageError as error:
        if error.status is not Status.MISSING:
            raise
        raise FileNotFoundError(f"{run_uri} is not a committed run: it has no _run.json") from error


def read_rows(run_uri: str, listed: files.JSON, columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of one listed file of a run, in AUDIT_SCHEMA or the ``columns`` named, carried ones among them.

    Columns that a run of an older version did not have are null.

    Raises:
        ImageError: it cannot be read.
        ValueError: it is not the file that was listed.
    """
    wanted = AUDIT_SCHEMA.names if columns is None else columns
    file = pq.ParquetFile(BytesIO(files.read_part(run_uri, listed)))
    part = file.read(columns=[name for name in wanted if name in file.schema_arrow.names])
    schema = audit_schema([name for name in wanted if name not in AUDIT_SCHEMA.names])
    fields = [schema.field(name) for name in wanted]
    arrays = [column_of(part, field, file.metadata.num_rows) for field in fields]
    if "/group=" in f"/{listed['name']}" and "group" in wanted:
        arrays[list(wanted).index("group")] = pa.repeat(
            pa.scalar(group_in(listed["name"]), pa.string()), file.metadata.num_rows
        )
    return pa.table(arrays, schema=pa.schema(fields))


def read_parts(run_uri: str, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """The parts of a committed run, one at a time, as `_run.json` lists them, checked against its checksums.

    All columns of AUDIT_SCHEMA and those that the run carried, or some; those that a run of an older version did not
    have are null.

    Raises:
        FileNotFoundError: the run was never committed.
        ValueError: a part is not the one that was committed.
    """
    about = open_run(run_uri)
    if columns is None:
        columns = run_columns(about)
    for listed in about["files"]:
        yield read_rows(run_uri, listed, columns)


def run_columns(about: files.JSON) -> list[str]:
    """The columns of a run: the table's, and those that it carried from its manifest."""
    return [*AUDIT_SCHEMA.names, *about.get("arguments", {}).get("carry", [])]


def column_of(part: pa.Table, field: pa.Field, rows: int) -> pa.Array:
    """A column of the audit table from a part of any version; nulls where it does not have it."""
    return part[field.name].cast(field.type) if field.name in part.column_names else pa.nulls(rows, field.type)


def read_run(run_uri: str) -> pa.Table:
    """All rows of a committed run, in AUDIT_SCHEMA and what it carried; raises as read_parts."""
    carried = run_columns(open_run(run_uri))[len(AUDIT_SCHEMA.names) :]
    return pa.concat_tables([audit_schema(carried).empty_table(), *read_parts(run_uri)])
