"""The bytes of an input: a file, or an image inside of an archive, which is read by itself.

Where an image lies in its archive is known from listing it: `archives.py`.
"""

import gzip
import shutil
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from contextlib import ExitStack
from functools import lru_cache
from itertools import pairwise
from threading import Lock
from typing import BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.inputs.archives import LISTERS, column_of_images, kind_of, split_member
from q1net_core import storage
from q1net_core.errors import ConfigError, ImageError
from q1net_core.records import ListedImage, Member, Status

LOCAL_HEADER = struct.Struct("<4s5H3I2H")
STORED, DEFLATED, ENCRYPTED = 0, 8, 1
# What a member's local header takes at most, beside the data.
HEADER_ROOM = 1 << 18
# Unpacking stops where the disk would be full.
FREE_DISK = 1 << 30
BROKEN = (
    struct.error,
    tarfile.TarError,
    zipfile.BadZipFile,
    EOFError,
    zlib.error,
    gzip.BadGzipFile,
    pa.ArrowException,
    ValueError,
)

# Compressed tar files that are unpacked on this machine, the oldest first.
KEPT = 2
unpacked: dict[str, BinaryIO] = {}
unpacking = Lock()


def read_input(image: ListedImage, max_bytes: int) -> bytes:
    """The bytes of an input, a file or a member of an archive.

    Raises:
        ImageError: it cannot be read, or has more than ``max_bytes``.
    """
    place = split_member(image.uri)
    if place is None:
        if kind_of(image.uri) is not None:
            raise explain(image)
        return storage.read_bytes(image.uri, max_bytes)
    archive, name = place
    try:
        found = image if image.member else find_member(archive, name)
        member = found.member
        assert member is not None
        if (found.size_bytes or 0) > max_bytes:
            raise ImageError(Status.TOO_LARGE, f"{name} has {found.size_bytes} bytes; expected at most {max_bytes}")
        data = READERS[member.packing](archive, member, found.size_bytes, max_bytes)
    except ImageError:
        raise
    except Exception as error:
        # Whatever a client of a store or a reader of archives raises, the image becomes a row that says it.
        raise failure(archive, error) from error
    if len(data) > max_bytes:
        raise ImageError(Status.TOO_LARGE, f"{name} has more bytes than expected, which is at most {max_bytes}")
    return data


def explain(archive: ListedImage) -> ImageError:
    """Why an archive that was listed as itself could not be opened, or not to its end."""
    try:
        for _ in LISTERS[kind_of(archive.uri) or ""](archive):
            pass
    except Exception as error:
        # As list_members met it.
        return failure(archive.uri, error)
    return ImageError(
        Status.UNSUPPORTED,
        "an archive that was not listed to its end, though it can be now; list it again, or name archive#member",
    )


def failure(archive: str, error: Exception) -> ImageError:
    """What an error says of the archive in which it came up."""
    name = storage.printable_uri(archive)
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return ImageError(Status.MISSING, f"nothing at {name} any more, expected an archive")
    if isinstance(error, BROKEN) and not isinstance(error, ConfigError):
        return ImageError(Status.CORRUPT, f"archive {name} is broken: {storage.reason_of(error)}")
    return ImageError(Status.UNREADABLE, f"cannot read {name}: {storage.reason_of(error)}; expected a readable archive")


@lru_cache(maxsize=4)
def index_of(archive: str) -> dict[str, ListedImage]:
    """The members of an archive by name."""
    found = LISTERS[kind_of(archive) or ""](ListedImage(archive))
    return {image.uri.removeprefix(f"{archive}#"): image for image in found}


def find_member(archive: str, name: str) -> ListedImage:
    """A member by its name; raises ImageError if the archive has none of this name."""
    if kind_of(archive) == "parquet" and name.isdecimal():
        return ListedImage(f"{archive}#{name}", member=Member("parquet", int(name)))
    found = index_of(archive).get(name)
    if found is None:
        raise ImageError(
            Status.MISSING, f"{storage.printable_uri(archive)} has no member {storage.printable_uri(name)}"
        )
    return found


def read_stored(archive: str, member: Member, size: int | None, max_bytes: int) -> bytes:
    """Bytes that an archive holds as they are."""
    data = storage.read_range(archive, member.offset, member.offset + member.length)
    if len(data) < member.length:
        raise EOFError(f"archive ends {member.length - len(data)} bytes early")
    return data


