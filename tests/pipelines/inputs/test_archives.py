"""Images inside of archives: each is read by itself, whatever the archive, and no file is made by its name."""

import gzip
import io
import os
import struct
import tarfile
import uuid
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.inputs import list_inputs, members, read_manifest
from pipelines.inputs.archives import kind_of, split_member
from pipelines.inputs.kept import put_in_place
from pipelines.inputs.members import read_input
from q1net_core import storage
from q1net_core.errors import ImageError
from q1net_core.records import ListedImage, Status

LIMIT = 1 << 20
# Names, some of them tricks, with contents; only the last is no input.
FILES = {
    "a.jpg": b"first" * 1000,
    "deep/b.PNG": os.urandom(3000),
    "../../escape.jpg": b"up",
    "/etc/absolute.jpg": b"root",
    "日本 #1.webp": b"name",
    "empty.jpg": b"",
    "inner.zip": b"PK\x03\x04 another archive",
    "a.json": b"{}",
}
INPUTS = [name for name in FILES if name != "a.json"]


def make_tar(**options: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", **options) as tar:
        for name, content in FILES.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo("link.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    return buffer.getvalue()


def make_zip(compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as zipped:
        for name, content in FILES.items():
            zipped.writestr(name, content)
        zipped.mkdir("folder.jpg")
    return buffer.getvalue()


def streamed_zip() -> bytes:
    """As programs write it that cannot go back: sizes stand after the data."""

    class Stream(io.RawIOBase):
        def __init__(self) -> None:
            self.content = bytearray()

        def writable(self) -> bool:
            return True

        def write(self, data: bytes) -> int:  # type: ignore[override]
            self.content += data
            return len(data)

    stream = Stream()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in FILES.items():
            zipped.writestr(name, content)
    return bytes(stream.content)


ARCHIVES: dict[str, Callable[[], bytes]] = {
    "gnu.tar": lambda: make_tar(format=tarfile.GNU_FORMAT),  # type: ignore[arg-type]
    "pax.TAR": lambda: make_tar(format=tarfile.PAX_FORMAT),  # type: ignore[arg-type]
    "a.tar.gz": lambda: gzip.compress(make_tar()),
    "a.tgz": lambda: gzip.compress(make_tar()),
    "deflated.zip": make_zip,
    "stored.zip": lambda: make_zip(zipfile.ZIP_STORED),
    "streamed.zip": streamed_zip,
}


def parquet_of(images: list[bytes | None], struct_of: bool = False) -> bytes:
    """Images as Hugging Face keeps them, or as bytes alone; two a row group."""
    column: object = [image and {"bytes": image, "path": "x.jpg"} for image in images] if struct_of else images
    buffer = io.BytesIO()
    pq.write_table(pa.table({"label": list(range(len(images))), "image": column}), buffer, row_group_size=2)
    return buffer.getvalue()


def status_of(uri: str, limit: int = LIMIT) -> tuple[Status, str]:
    with pytest.raises(ImageError) as caught:
        read_input(ListedImage(uri), limit)
    return caught.value.status, caught.value.message


@pytest.mark.parametrize("name", ARCHIVES)
def test_members_are_listed_and_read_by_themselves(name: str, tmp_path: Path) -> None:
    path = tmp_path / "archives" / name
    path.parent.mkdir()
    path.write_bytes(ARCHIVES[name]())
    for pattern in (str(path), str(path.parent), f"{path.parent}/*"):
        listed = list(list_inputs([pattern]))
        assert [image.uri for image in listed] == [f"{path}#{member}" for member in INPUTS]
    assert [image.size_bytes for image in listed] == [len(FILES[member]) for member in INPUTS]
    assert all(image.modified for image in listed)
    for image, member in zip(listed, INPUTS, strict=True):
        assert read_input(image, LIMIT) == read_input(ListedImage(image.uri), LIMIT) == FILES[member]
    # In any order, and nothing was made by a member's name.
    assert read_input(listed[0], LIMIT) == FILES["a.jpg"]
    assert sorted(tmp_path.rglob("*")) == [path.parent, path]


@pytest.mark.parametrize("struct_of", [False, True])
def test_rows_of_parquet_files_are_images(struct_of: bool, tmp_path: Path) -> None:
    images: list[bytes | None] = [b"one", b"two", None, b"four", b"five"]
    path = tmp_path / "images.parquet"
    path.write_bytes(parquet_of(images, struct_of))
    listed = list(list_inputs([str(path)]))
    assert [image.uri for image in listed] == [f"{path}#{row}" for row in range(5)]
    assert [read_input(image, 100) for image in reversed(listed)] == [b"five", b"four", b"", b"two", b"one"]
    assert read_input(ListedImage(f"{path}#3"), 100) == b"four"
    assert status_of(f"{path}#5")[0] is Status.MISSING
    assert status_of(f"{path}#x")[0] is Status.MISSING
    assert status_of(f"{path}#3", 3)[0] is Status.TOO_LARGE
    pq.write_table(pa.table({"a": [1]}), tmp_path / "numbers.parquet")
    (table,) = list_inputs([f"{tmp_path}/numbers.parquet"])
    assert "no column holds bytes" in status_of(table.uri)[1]
    # A folder may hold tables that are about images, such as runs.
    (tmp_path / "x.jpg").touch()
    assert [image.uri for image in list_inputs([str(tmp_path)])] == [f"{tmp_path}/x.jpg"]


@pytest.mark.parametrize("server", ["s3_server", "gcs_server"])
def test_archives_of_stores_are_read_by_ranges(server: str, request: pytest.FixtureRequest) -> None:
    base = f"{request.getfixturevalue(server)}/{uuid.uuid4().hex}"
    storage.write_bytes(f"{base}/images.parquet", parquet_of([b"one", b"two"]))
    for name in ("gnu.tar", "a.tar.gz", "deflated.zip"):
        storage.write_bytes(f"{base}/{name}", ARCHIVES[name]())
    listed = list(list_inputs([base, f"{base}/*.parquet"]))
    assert len(listed) == 3 * len(INPUTS) + 2
    for image in listed:
        archive, member = split_member(image.uri) or ("", "")
        expected = {"0": b"one", "1": b"two"}[member] if archive.endswith("parquet") else FILES[member]
        assert read_input(image, LIMIT) == expected


def test_a_manifest_may_name_members_and_archives(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(make_tar())
    manifest = tmp_path / "images.csv"
    manifest.write_text(f"uri,site\n{tmp_path}/a.tar#deep/b.PNG,x\n{tmp_path}/a.tar,y\n")
    listed = list(read_manifest(str(manifest), "site"))
    assert [(image.uri.partition("#")[2], image.group) for image in listed] == [
        ("deep/b.PNG", "x"),
        *((name, "y") for name in INPUTS if name != "deep/b.PNG"),
    ]
    assert read_input(listed[0], LIMIT) == FILES["deep/b.PNG"]


def test_broken_archives_are_rows_of_their_own(tmp_path: Path) -> None:
    whole = make_tar(format=tarfile.GNU_FORMAT)  # type: ignore[arg-type]
    broken = {
        "cut.tar": whole[:9000],
        "header.tar": whole[:9216] + b"x" * 512 + whole[9728:],
        "cut.tar.gz": gzip.compress(os.urandom(20) + whole)[:-2000],
        "cut.zip": make_zip()[:-30],
        "page.zip": b"<html>",
        "page.tar": b"<html>" * 200,
        "empty.tar.gz": b"",
        "page.parquet": b"<html>",
    }
    for name, content in broken.items():
        path = tmp_path / name
        path.write_bytes(content)
        listed = list(list_inputs([str(path)]))
        assert listed[-1].uri == str(path), name
        status, message = status_of(str(path))
        assert status is Status.CORRUPT, (name, message)
        assert name in message
    # What lies before the broken place is not lost.
    cut = list(list_inputs([f"{tmp_path}/cut.tar"]))
    assert [image.uri.partition("#")[2] for image in cut] == ["a.jpg", "deep/b.PNG", ""]
    assert read_input(cut[0], LIMIT) == FILES["a.jpg"]
    with pytest.raises(ImageError, match="144 bytes early") as caught:
        read_input(cut[1], LIMIT)
    assert caught.value.status is Status.CORRUPT


def test_an_archive_whose_store_failed_while_it_was_listed_says_to_list_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(make_zip())
    with monkeypatch.context() as failing:
        failing.setattr(zipfile.ZipFile, "infolist", lambda _: 1 / 0)
        (listed,) = list_inputs([str(path)])
    status, message = status_of(listed.uri)
    assert status is Status.UNSUPPORTED
    assert "was not listed to its end, though it can be now; list it again" in message


def test_what_is_not_there_is_missing(tmp_path: Path) -> None:
    assert status_of(f"{tmp_path}/gone.tar#a.jpg")[0] is Status.MISSING
    (tmp_path / "a.zip").write_bytes(make_zip())
    status, message = status_of(f"{tmp_path}/a.zip#gone.jpg")
    assert (status, "has no member gone.jpg" in message) == (Status.MISSING, True)
    (listed, *_) = list_inputs([f"{tmp_path}/a.zip"])
    (tmp_path / "a.zip").unlink()
    with pytest.raises(ImageError) as caught:
        read_input(listed, LIMIT)
    assert caught.value.status is Status.MISSING


def test_large_members_are_refused_before_they_are_unpacked(tmp_path: Path) -> None:
    content = bytes(50_000_000)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("bomb.png", content)
    (listed,) = list_inputs([f"{tmp_path}/bomb.zip"])
    assert status_of(listed.uri)[0] is Status.TOO_LARGE
    # One that lies about its size in the directory.
    packed = (tmp_path / "bomb.zip").read_bytes().replace(struct.pack("<L", len(content)), struct.pack("<L", 10))
    (tmp_path / "liar.zip").write_bytes(packed)
    (liar,) = list_inputs([f"{tmp_path}/liar.zip"])
    assert liar.size_bytes == 10
    assert status_of(liar.uri)[0] is Status.TOO_LARGE


def test_other_ways_to_pack_are_unsupported(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_BZIP2) as zipped:
        zipped.writestr("a.jpg", b"x" * 100)
    assert status_of(f"{tmp_path}/a.zip#a.jpg") == (
        Status.UNSUPPORTED,
        "member is packed by method 12; expected stored or deflated",
    )
    encrypted = bytearray(make_zip())
    encrypted[6] |= 1
    (tmp_path / "b.zip").write_bytes(encrypted)
    assert status_of(f"{tmp_path}/b.zip#a.jpg")[0] is Status.UNSUPPORTED


def test_few_unpacked_archives_are_kept(tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / f"{number}.tgz").write_bytes(gzip.compress(make_tar()))
        assert read_input(ListedImage(f"{tmp_path}/{number}.tgz#a.jpg"), LIMIT) == FILES["a.jpg"]
    assert list(members.unpacked) == [f"{tmp_path}/{number}.tgz" for number in (2, 3)]


def test_members_that_are_unpacked_together_stay_together(tmp_path: Path) -> None:
    for name in ("a.tgz", "a.zip"):
        (tmp_path / name).write_bytes(ARCHIVES["a.tgz"]() if name == "a.tgz" else make_zip())
    places = {
        name: {put_in_place(image)[0] for image in list_inputs([f"{tmp_path}/{name}"])} for name in ("a.tgz", "a.zip")
    }
    assert places["a.tgz"] == {f"{tmp_path}/a.tgz".encode()}
    assert len(places["a.zip"]) == len(INPUTS)


def test_what_exists_literally_is_no_member(tmp_path: Path) -> None:
    (tmp_path / "a.zip#b.jpg").write_bytes(b"plain")
    (listed,) = list_inputs([str(tmp_path)])
    assert read_input(listed, 10) == b"plain"


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("s3://b/a.tar#x/y.jpg", ("s3://b/a.tar", "x/y.jpg")),
        ("/p/A.TAR.GZ#x#1.jpg", ("/p/A.TAR.GZ", "x#1.jpg")),
        ("/p/a.tar#b.zip#c.jpg", ("/p/a.tar", "b.zip#c.jpg")),
        ("/p/photo #1.jpg", None),
        ("/p/a.tar#", None),
        ("/p/a.tar", None),
    ],
)
def test_members_are_told_by_their_archive(uri: str, expected: tuple[str, str] | None) -> None:
    assert split_member(uri) == expected


def test_kinds_are_told_by_name() -> None:
    assert [kind_of(name) for name in ("a.tar", "a.TGZ", "a.tar.gz", "a.Zip", "a.parquet", "a.gz", "tar")] == [
        *("tar", "tar.gz", "tar.gz", "zip", "parquet"),
        *(None, None),
    ]
