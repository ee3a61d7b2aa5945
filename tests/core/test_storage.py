import os
import subprocess
import sys
import tempfile
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from q1net_core import listing, transient
from q1net_core.errors import ConfigError, ImageError
from q1net_core.listing import IMAGE_EXTENSIONS, list_images, split_folder
from q1net_core.records import Status
from q1net_core.storage import (
    ensure_writable,
    exists,
    join,
    list_names,
    printable_uri,
    read_bytes,
    write_bytes,
)

LATIN_1_NAME = os.fsdecode(b"caf\xe9.jpg")


def uris(pattern: str) -> list[str]:
    return [image.uri for image in list_images(pattern)]


def status_of_reading(uri: str, max_bytes: int = 100) -> tuple[Status, str]:
    with pytest.raises(ImageError) as caught:
        read_bytes(uri, max_bytes)
    return caught.value.status, caught.value.message


@pytest.fixture(params=["memory", "s3", "gs"])
def remote(request: pytest.FixtureRequest) -> str:
    """An empty folder of a store that is not local."""
    base = {"memory": lambda: "memory://bucket"}.get(request.param)
    server = {"s3": "s3_server", "gs": "gcs_server"}.get(request.param)
    root = base() if base else request.getfixturevalue(str(server))
    return f"{root}/{uuid.uuid4().hex}"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    (tmp_path / "sub" / "deep").mkdir(parents=True)
    for name in ("b.JPG", "a.png", "notes.txt", "sub/c.webp", "sub/deep/d.j2k", "sub/deep/e.jpg.part"):
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


def test_folder_lists_images_at_any_depth_and_nothing_else(photos: Path) -> None:
    expected = [str(photos / name) for name in ("a.png", "b.JPG", "sub/c.webp", "sub/deep/d.j2k")]
    assert uris(str(photos)) == expected
    assert uris(f"{photos}/") == expected
    assert uris(f"file://{photos}") == expected


def test_every_known_extension_counts_in_any_case(tmp_path: Path) -> None:
    names = [f"x{extension.upper()}" for extension in IMAGE_EXTENSIONS]
    for name in names:
        (tmp_path / name).touch()
    assert uris(str(tmp_path)) == sorted(str(tmp_path / name) for name in names)
    assert len(names) == 20


def test_globs_and_explicit_files_take_any_name_but_no_folder(photos: Path) -> None:
    (photos / "folder.txt").mkdir()
    assert uris(f"{photos}/*.txt") == [str(photos / "notes.txt")]
    assert uris(f"{photos}/notes.txt") == [str(photos / "notes.txt")]
    assert uris(f"{photos}/**/d.*") == [str(photos / "sub/deep/d.j2k")]
    assert uris(f"{photos}/?.png") == [str(photos / "a.png")]
    assert uris(f"{photos}/[ab].*") == [str(photos / "a.png"), str(photos / "b.JPG")]


def test_relative_patterns_give_absolute_paths(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos)
    assert uris("a.png") == uris("./*.png") == [str(photos / "a.png")]


def test_literal_names_win_over_glob_meaning(tmp_path: Path) -> None:
    (tmp_path / "[1].jpg").touch()
    (tmp_path / "1.jpg").touch()
    (tmp_path / "trip [2020]").mkdir()
    (tmp_path / "trip [2020]" / "x.jpg").touch()
    assert uris(f"{tmp_path}/[1].jpg") == [str(tmp_path / "[1].jpg")]
    assert uris(f"{tmp_path}/[12].jpg") == [str(tmp_path / "1.jpg")]
    assert uris(f"{tmp_path}/trip [2020]") == [str(tmp_path / "trip [2020]" / "x.jpg")]


def test_double_colons_and_spaces_are_plain_characters(tmp_path: Path) -> None:
    path = tmp_path / "a::b #1 100%.jpg"
    write_bytes(str(path), b"x")
    assert uris(str(path)) == uris(str(tmp_path)) == [str(path)]
    assert read_bytes(str(path), 10) == b"x"


