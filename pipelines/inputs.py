"""What to audit: globs and manifests -> a list of inputs, kept in the run, read back by the workers."""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC
from io import BytesIO
from pathlib import PurePosixPath
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq

from q1net_core import storage
from q1net_core.errors import ConfigError, ImageError
from q1net_core.listing import list_images
from q1net_core.records import ListedImage

INPUTS_PER_FILE = 50_000
MAX_MANIFEST_BYTES = 1 << 34
TIMESTAMP = pa.timestamp("us", tz="UTC")
# Names of local files need not be text, so uris are kept as bytes here.
INPUTS_SCHEMA = pa.schema(
    [
        ("uri", pa.binary()),
        ("size_bytes", pa.int64()),
        ("version", pa.string()),
        ("modified", TIMESTAMP),
        ("group", pa.string()),
    ]
)


def read_csv(file: BytesIO, columns: list[str]) -> pa.Table:
    """A CSV file with ``columns`` as text: guessed types would turn the group 007 into 7."""
    options = pyarrow.csv.ConvertOptions(
        column_types=dict.fromkeys(columns, pa.string()), strings_can_be_null=True, null_values=[""]
    )
    return pyarrow.csv.read_csv(file, convert_options=options)


MANIFEST_READERS: dict[str, Callable[[BytesIO, list[str]], pa.Table]] = {
    ".parquet": lambda file, _: pq.read_table(file),
    ".csv": read_csv,
    ".jsonl": lambda file, _: pyarrow.json.read_json(file),
}


def list_inputs(patterns: Iterable[str]) -> Iterator[ListedImage]:
    """All images matched by files, folders and globs, each uri once.

    Raises:
        ConfigError: a pattern matches nothing, or its store cannot be listed.
    """
    seen: set[str] = set()
    for pattern in patterns:
        matched = False
        for image in list_images(pattern):
            matched = True
            if image.uri not in seen:
                seen.add(image.uri)
                yield image
        if not matched:
            raise ConfigError(
                f"no image matches {storage.printable_uri(pattern)!r}; expected a file, a folder with image files, "
                "or a glob such as 'photos/**/*.jpg' (in quotes)"
            )


def read_manifest(uri: str, group_column: str | None = None) -> Iterator[ListedImage]:
    """Inputs from the column ``uri`` of a .csv, .jsonl or .parquet file, each once, with an optional group column.

    Raises:
        ConfigError: the manifest cannot be read, has no such column, or has no rows.
    """
    kind = PurePosixPath(uri).suffix.lower()
    if kind not in MANIFEST_READERS:
        raise ConfigError(f"manifest is {uri!r}; expected a name ending in {', '.join(MANIFEST_READERS)}")
    columns = ["uri", group_column] if group_column else ["uri"]
    try:
        table = MANIFEST_READERS[kind](BytesIO(storage.read_bytes(uri, MAX_MANIFEST_BYTES)), columns)
    except (ImageError, pa.ArrowException, OSError) as error:
        raise ConfigError(f"manifest {uri} cannot be read: {error}") from error
    for column in columns:
        if column not in table.column_names:
            raise ConfigError(
                f"manifest {uri} has no column {column!r}; it has {', '.join(table.column_names) or 'none'}"
            )
    groups = table[group_column].to_pylist() if group_column else [None] * len(table)
    if not groups:
        raise ConfigError(f"manifest {uri} has no rows; expected one image uri in each")
    seen: set[str] = set()
    for image_uri, group in zip(table["uri"].to_pylist(), groups, strict=True):
        if not image_uri:
            raise ConfigError(f"manifest {uri} has a row without uri; expected an image uri in every row")
        # Bytes where names need not be text, as in the inputs that another run kept.
        text = os.fsdecode(image_uri) if isinstance(image_uri, bytes) else str(image_uri)
        if text not in seen:
            seen.add(text)
            yield ListedImage(text, group=None if group is None else str(group))


def group_by(pattern: str) -> re.Pattern[str]:
    """A checked ``--group`` expression; raises ConfigError unless it is valid and captures something."""
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"--group is {pattern!r}, not a regular expression: {error}") from error
    if not expression.groups:
        raise ConfigError(f"--group is {pattern!r}; expected a capture, for example 'photos/([^/]+)/'")
    return expression


def assign_group(image: ListedImage, expression: re.Pattern[str]) -> ListedImage:
    """The image with the first capture on its uri as its group, or without group."""
    found = expression.search(storage.printable_uri(image.uri))
    return replace(image, group=found[1] if found else None)


def write_inputs(images: Iterable[ListedImage], run_uri: str) -> tuple[list[str], int]:
    """Keep the inputs in the run's folder, for the workers to read; returns the files' uris and how many inputs."""
    uris: list[str] = []
    count = 0
    rows: list[dict[str, Any]] = []

    def flush() -> None:
        buffer = BytesIO()
        pq.write_table(pa.Table.from_pylist(rows, INPUTS_SCHEMA), buffer, compression="zstd")
        uris.append(storage.join(run_uri, "_inputs", f"inputs-{len(uris):05d}.parquet"))
        storage.write_bytes(uris[-1], buffer.getvalue())
        rows.clear()

    for image in images:
        rows.append(
            {
                "uri": image.uri.encode(errors="surrogateescape"),
                "size_bytes": image.size_bytes,
                "version": image.version,
                "modified": image.modified,
                "group": image.group,
            }
        )
        count += 1
        if len(rows) == INPUTS_PER_FILE:
            flush()
    if rows:
        flush()
    return uris, count


def read_inputs(uri: str) -> Iterator[ListedImage]:
    """The inputs of one file that write_inputs wrote."""
    for row in pq.read_table(BytesIO(storage.read_bytes(uri, MAX_MANIFEST_BYTES))).to_pylist():
        modified = row["modified"]
        yield ListedImage(
            row["uri"].decode(errors="surrogateescape"),
            row["size_bytes"],
            row["version"],
            modified.astimezone(UTC) if modified else None,
            row["group"],
        )


@dataclass
class ReadInputs(beam.PTransform):
    """Files of inputs -> ListedImage, spread over the workers: uris are the cheapest thing to shuffle."""

    uris: list[str]

    def expand(self, root: Any) -> beam.PCollection[ListedImage]:
        """One output."""
        return (
            root
            | "Files" >> beam.Create(self.uris)
            | "ReadInputs" >> beam.FlatMap(read_inputs)
            | "Spread" >> beam.Reshuffle()
        )
