"""Rows kept as they come: small files of a run, so that a run that is killed loses little.

A piece lies in the run's folder, is written whole or not at all, and is named by its own sha256. A run's commit counts
the pieces that its steps tell of; `--resume` takes every piece that an uncommitted run left.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.transforms.window import GlobalWindows

from pipelines import files
from pipelines.audit.table import AUDIT_SCHEMA, Row, audit_schema
from q1net_core import storage

FOLDER = "_pieces"
COLUMNS = frozenset(AUDIT_SCHEMA.names)
# What a killed run may lose of each of its threads: so many rows, or what was done in so many seconds.
ROWS_PER_PIECE = 1_000
SECONDS_PER_PIECE = 30


def to_table(rows: list[Row]) -> pa.Table:
    """Rows with what they carry, one at least, as a table."""
    return pa.Table.from_pylist(rows, audit_schema([name for name in rows[0] if name not in COLUMNS]))


def write_piece(run_uri: str, rows: pa.Table) -> str:
    """Write one piece of a run; returns its name, its sha256 and ``.parquet``."""
    buffer = BytesIO()
    pq.write_table(rows, buffer, compression="zstd")
    content = buffer.getvalue()
    name = f"{sha256(content).hexdigest()}.parquet"
    storage.write_bytes(storage.join(run_uri, FOLDER, name), content)
    return name


def as_listed(name: str) -> files.JSON:
    """A piece as a commit would list it."""
    return {"name": f"{FOLDER}/{name}", "sha256": name.removesuffix(".parquet")}


def name_pieces(run_uri: str) -> list[str]:
    """The names of all pieces of a run."""
    return [name for name in storage.list_names(storage.join(run_uri, FOLDER)) if name.endswith(".parquet")]


def list_pieces(run_uri: str) -> list[files.JSON]:
    """All pieces of a run, as a commit would list them."""
    return list(map(as_listed, name_pieces(run_uri)))


def read_piece(name: str, run_uri: str) -> pa.Table:
    """The rows of a piece; raises as files.read_part."""
    return pq.read_table(BytesIO(files.read_part(run_uri, as_listed(name))))


def drop_pieces(run_uri: str) -> None:
    """Delete the pieces of a run, which a committed run needs no more."""
    storage.remove(storage.join(run_uri, FOLDER))


class WritePieceFn(beam.DoFn):
    """Gathers rows and writes a piece now and then, and at the end of each bundle."""

    def __init__(self, run_uri: str) -> None:
        self.run_uri = run_uri

    def start_bundle(self) -> None:
        """What an earlier bundle left was lost with it."""
        self.rows: list[Row] = []
        self.since = time.monotonic()

    def process(self, row: Row) -> Iterator[str]:
        """Keep the row; the name of a piece when it is time for one."""
        self.rows.append(row)
        if len(self.rows) >= ROWS_PER_PIECE or time.monotonic() - self.since >= SECONDS_PER_PIECE:
            yield self.flush()

    def finish_bundle(self) -> Iterator[Any]:
        """The name of the last piece of the bundle."""
        if self.rows:
            yield GlobalWindows.windowed_value(self.flush())

    def flush(self) -> str:
        """Write what is gathered."""
        name = write_piece(self.run_uri, to_table(self.rows))
        self.rows, self.since = [], time.monotonic()
        return name


@dataclass
class WritePieces(beam.PTransform):
    """Rows, as one PCollection or several -> names of pieces of the run.

    Several are not flattened before: a local engine would hold back all their rows until the last one is there.
    """

    run_uri: str

    def expand(self, rows: Any) -> beam.PCollection[str]:
        """One output."""
        routes = rows if isinstance(rows, tuple) else (rows,)
        names = [
            route | f"WritePiece {number}" >> beam.ParDo(WritePieceFn(self.run_uri))
            for number, route in enumerate(routes)
        ]
        return tuple(names) | "Names" >> beam.Flatten()
