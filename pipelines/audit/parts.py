"""Parts of a run: which rows go to which, and how one is written."""

from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from io import BytesIO
from typing import Any
from urllib.parse import quote, unquote

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.pvalue import AsSingleton

from pipelines import files
from q1net_core.metrics import AuditSummary, FirstErrors

ROWS_PER_PART = 100_000
# Rows lie by group and uri, so that a query for one group, or one folder, skips most row groups of a part.
ROWS_PER_ROW_GROUP = 25_000
# The name that Hive, and everybody since, gives the folder of rows without a value.
NO_GROUP = "__HIVE_DEFAULT_PARTITION__"

Written = tuple[files.Part, AuditSummary]


def count_parts(rows: int) -> int:
    """Of how many parts a run is, by its rows."""
    return max(1, -(-rows // ROWS_PER_PART))


def buckets_of(rows: Any) -> Any:
    """How many parts for so many rows; a side input where only the engine knows the rows, as one element."""
    return count_parts(rows) if isinstance(rows, int) else AsSingleton(rows | "CountParts" >> beam.Map(count_parts))


def part_of(uri: str, parts: int) -> int:
    """Which part a row belongs to; depends on the uri alone, so retries rewrite the same files."""
    return int.from_bytes(blake2b(uri.encode(), digest_size=8).digest()) % parts


def folder_of(group: str | None) -> str:
    """The Hive folder of a group's rows: ``group=NAME/``, percent-encoded."""
    return f"group={NO_GROUP if group is None else quote(group, safe='')}/"


def group_in(name: str) -> str | None:
    """The group that a part's folder names; None where it has none."""
    value = name.partition("group=")[2].partition("/")[0]
    return None if value in ("", NO_GROUP) else unquote(value)


def split_by(table: pa.Table, keys: Sequence[Any]) -> Iterator[tuple[Any, pa.Table]]:
    """A table in pieces of equal key, one key for each row."""
    places: dict[Any, list[int]] = {}
    for place, key in enumerate(keys):
        places.setdefault(key, []).append(place)
    for key, chosen in places.items():
        yield key, table.take(pa.array(chosen))


def name_parts(table: pa.Table, parts: int, by_group: bool) -> Iterator[tuple[str, pa.Table]]:
    """A table of rows split into the parts that these go to, by the parts' names."""
    numbers = [part_of(uri, parts) for uri in table["uri"].to_pylist()]
    folders = map(folder_of, table["group"].to_pylist()) if by_group else [""] * len(table)
    names = [f"{folder}part-{n:05d}-of-{parts:05d}.parquet" for folder, n in zip(folders, numbers, strict=True)]
    return split_by(table, names)


def write_part(named: tuple[str, Iterable[pa.Table]], run_uri: str) -> Written:
    """Write one part, ordered by group and uri; returns it with the statistics of its rows.

    A part of a group's folder has no column ``group``: readers take it from the folder's name, and some refuse both.
    """
    name, tables = named
    rows = pa.concat_tables(tables)
    # Names that are not text may look alike in print; a retry must write the same bytes even so.
    order = pa.compute.sort_indices(rows, [(key, "ascending") for key in ("group", "uri", "processed_at")])
    left_out = ["group"] if "/" in name else []
    buffer, summary = BytesIO(), AuditSummary()
    with pq.ParquetWriter(buffer, rows.drop_columns(left_out).schema, compression="zstd") as writer:
        for at in range(0, len(rows), ROWS_PER_ROW_GROUP):
            some = rows.take(order[at : at + ROWS_PER_ROW_GROUP])
            writer.write_table(some.drop_columns(left_out))
            summary += summarize(some)
    return files.write_part(run_uri, name, buffer.getvalue(), len(rows)), summary


def summarize(rows: pa.Table) -> AuditSummary:
    """The statistics of some rows."""
    columns = {name: rows[name].to_pylist() for name in ("group", "status", "verdict", "quality", "uri", "error")}
    errors = FirstErrors.of(zip(columns["status"], columns["uri"], columns["error"], strict=True))
    told = (columns[name] for name in ("group", "status", "verdict", "quality"))
    return AuditSummary.of(zip(*told, strict=True), errors)