def read_zipped(archive: str, member: Member, size: int | None, max_bytes: int) -> bytes:
    """A member of a zip file, stored or deflated."""
    if member.length > max_bytes + HEADER_ROOM:
        raise ImageError(Status.TOO_LARGE, f"member takes {member.length} bytes; expected at most {max_bytes}")
    packed = storage.read_range(archive, member.offset, member.offset + member.length)
    if len(packed) < LOCAL_HEADER.size or packed[:4] != b"PK\3\4":
        raise EOFError("no local header where the directory says")
    _, _, flags, method, _, _, _, _, _, name, extra = LOCAL_HEADER.unpack_from(packed)
    data = memoryview(packed)[LOCAL_HEADER.size + name + extra :]
    if flags & ENCRYPTED:
        raise ImageError(Status.UNSUPPORTED, "member is encrypted; expected one without a password")
    if method == STORED:
        found = bytes(data[:size])
    elif method == DEFLATED:
        found = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, max_bytes + 1)
    else:
        raise ImageError(Status.UNSUPPORTED, f"member is packed by method {method}; expected stored or deflated")
    if size is not None and len(found) < min(size, max_bytes + 1):
        raise EOFError(f"member ends {size - len(found)} bytes early")
    return found


def read_unpacked(archive: str, member: Member, size: int | None, max_bytes: int) -> bytes:
    """A member of a compressed tar file."""
    with unpacking:
        file = unpack(archive)
        file.seek(member.offset)
        return file.read(member.length)


def unpack(archive: str) -> BinaryIO:
    """The unpacked archive, a nameless file of this machine; the last few are kept."""
    if archive not in unpacked:
        while len(unpacked) >= KEPT:
            unpacked.pop(next(iter(unpacked))).close()
        unpacked[archive] = write_unpacked(archive)
    return unpacked[archive]


def write_unpacked(archive: str) -> BinaryIO:
    """Unpack a whole archive; raises OSError where that would fill the disk."""
    with ExitStack() as closing:
        target = closing.enter_context(tempfile.TemporaryFile())
        with storage.open_file(archive) as file, gzip.open(file) as stream:
            while piece := stream.read(1 << 24):
                if shutil.disk_usage(tempfile.gettempdir()).free < FREE_DISK + len(piece):
                    raise OSError("no room on this machine's disk to unpack it; set TMPDIR")
                target.write(piece)
        # Whole: it stays open.
        closing.pop_all()
    return cast(BinaryIO, target)


def read_row(archive: str, member: Member, size: int | None, max_bytes: int) -> bytes:
    """The image of a row of a Parquet file; null is an empty image."""
    with unpacking:
        start, values = read_row_group(archive, row_group_of(archive, member.offset))
    return values[member.offset - start].as_py() or b""


@lru_cache(maxsize=4)
def row_groups(archive: str) -> list[int]:
    """Where the row groups of a Parquet file begin, and the end of the last."""
    with storage.open_file(archive) as file:
        metadata = pq.ParquetFile(file).metadata
        starts = [0]
        for number in range(metadata.num_row_groups):
            starts.append(starts[-1] + metadata.row_group(number).num_rows)
    return starts


def row_group_of(archive: str, row: int) -> int:
    """The number of the row group that a row lies in."""
    for number, (start, end) in enumerate(pairwise(row_groups(archive))):
        if start <= row < end:
            return number
    raise ImageError(Status.MISSING, f"{storage.printable_uri(archive)} has no row {row}")


@lru_cache(maxsize=2)
def read_row_group(archive: str, number: int) -> tuple[int, pa.ChunkedArray]:
    """The images of a row group, and the number of its first row."""
    with storage.open_file(archive) as file:
        table = pq.ParquetFile(file)
        column = column_of_images(table)
        values = table.read_row_group(number, columns=[column]).column(0)
    if "." in column:
        values = pa.chunked_array([chunk.field("bytes") for chunk in values.chunks])
    return row_groups(archive)[number], values


READERS: dict[str, Callable[[str, Member, int | None, int], bytes]] = {
    "stored": read_stored,
    "zip": read_zipped,
    "gzip": read_unpacked,
    "parquet": read_row,
}
