"""The inputs of a run, kept in its folder while they are listed, read back by the workers."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC
from hashlib import sha256
from io import BytesIO
from itertools import chain, groupby, islice
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.inputs.archives import split_member
from q1net_core import storage
from q1net_core.records import ListedImage, Member

INPUTS_PER_FILE = 10_000
MAX_BYTES = 1 << 34
TIMESTAMP = pa.timestamp("us", tz="UTC")
# Names of local files need not be text, so uris are kept as bytes here.
INPUTS_SCHEMA = pa.schema(
    [
        ("uri", pa.binary()),
        ("size_bytes", pa.int64()),
        ("version", pa.string()),
        ("modified", TIMESTAMP),
        ("group", pa.string()),
        ("carried", pa.map_(pa.string(), pa.string())),
        ("packing", pa.string()),
        ("offset", pa.int64()),
        ("length", pa.int64()),
    ]
)
# Members of such archives are had by unpacking, or by reading many at once.
TOGETHER = ("gzip", "parquet")


def to_cells(image: ListedImage) -> dict[str, Any]:
    """An input as a row of INPUTS_SCHEMA."""
    member = image.member
    return {
        "uri": image.uri.encode(errors="surrogateescape"),
        "size_bytes": image.size_bytes,
        "version": image.version,
        "modified": image.modified,
        "group": image.group,
        "carried": image.carried,
        "packing": member and member.packing,
        "offset": member and member.offset,
        "length": member and member.length,
    }


def from_cells(row: dict[str, Any]) -> ListedImage:
    """A row of INPUTS_SCHEMA as an input."""
    modified = row["modified"]
    return ListedImage(
        row["uri"].decode(errors="surrogateescape"),
        row["size_bytes"],
        row["version"],
        modified.astimezone(UTC) if modified else None,
        row["group"],
        tuple(row["carried"] or ()),
        Member(row["packing"], row["offset"], row["length"]) if row["packing"] else None,
    )


def write_inputs(images: Iterable[ListedImage], run_uri: str) -> tuple[list[str], int]:
    """Keep the inputs in the run's folder, as they come; returns the files' uris and how many inputs."""
    uris: list[str] = []
    count, rest = 0, iter(images)
    while some := list(islice(rest, INPUTS_PER_FILE)):
        uris.append(write_inputs_file(some, run_uri, f"{len(uris):05d}"))
        count += len(some)
    return uris, count


def write_inputs_file(images: Sequence[ListedImage], run_uri: str, name: str | None = None) -> str:
    """Keep some inputs in one file, named by its content unless it has a name; returns its uri."""
    buffer = BytesIO()
    pq.write_table(pa.Table.from_pylist(list(map(to_cells, images)), INPUTS_SCHEMA), buffer, compression="zstd")
    content = buffer.getvalue()
    uri = storage.join(run_uri, "_inputs", f"inputs-{name or sha256(content).hexdigest()}.parquet")
    storage.write_bytes(uri, content)
    return uri


def inputs_in(table: pa.Table) -> Iterator[ListedImage]:
    """The inputs of a table with the columns of INPUTS_SCHEMA."""
    return map(from_cells, table.to_pylist())


def read_inputs(uri: str) -> Iterator[ListedImage]:
    """The inputs of one file that write_inputs wrote."""
    return chain.from_iterable(map(inputs_in, read_tables(uri)))


def archive_of(image: ListedImage) -> str:
    """The archive that must be had as a whole for this image; an empty string for any other image."""
    place = split_member(image.uri) if image.member and image.member.packing in TOGETHER else None
    return place[0] if place else ""


def take_turns(uris: Sequence[str], size: int, next_turn: Callable[[], int]) -> Iterator[list[ListedImage]]:
    """The inputs of these files whose turn it is, in batches of at most ``size``.

    Every batch is a turn; all batches of an archive that is had as a whole are one, so that one process unpacks it.
    Whoever takes turns from the same ``next_turn`` shares the inputs: each goes to exactly one.
    """
    mine, turn = next_turn(), -1
    for archive, images in groupby(chain.from_iterable(map(read_inputs, uris)), archive_of):
        turn += bool(archive)
        while batch := list(islice(images, size)):
            turn += not archive
            if turn > mine:
                mine = next_turn()
            if turn == mine:
                yield batch


def read_tables(uri: str, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """The same inputs as tables of some thousand rows of INPUTS_SCHEMA, or of the ``columns`` named."""
    file = pq.ParquetFile(BytesIO(storage.read_bytes(uri, MAX_BYTES)))
    for batch in file.iter_batches(batch_size=5_000, columns=columns):
        yield pa.Table.from_batches([batch])


def uris_in(table: pa.Table) -> list[str]:
    """The uris of such a table, as they are printed."""
    return [storage.printable_uri(name.decode(errors="surrogateescape")) for name in table["uri"].to_pylist()]


def read_uris(uri: str) -> Iterator[str]:
    """The uris of the same inputs, as they are printed."""
    return chain.from_iterable(map(uris_in, read_tables(uri, ["uri"])))


def put_in_place(image: ListedImage) -> tuple[bytes, ListedImage]:
    """An input with what must stay in one place: the archive of a member that is had by unpacking it, else its uri."""
    return (archive_of(image) or image.uri).encode(errors="surrogateescape"), image


def in_order(placed: tuple[bytes, Iterable[ListedImage]]) -> list[ListedImage]:
    """The inputs of one place; members of an archive as they lie in it."""
    return sorted(placed[1], key=lambda image: image.member.offset if image.member else -1)


@dataclass
class SpreadInputs(beam.PTransform):
    """ListedImage -> the same, spread over the workers, for a Reshuffle.

    Members of an archive that is had as a whole stay in one place, so that it is unpacked once.
    """

    def expand(self, images: beam.PCollection[ListedImage]) -> beam.PCollection[ListedImage]:
        """One output."""
        return (
            images
            | "ByPlace" >> beam.Map(put_in_place)
            | "Group" >> beam.GroupByKey()
            | "Order" >> beam.FlatMap(in_order)
        )


@dataclass
class ReadInputs(beam.PTransform):
    """Uris of files of inputs -> ListedImage, spread over the workers: uris are the cheapest thing to shuffle."""

    def expand(self, uris: beam.PCollection[str]) -> beam.PCollection[ListedImage]:
        """One output."""
        return uris | "ReadInputs" >> beam.FlatMap(read_inputs) | "Spread" >> SpreadInputs()
