"""The audit table: schema, record -> row, and a run: parts first, `_run.json` last.

Readers take a run only if `_run.json` is there, and its parts only from the list inside.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b, sha256
from io import BytesIO
from operator import itemgetter
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq

from q1net_core import __version__, storage
from q1net_core.errors import ImageError
from q1net_core.metrics import AuditSummary
from q1net_core.records import ImageRecord, Status
from q1net_core.verdict import answer, judge

SCHEMA_VERSION = 2
TIMESTAMP = pa.timestamp("us", tz="UTC")
ROWS_PER_PART = 100_000

AUDIT_SCHEMA = pa.schema(
    [
        pa.field("uri", pa.string(), nullable=False),
        ("group", pa.string()),
        pa.field("status", pa.string(), nullable=False),
        ("error", pa.string()),
        ("size_bytes", pa.int64()),
        ("version", pa.string()),
        ("modified", TIMESTAMP),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("format", pa.string()),
        ("mode", pa.string()),
        ("header_quality", pa.float32()),
        ("header_match", pa.string()),
        ("header_tables_md5", pa.string()),
        ("subsampling", pa.string()),
        ("progressive", pa.bool_()),
        ("lattice_quality", pa.float32()),
        ("lattice_margin", pa.float32()),
        ("lattice_match", pa.string()),
        ("lattice_level", pa.int32()),
        ("lattice_ties", pa.list_(pa.int32())),
        ("lattice_last_quality", pa.float32()),
        ("lattice_steps", pa.list_(pa.int32())),
        ("grid_x", pa.int8()),
        ("grid_y", pa.int8()),
        ("q1net_quality", pa.float32()),
        ("q1net_confidence", pa.float32()),
        ("q1net_spread", pa.float32()),
        pa.field("patches", pa.int32(), nullable=False),
        pa.field("patches_used", pa.int32(), nullable=False),
        ("quality", pa.float32()),
        ("quality_source", pa.string()),
        ("verdict", pa.string()),
        pa.field("variant", pa.string(), nullable=False),
        pa.field("weights_sha256", pa.string(), nullable=False),
        pa.field("q1net_version", pa.string(), nullable=False),
        pa.field("schema_version", pa.int32(), nullable=False),
        pa.field("processed_at", TIMESTAMP, nullable=False),
    ]
)

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Stamp:
    """What made a row: model variant, weights, package and schema versions."""

    variant: str
    weights_sha256: str
    q1net_version: str = __version__
    schema_version: int = SCHEMA_VERSION


def to_row(record: ImageRecord, stamp: Stamp) -> Row:
    """A finished record -> one row of AUDIT_SCHEMA."""
    image, info, header, estimate = record.image, record.info, record.info.header, record.estimate
    lattice = info.lattice
    quality, source = answer(lattice, estimate)
    verdict = judge(record)
    grid_x, grid_y = lattice.grid or (None, None)
    return dict.fromkeys(AUDIT_SCHEMA.names) | {
        "uri": storage.printable_uri(image.uri),
        "group": image.group,
        "status": record.status.value,
        "error": record.error,
        "size_bytes": image.size_bytes,
        "version": image.version,
        "modified": image.modified,
        "width": info.width,
        "height": info.height,
        "format": info.format,
        "mode": info.mode,
        "header_quality": header and header.quality,
        "header_match": header and header.match,
        "header_tables_md5": header and header.tables_md5,
        "subsampling": header and header.subsampling,
        "progressive": header and header.progressive,
        "lattice_quality": lattice.quality,
        "lattice_margin": lattice.margin,
        "lattice_match": lattice.match,
        "lattice_level": lattice.level,
        "lattice_ties": list(lattice.ties) or None,
        "lattice_last_quality": lattice.last_quality,
        "lattice_steps": list(lattice.steps) if lattice.steps and lattice.match == "custom" else None,
        "grid_x": grid_x,
        "grid_y": grid_y,
        "q1net_quality": estimate and estimate.quality,
        "q1net_confidence": estimate and estimate.confidence,
        "q1net_spread": estimate and estimate.spread,
        "patches": estimate.patches if estimate else 0,
        "patches_used": estimate.patches_used if estimate else 0,
        "quality": quality,
        "quality_source": source,
        "verdict": verdict and verdict.value,
        "processed_at": datetime.now(UTC),
        **asdict(stamp),
    }


@dataclass(frozen=True, slots=True)
class Part:
    """One written Parquet file of a run, with the statistics of its rows."""

    name: str
    rows: int
    bytes: int
    sha256: str
    summary: AuditSummary = field(repr=False)


def part_of(uri: str, parts: int) -> int:
    """Which part a row belongs to; depends on the uri alone, so retries rewrite the same files."""
    return int.from_bytes(blake2b(uri.encode(), digest_size=8).digest()) % parts


def write_part(numbered: tuple[int, Iterable[Row]], run_uri: str, parts: int) -> Part:
    """Write one part, sorted by uri, zstd."""
    number, rows = numbered
    # Names that are not text may look alike in print; a retry must write the same bytes even so.
    ordered = sorted(rows, key=itemgetter("uri", "processed_at"))
    buffer = BytesIO()
    pq.write_table(pa.Table.from_pylist(ordered, AUDIT_SCHEMA), buffer, compression="zstd")
    content = buffer.getvalue()
    name = f"part-{number:05d}-of-{parts:05d}.parquet"
    storage.write_bytes(storage.join(run_uri, name), content)
    summary = AuditSummary.of((row["group"], row["status"], row["verdict"], row["quality"]) for row in ordered)
    return Part(name, len(ordered), len(content), sha256(content).hexdigest(), summary)


def commit_run(_: None, parts: list[Part], run_uri: str, expected: int, about: dict[str, Any]) -> str:
    """Check that every input became exactly one row, then write summary.json and, last, `_run.json`.

    Raises:
        RuntimeError: rows are missing or doubled; nothing is committed.
    """
    rows = sum(part.rows for part in parts)
    if rows != expected:
        raise RuntimeError(f"run {run_uri} has {rows} rows for {expected} inputs; it is not committed, start it again")
    summary = AuditSummary.merge_all(part.summary for part in parts)
    write_json(storage.join(run_uri, "summary.json"), summary.to_json())
    files = [
        {"name": part.name, "rows": part.rows, "bytes": part.bytes, "sha256": part.sha256}
        for part in sorted(parts, key=lambda part: part.name)
    ]
    totals = {"rows": rows, "ok": summary.total.statuses.get(Status.OK.value, 0)}
    committed = about | {"files": files, "totals": totals, "committed_at": datetime.now(UTC).isoformat()}
    write_json(storage.join(run_uri, "_run.json"), committed)
    return run_uri


def write_json(uri: str, value: dict[str, Any]) -> None:
    """Readable JSON, UTF-8."""
    storage.write_bytes(uri, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


class WriteRun(beam.PTransform):
    """Rows -> Parquet parts under ``run_uri``, then the commit; one output element, the committed run's uri.

    Args:
        run_uri: the run's own, new folder.
        expected: how many rows there must be.
        about: what else `_run.json` says, JSON values.
    """

    def __init__(self, run_uri: str, expected: int, about: dict[str, Any]) -> None:
        super().__init__()
        self.run_uri, self.expected, self.about = run_uri, expected, about

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


def read_run(run_uri: str) -> pa.Table:
    """All rows of a committed run, as `_run.json` lists them, checked against its checksums.

    Raises:
        FileNotFoundError: the run was never committed.
        ValueError: a part is not the one that was committed.
    """
    try:
        run = json.loads(read_uri(storage.join(run_uri, "_run.json")))
    except ImageError as error:
        if error.status is not Status.MISSING:
            raise
        raise FileNotFoundError(f"{run_uri} is not a committed run: it has no _run.json") from error
    tables = []
    for part in run["files"]:
        content = read_uri(storage.join(run_uri, part["name"]))
        if sha256(content).hexdigest() != part["sha256"]:
            raise ValueError(f"{part['name']} of {run_uri} is not the file that was committed; its sha256 differs")
        tables.append(pq.read_table(BytesIO(content)))
    return pa.concat_tables(tables) if tables else AUDIT_SCHEMA.empty_table()


def read_uri(uri: str) -> bytes:
    """All bytes of a file of a run."""
    return storage.read_bytes(uri, 1 << 40)