@pytest.mark.parametrize("server", ["s3_server", "gcs_server"])
def test_double_colons_are_plain_characters_in_stores_too(server: str, request: pytest.FixtureRequest) -> None:
    folder = f"{request.getfixturevalue(server)}/{uuid.uuid4().hex}"
    uri = f"{folder}/sub::folder/a::b.jpg"
    write_bytes(uri, b"x")
    assert uris(folder) == uris(uri) == uris(f"{folder}/sub::folder/*.jpg") == [uri]
    assert read_bytes(uri, 10) == b"x"
    assert exists(uri)


def test_a_local_name_may_start_like_a_data_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_bytes("data:2020/a.jpg", b"x")
    assert uris("data:2020") == [str(tmp_path / "data:2020" / "a.jpg")]


def test_nothing_matches(tmp_path: Path) -> None:
    for pattern in ("gone.jpg", "gone", "gone/*.jpg", "*.jpg", ""):
        assert uris(join(str(tmp_path), pattern)) == []


def test_local_size_and_time(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"12345")
    os.utime(path, (1_600_000_000.25, 1_600_000_000.25))
    for pattern in (path, tmp_path, tmp_path / "*.jpg"):
        (image,) = list_images(str(pattern))
        assert (image.size_bytes, image.version) == (5, None)
        assert image.modified == datetime(2020, 9, 13, 12, 26, 40, 250_000, tzinfo=UTC)


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    (tmp_path / LATIN_1_NAME).write_bytes(b"x")
    uri = f"{tmp_path}/{LATIN_1_NAME}"
    assert uris(str(tmp_path)) == uris(f"{tmp_path}/*.jpg") == uris(uri) == [uri]
    assert read_bytes(uri, 10) == b"x"
    (tmp_path / LATIN_1_NAME).unlink()
    _, message = status_of_reading(uri)
    assert r"caf\xe9.jpg" in message
    assert message.encode("utf-8")


def test_printable_uri() -> None:
    assert printable_uri("gs://b/grün/日本.jpg") == "gs://b/grün/日本.jpg"
    assert printable_uri(LATIN_1_NAME) == r"caf\xe9.jpg"
    assert printable_uri("\ud800.jpg") == r"\ud800.jpg"


def test_links_are_followed_to_files_and_dead_ones_are_inputs(tmp_path: Path) -> None:
    folder = tmp_path / "links"
    folder.mkdir()
    (tmp_path / "real.jpg").write_bytes(b"12345")
    (folder / "good.jpg").symlink_to(tmp_path / "real.jpg")
    (folder / "dead.jpg").symlink_to(tmp_path / "gone.jpg")
    (folder / "loop.jpg").symlink_to(folder / "loop.jpg")
    (folder / "up.jpg").symlink_to(tmp_path)
    dead, good, loop = list_images(str(folder))
    assert (good.uri, good.size_bytes) == (str(folder / "good.jpg"), 5)
    assert read_bytes(good.uri, 5) == b"12345"
    assert status_of_reading(dead.uri)[0] is Status.MISSING
    status, message = status_of_reading(loop.uri)
    assert status is Status.UNREADABLE
    assert "symbolic links" in message


def test_listing_is_fresh(remote: str, tmp_path: Path) -> None:
    for folder in (remote, str(tmp_path)):
        write_bytes(join(folder, "a.jpg"), b"1")
        assert uris(folder) == [join(folder, "a.jpg")]
        write_bytes(join(folder, "sub", "b.jpg"), b"2")
        assert uris(folder) == [join(folder, "a.jpg"), join(folder, "sub", "b.jpg")]


def test_local_reading_failures(tmp_path: Path) -> None:
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe.jpg")
    assert status_of_reading(f"{tmp_path}/gone.jpg")[0] is Status.MISSING
    assert status_of_reading(f"{tmp_path}/file/x.jpg")[0] is Status.MISSING
    status, message = status_of_reading(f"{tmp_path}/folder.jpg")
    assert (status, "a folder" in message) == (Status.UNREADABLE, True)
    assert status_of_reading(f"{tmp_path}/pipe.jpg")[0] is Status.UNREADABLE
    assert status_of_reading(f"{tmp_path}/nul\0.jpg")[0] is Status.UNREADABLE
    assert status_of_reading("nosuch://x.jpg")[0] is Status.UNREADABLE


