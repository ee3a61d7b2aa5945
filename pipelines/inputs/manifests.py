"""Manifests: tables of image uris, with columns that go along, read a piece at a time."""

import csv
import gzip
import io
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from typing import Any, BinaryIO, cast

import pyarrow.parquet as pq

from pipelines.inputs.patterns import distinct, open_archive
from q1net_core import storage
from q1net_core.errors import ConfigError
from q1net_core.records import ListedImage

Cells = dict[str, Any]


def read_txt(file: BinaryIO, _: Sequence[str]) -> Iterator[Cells]:
    """A uri a line."""
    for line in file:
        if uri := os.fsdecode(line.rstrip(b"\r\n")):
            yield {"uri": uri}


def read_csv(file: BinaryIO, columns: Sequence[str]) -> Iterator[Cells]:
    """A CSV file with a header; cells are text as they are written, empty ones None."""
    with io.TextIOWrapper(file, "utf-8-sig", newline="") as text:
        rows = csv.DictReader(text, strict=True)
        if not rows.fieldnames:
            raise ValueError("the file is empty; expected a header")
        check_columns(rows.fieldnames, columns)
        for row in rows:
            if None in row or None in row.values():
                raise ValueError(f"line {rows.line_num} has not as many cells as the header, {len(rows.fieldnames)}")
            yield {name: row[name] or None for name in columns}


def read_jsonl(file: BinaryIO, columns: Sequence[str]) -> Iterator[Cells]:
    """An object a line; one may lack a column that others have."""
    seen: set[str] = set()
    for number, line in enumerate(file, 1):
        if line.strip():
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError(f"line {number} is no object")
            seen |= row.keys()
            yield {name: row.get(name) for name in columns}
    check_columns(sorted(seen), columns if seen else [])


def read_parquet(file: BinaryIO, columns: Sequence[str]) -> Iterator[Cells]:
    """A Parquet file, some rows of a row group at a time."""
    with pq.ParquetFile(file) as table:
        check_columns(table.schema_arrow.names, columns)
        for batch in table.iter_batches(batch_size=10_000, columns=list(dict.fromkeys(columns))):
            yield from batch.to_pylist()


READERS: dict[str, Callable[[BinaryIO, Sequence[str]], Iterator[Cells]]] = {
    ".txt": read_txt,
    ".csv": read_csv,
    ".jsonl": read_jsonl,
    ".parquet": read_parquet,
}


class MissingColumnError(ValueError):
    """A manifest lacks a column that was asked for."""


def check_columns(names: Sequence[str], wanted: Iterable[str]) -> None:
    """Raise MissingColumnError for the first column that is not there."""
    for column in wanted:
        if column not in names:
            raise MissingColumnError(f"has no column {column!r}; it has {', '.join(names) or 'none'}")


def read_manifest(
    uri: str,
    group_column: str | None = None,
    carry: Sequence[str] = (),
    check: Callable[[str], None] = lambda _: None,
) -> Iterator[ListedImage]:
    """Inputs from a .txt, .csv, .jsonl or .parquet file, or one of them with .gz: each uri once, as they are read.

    Args:
        uri: where the manifest is; its column ``uri`` names images, or archives of images.
        group_column: the column that is the group.
        carry: columns that go along, as text.
        check: raises ConfigError for a uri that is not welcome.

    Raises:
        ConfigError: the manifest cannot be read, lacks a column, has no rows, or a row without uri.
    """
    return distinct(member for image in read_rows(uri, group_column, carry, check) for member in open_archive(image))


def read_rows(
    uri: str, group_column: str | None, carry: Sequence[str], check: Callable[[str], None]
) -> Iterator[ListedImage]:
    """An input for each row; raises as read_manifest."""
    name = uri.lower().removesuffix(".gz")
    kind = os.path.splitext(name)[1]  # noqa: PTH122
    if kind not in READERS:
        raise ConfigError(f"manifest is {uri!r}; expected a name ending in {', '.join(READERS)}, or these with .gz")
    columns = ["uri", *([group_column] if group_column else []), *carry]
    if kind == ".txt" and len(columns) > 1:
        raise ConfigError(f"manifest {uri} is a list of uris; expected .csv, .jsonl or .parquet for {columns[1]!r}")
    shown, number = storage.printable_uri(uri), 0
    with closing(read_cells(uri, kind, columns)) as rows:
        for number, row in enumerate(refusing(rows, f"manifest {shown}"), 1):  # noqa: B007 (used below)
            if not row["uri"]:
                raise ConfigError(f"manifest {shown} has a row without uri; expected an image uri in every row")
            # Bytes where names need not be text, as in the inputs that another run kept.
            image = os.fsdecode(row["uri"]) if isinstance(row["uri"], bytes) else str(row["uri"])
            check(image)
            cells = {column: None if row[column] is None else str(row[column]) for column in columns[1:]}
            group = cells[group_column] if group_column else None
            yield ListedImage(image, group=group, carried=tuple((key, cells[key]) for key in carry))
    if not number:
        raise ConfigError(f"manifest {shown} has no rows; expected one image uri in each")


def refusing(rows: Iterator[Cells], name: str) -> Iterator[Cells]:
    """The rows; whatever fails on the way to the next is a ConfigError about the manifest."""
    while True:
        try:
            row = next(rows, None)
        except MissingColumnError as error:
            raise ConfigError(f"{name} {error}") from error
        except Exception as error:
            raise ConfigError(f"{name} cannot be read: {storage.reason_of(error)}") from error
        if row is None:
            return
        yield row


def read_cells(uri: str, kind: str, columns: Sequence[str]) -> Generator[Cells, None, None]:
    """The rows of a manifest of one kind, unpacked on the way if its name ends in .gz."""
    with storage.open_file(uri) as file:
        if not uri.lower().endswith(".gz"):
            yield from READERS[kind](file, columns)
            return
        with gzip.open(file) as unpacked, tempfile.TemporaryFile() as copy:
            if kind != ".parquet":
                yield from READERS[kind](cast(BinaryIO, unpacked), columns)
                return
            # Parquet is read from its end.
            shutil.copyfileobj(unpacked, copy)
            yield from READERS[kind](cast(BinaryIO, copy), columns)
