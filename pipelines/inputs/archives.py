"""Which images there are inside of tar, zip and Parquet files, and where in them; `members.py` reads them.

A member's uri is ``archive.tar#member``; for a row of a Parquet file ``table.parquet#12``, counted from 0. Names
of members are names: no file is ever made by them.
"""

import gzip
import os
import re
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from q1net_core import storage
from q1net_core.listing import IMAGE_EXTENSIONS
from q1net_core.records import ListedImage, Member

# A file inside of one of these is ``archive#member``.
MEMBER = re.compile(r"(.+?\.(?:tar|tar\.gz|tgz|zip|parquet))#(.+)", re.IGNORECASE | re.DOTALL)
# Kinds of archives by how their names end.
ENDINGS = {".tar": "tar", ".tar.gz": "tar.gz", ".tgz": "tar.gz", ".zip": "zip", ".parquet": "parquet"}


def kind_of(uri: str) -> str | None:
    """Which kind of archive a name is: by its ending, or None."""
    name = uri[-8:].lower()
    return next((kind for ending, kind in ENDINGS.items() if name.endswith(ending)), None)


def split_member(uri: str) -> tuple[str, str] | None:
    """``a.tar#b.jpg`` -> its archive and its name there; None for a file by itself."""
    found = MEMBER.fullmatch(uri) if "#" in uri else None
    # What exists literally is meant literally, on this machine, where looking costs nothing.
    return None if found is None or ("://" not in uri and os.path.lexists(uri)) else (found[1], found[2])


def is_listed(name: str) -> bool:
    """Whether a member is an input: images, and archives inside of archives, which are not opened but named."""
    return os.path.splitext(name)[1].lower() in IMAGE_EXTENSIONS or kind_of(name) is not None  # noqa: PTH122


def list_members(archive: ListedImage) -> Iterator[ListedImage]:
    """The images of an archive; the archive itself where it is broken or cannot be read, so that this becomes a row."""
    try:
        yield from LISTERS[kind_of(archive.uri) or ""](archive)
    except Exception:
        # Clients of stores share no base class. Whoever reads this input says what failed: members.explain.
        yield archive


def member_of(archive: ListedImage, name: str, size: int | None, member: Member) -> ListedImage:
    """An input inside of an archive, as new as the archive is."""
    return ListedImage(f"{archive.uri}#{name}", size, archive.version, archive.modified, member=member)


def list_tar(archive: ListedImage) -> Iterator[ListedImage]:
    """Regular files of a tar file; raises ReadError at the first place that is broken."""
    with storage.open_file(archive.uri) as file:
        yield from walk_tar(archive, file, "stored")


def list_tar_gz(archive: ListedImage) -> Iterator[ListedImage]:
    """The same of a compressed one, which is unpacked in passing."""
    with storage.open_file(archive.uri) as file, gzip.open(file) as unpacked:
        yield from walk_tar(archive, unpacked, "gzip")


def walk_tar(archive: ListedImage, file: BinaryIO | gzip.GzipFile, packing: str) -> Iterator[ListedImage]:
    """The members of a tar file that are inputs, one header at a time."""
    with tarfile.open(fileobj=file, mode="r:") as tar:
        for info in tar:
            # Else tarfile keeps them all.
            tar.members.clear()  # type: ignore[attr-defined]
            name = os.fsdecode(info.name.encode("utf-8", "surrogateescape"))
            if info.isreg() and not info.issparse() and is_listed(name):
                yield member_of(archive, name, info.size, Member(packing, info.offset_data, info.size))
        end = tar.offset
    # At a header that makes no sense tarfile ends without a word.
    file.seek(end)
    if file.read(tarfile.BLOCKSIZE).strip(b"\0"):
        raise tarfile.ReadError(f"no header at byte {end}")


def list_zip(archive: ListedImage) -> Iterator[ListedImage]:
    """Files of a zip file, each with the bytes up to the next."""
    with storage.open_file(archive.uri) as file, zipfile.ZipFile(file) as zipped:
        infos = sorted(zipped.infolist(), key=lambda info: info.header_offset)
        ends = [info.header_offset for info in infos[1:]] + [zipped.start_dir]
        for info, end in zip(infos, ends, strict=True):
            if not info.is_dir() and is_listed(info.filename):
                member = Member("zip", info.header_offset, end - info.header_offset)
                yield member_of(archive, info.filename, info.file_size, member)


def list_parquet(archive: ListedImage) -> Iterator[ListedImage]:
    """Rows of a Parquet file, if it has a column of images."""
    with storage.open_file(archive.uri) as file:
        table = pq.ParquetFile(file)
        column_of_images(table)
        for row in range(table.metadata.num_rows):
            yield member_of(archive, str(row), None, Member("parquet", row))


def column_of_images(table: pq.ParquetFile) -> str:
    """The dotted name of the first column of bytes, alone or as ``bytes`` in a struct; ValueError if there is none."""
    for field in table.schema_arrow:
        if pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type):
            return str(field.name)
        if pa.types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0:
            return f"{field.name}.bytes"
    raise ValueError(f"no column holds bytes; there are {', '.join(table.schema_arrow.names)}")


LISTERS: dict[str, Callable[[ListedImage], Iterator[ListedImage]]] = {
    "tar": list_tar,
    "tar.gz": list_tar_gz,
    "zip": list_zip,
    "parquet": list_parquet,
}