def test_limit_on_bytes(remote: str, tmp_path: Path) -> None:
    for folder in (remote, str(tmp_path)):
        uri = join(folder, "a.jpg")
        write_bytes(uri, b"12345")
        assert read_bytes(uri, 5) == b"12345"
        status, message = status_of_reading(uri, 4)
        assert (status, "at most 4" in message) == (Status.TOO_LARGE, True)


def test_a_huge_file_is_refused_without_reading_it(tmp_path: Path) -> None:
    path = tmp_path / "sparse.jpg"
    with open(path, "wb") as file:
        file.truncate(1 << 40)
    # Reading it would need a terabyte of memory.
    assert status_of_reading(str(path), 1000)[0] is Status.TOO_LARGE


AS_NOBODY = """
import os, sys
from q1net_core import listing, transient
from q1net_core.errors import ConfigError, ImageError
from q1net_core.listing import list_images
from q1net_core.storage import ensure_writable, read_bytes
folder = sys.argv[1]
list(list_images(folder + "/gone*"))
if os.geteuid() == 0:
    os.seteuid(65534)
try:
    read_bytes(folder + "/secret.jpg", 100)
except ImageError as error:
    print(error.status, "Permission" in error.message)
for pattern in (folder + "/locked", folder):
    try:
        list(list_images(pattern))
    except ConfigError as error:
        print("cannot list" in str(error), "Permission" in str(error))
try:
    ensure_writable(folder + "/locked/new/output")
except ConfigError as error:
    print("cannot write" in str(error), "Permission" in str(error))
"""


def test_permissions() -> None:
    # Not in tmp_path, whose parents only the owner may enter; imports come first, as Python itself may be private.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "locked").mkdir()
        (folder / "locked" / "x.jpg").touch()
        (folder / "secret.jpg").write_bytes(b"x")
        (folder / "secret.jpg").chmod(0)
        (folder / "locked").chmod(0)
        try:
            command = [sys.executable, "-c", AS_NOBODY, name]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        finally:
            (folder / "locked").chmod(0o755)
        assert done.stdout.splitlines() == ["unreadable True"] + ["True True"] * 3, done.stderr
        assert [path.name for path in (folder / "locked").iterdir()] == ["x.jpg"]


def test_unknown_protocol_is_a_config_error() -> None:
    for call in (uris, ensure_writable, exists):
        with pytest.raises(ConfigError, match="nosuch://bucket"):
            call("nosuch://bucket")


def test_missing_package_is_a_config_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sshfs", None)
    with pytest.raises(ConfigError, match="install the package"):
        uris("ssh://host/folder")


def test_writing_replaces_whole_files_and_makes_folders(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "a.bin"
    write_bytes(str(path), b"first")
    write_bytes(f"file://{path}", b"2nd")
    assert path.read_bytes() == b"2nd"
    assert [found.name for found in path.parent.iterdir()] == ["a.bin"]
    umask = os.umask(0)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask


def test_failed_writing_leaves_the_old_file_and_no_debris(tmp_path: Path) -> None:
    (tmp_path / "folder" / "occupied").mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        write_bytes(str(tmp_path / "folder"), b"x")
    assert [found.name for found in tmp_path.iterdir()] == ["folder"]


def test_exists(remote: str, tmp_path: Path) -> None:
    for folder in (remote, str(tmp_path)):
        uri = join(folder, "sub", "a.bin")
        assert not exists(uri)
        write_bytes(uri, b"x")
        assert exists(uri)
        assert exists(join(folder, "sub"))
    assert not exists(join(str(tmp_path), "sub/a.bin/x"))


def test_join() -> None:
    assert join("gs://b/dir/", "a", "/b.jpg") == "gs://b/dir/a/b.jpg"
    assert join("gs://b", "a") == "gs://b/a"
    assert join("memory://", "a") == "memory://a"
    assert join("/", "a") == "/a"
    assert join("", "a", "b") == "a/b"
    assert join("rel/dir", "a") == "rel/dir/a"


def test_ensure_writable_leaves_nothing(remote: str, tmp_path: Path) -> None:
    ensure_writable(str(tmp_path / "new" / "deep"))
    assert list(tmp_path.iterdir()) == []
    ensure_writable(str(tmp_path))
    assert list(tmp_path.iterdir()) == []
    ensure_writable(remote)
    fs, path = fsspec.url_to_fs(remote)
    fs.invalidate_cache()
    assert fs.find(path) == []


def test_ensure_writable_where_it_is_not(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot write to output") as caught:
        ensure_writable(str(tmp_path / "file" / "out"))
    assert str(tmp_path / "file" / "out") in str(caught.value)


def test_remote_listing(remote: str) -> None:
    for name in ("b.JPG", "a.png", "notes.txt", "sub/c.webp", "[1].jpg", "1.jpg"):
        write_bytes(join(remote, name), name.encode())
    expected = sorted(join(remote, name) for name in ("b.JPG", "a.png", "sub/c.webp", "[1].jpg", "1.jpg"))
    assert uris(remote) == uris(f"{remote}/") == expected
    assert uris(f"{remote}/*.txt") == uris(f"{remote}/notes.txt") == [join(remote, "notes.txt")]
    assert uris(f"{remote}/**/*.webp") == [join(remote, "sub/c.webp")]
    assert uris(f"{remote}/[1].jpg") == [join(remote, "[1].jpg")]
    assert uris(f"{remote}/gone.jpg") == uris(f"{remote}/gone/*") == uris(f"{remote}-gone") == []
    for image in list_images(remote):
        assert read_bytes(image.uri, 100) == image.uri.removeprefix(f"{remote}/").encode()
        assert image.size_bytes == len(image.uri.removeprefix(f"{remote}/"))


def check_split(folder: str, folders: list[str]) -> None:
    """Fail unless a folder has these folders at its first level, and with what is in them is the whole."""
    found = list(split_folder(folder))
    assert [each for each in found if isinstance(each, str)] == [join(folder, name) for name in folders]
    whole = [image for each in found for image in (list_images(each) if isinstance(each, str) else [each])]
    assert whole == list(list_images(folder)) != []
    # Neither is a glob, nor a file.
    for pattern in (f"{folder}/*", f"{folder}/b.jpg"):
        assert list(split_folder(pattern)) == list(list_images(pattern)) != []


def test_a_folder_is_split_at_its_first_level(remote: str, tmp_path: Path) -> None:
    names = ("b.jpg", "sub/c.webp", "sub/deep/d.j2k", "sub.jpg", "[x]/e.png", "notes.txt")
    for name in names:
        write_bytes(join(remote, name), b"x")
        write_bytes(join(str(tmp_path), name), b"x")
    (tmp_path / "link").symlink_to(tmp_path / "sub", target_is_directory=True)
    (tmp_path / "link.jpg").symlink_to(tmp_path / "sub", target_is_directory=True)
    check_split(remote, ["[x]", "sub"])
    check_split(str(tmp_path), ["[x]", "sub"])


def test_remote_empty_and_missing_objects(remote: str) -> None:
    write_bytes(join(remote, "empty.jpg"), b"")
    assert read_bytes(join(remote, "empty.jpg"), 100) == b""
    assert [image.size_bytes for image in list_images(remote)] == [0]
    assert status_of_reading(join(remote, "gone.jpg"))[0] is Status.MISSING


@pytest.mark.parametrize("server", ["s3_server", "gcs_server"])
def test_object_stores_tell_version_and_time(server: str, request: pytest.FixtureRequest) -> None:
    uri = join(request.getfixturevalue(server), uuid.uuid4().hex, "a.jpg")
    write_bytes(uri, b"one")
    (first,) = list_images(uri)
    assert [first] == list(list_images(os.path.dirname(uri)))  # noqa: PTH120
    write_bytes(uri, b"two")
    (second,) = list_images(uri)
    assert first.version
    assert second.version
    assert first.version != second.version
    assert '"' not in first.version
    assert first.modified is not None
    assert abs(datetime.now(UTC) - first.modified) < timedelta(minutes=5)
    assert first.modified.utcoffset() == timedelta(0)


def test_small_remote_objects_take_one_request(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = join(s3_server, uuid.uuid4().hex, "a.jpg")
    write_bytes(uri, b"x")
    read_bytes(uri, 100)
    calls = []
    kind = fsspec.get_filesystem_class("s3")
    original = kind._call_s3

    async def counted(self: object, method: str, *args: object, **options: object) -> object:
        calls.append(method)
        return await original(self, method, *args, **options)

    monkeypatch.setattr(kind, "_call_s3", counted)
    assert read_bytes(uri, 100) == b"x"
    assert calls == ["get_object"]


def test_unreachable_store(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transient, "TRIES", 2)
    kind = fsspec.get_filesystem_class("s3")

    async def fail(self: object, *args: object, **options: object) -> object:
        raise ConnectionError("network is down")

    monkeypatch.setattr(kind, "_call_s3", fail)
    status, message = status_of_reading(f"{s3_server}/a.jpg")
    assert (status, "network is down" in message) == (Status.UNREADABLE, True)
    for call in (uris, ensure_writable):
        with pytest.raises(ConfigError, match="network is down"):
            call(f"{s3_server}/folder")


def test_importing_storage_creates_no_filesystem() -> None:
    code = "import sys, q1net_core.storage; print(sorted({'s3fs', 'gcsfs', 'aiohttp'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_names_in_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a[1]").mkdir()
    for name in ("run_id=2", "run_id=1"):
        (tmp_path / "a[1]" / name).mkdir()
        (tmp_path / "a[1]" / name / "x.json").touch()
    (tmp_path / "a[1]" / "file").touch()
    assert list_names(f"{tmp_path}/a[1]") == ["file", "run_id=1", "run_id=2"]
    assert list_names(f"{tmp_path}/a[1]/") == ["file", "run_id=1", "run_id=2"]
    assert list_names(f"{tmp_path}/gone") == []


@pytest.mark.parametrize("store", ["s3_server", "gcs_server"])
def test_names_in_a_folder_of_a_bucket(store: str, request: pytest.FixtureRequest) -> None:
    base = f"{request.getfixturevalue(store)}/{uuid.uuid4().hex}"
    for name in ("run_id=2/x.json", "run_id=1/a/b.json", "file"):
        write_bytes(f"{base}/{name}", b"x")
    assert list_names(base) == ["file", "run_id=1", "run_id=2"]
    assert list_names(f"{base}/gone") == []


@given(
    st.lists(st.lists(st.sampled_from(["a", "a.jpg", "a-b", "a b.png", "b", "é"]), min_size=1, max_size=3), max_size=9)
)
def test_folders_are_listed_in_the_order_of_their_paths(paths: list[list[str]]) -> None:
    base = f"memory://order/{uuid.uuid4().hex}"
    with tempfile.TemporaryDirectory() as local:
        for parts in paths:
            name = "/".join(f"{part}.d" for part in parts[:-1]) + f"/{parts[-1]}.jpg"
            write_bytes(join(base, name), b"x")
            write_bytes(join(local, name), b"x")
        for folder in (base, local):
            found = [uri.removeprefix(folder) for uri in uris(folder)]
            names = {"/".join(["", *(f"{part}.d" for part in parts[:-1]), f"{parts[-1]}.jpg"]) for parts in paths}
            assert found == sorted(names)


def test_a_remote_folder_is_listed_a_few_folders_at_a_time() -> None:
    base = f"memory://many/{uuid.uuid4().hex}"
    for number in range(30):
        write_bytes(f"{base}/{number:02d}/a.jpg", b"x")
    kind, asked = fsspec.get_filesystem_class("memory"), []
    original = kind.find

    def find(self: object, path: str, **options: object) -> object:
        asked.append(path)
        return original(self, path, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kind, "find", find)
        listed = list_images(base)
        next(listed)
        assert len(asked) <= listing.FOLDERS_AT_A_TIME
        assert len(list(listed)) == 29
