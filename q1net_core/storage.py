"""Files wherever they are: list, read, write. The only module that says fsspec.

Layer: no keras, no beam, no pyarrow.

A uri is a local path (no protocol) or any fsspec URL; local uris are absolute paths, and names that are not UTF-8 are
kept as Python's surrogate escapes, which ``printable_uri`` turns into text.
"""

import contextlib
import io
import os
import re
import stat
import uuid
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, cast

import fsspec
import fsspec.config
from fsspec.core import strip_protocol
from fsspec.implementations.local import LocalFileSystem

from q1net_core.errors import ConfigError, ImageError
from q1net_core.records import Status
from q1net_core.transient import persist
from q1net_core.web import is_web, read_url

# Seconds to connect, and between two pieces of an answer.
CONNECT_TIMEOUT, READ_TIMEOUT = 10, 60
# Bytes of a remote file that are asked for at once, where it is read a piece at a time.
PIECE = 1 << 18
# Parts of a URL that open doors: user:password@, and the signatures and tokens of signed URLs.
SECRETS = re.compile(
    r"(?<=://)[^/@\s?#]*@|(?<=[?&])(?P<name>[\w.-]*(?:sig|signature|token|key|secret|password|credential|policy))=[^&\s#]*",
    re.IGNORECASE,
)


def read_bytes(uri: str, max_bytes: int) -> bytes:
    """Read a whole file, unless it has more than ``max_bytes``; an empty file is ``b""``.

    Raises:
        ImageError: MISSING, UNREADABLE (not permitted, not a file, the store failed) or TOO_LARGE.
    """
    try:
        data = persist(read_url, uri, max_bytes) if is_web(uri) else _read_file(uri, max_bytes)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ImageError(Status.MISSING, f"nothing at {printable_uri(uri)} any more, expected a file") from error
    except Exception as error:
        raise ImageError(
            Status.UNREADABLE, f"cannot read {printable_uri(uri)}: {reason_of(error)}; expected a readable file"
        ) from error
    if len(data) > max_bytes:
        raise ImageError(
            Status.TOO_LARGE, f"{printable_uri(uri)} has more bytes than expected, which is at most {max_bytes}"
        )
    return data


def read_range(uri: str, start: int, end: int) -> bytes:
    """The bytes of a file from ``start`` to before ``end``, fewer where it ends; raises whatever its store raises."""
    fs, path = resolve(uri)
    if start >= end:
        return b""
    if is_local(fs):
        with open(path, "rb") as file:
            file.seek(start)
            return file.read(end - start)
    data: bytes = persist(fs.cat_file, path, start=start, end=end)
    return data


@contextlib.contextmanager
def open_file(uri: str) -> Iterator[BinaryIO]:
    """A file to read and seek in, a piece at a time; raises whatever its store raises."""
    fs, path = resolve(uri)
    if is_local(fs):
        with open(path, "rb") as file:
            yield file
    else:
        with io.BufferedReader(_Pieces(uri, persist(fs.info, path)["size"]), PIECE) as pieces:
            yield cast(BinaryIO, pieces)


class _Pieces(io.RawIOBase):
    """A remote file by requests for its ranges."""

    def __init__(self, uri: str, size: int) -> None:
        self.uri, self.size, self.place = uri, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self.place = offset + (0, self.place, self.size)[whence]
        return self.place

    def readinto(self, buffer: Any) -> int:
        data = read_range(self.uri, self.place, min(self.place + len(buffer), self.size))
        buffer[: len(data)] = data
        self.place += len(data)
        return len(data)


def write_bytes(uri: str, data: bytes) -> None:
    """Write a whole file so that readers see the old content or the new, never a part; local folders are made.

    Raises:
        ConfigError: the protocol is unknown or lacks its package.
        OSError: the file cannot be written; remote stores raise their own kinds as well.
    """
    fs, path = resolve(uri)
    if is_local(fs):
        _write_local(Path(path), data)
    else:
        persist(fs.pipe_file, path, data)


def exists(uri: str) -> bool:
    """Tell if there is a file or folder at ``uri``; a store that cannot answer raises what it raises."""
    fs, path = resolve(uri)
    fs.invalidate_cache()
    try:
        persist(fs.info, path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def list_names(uri_dir: str) -> list[str]:
    """Names of what lies directly in a folder, folders among them, sorted; none where there is no folder.

    A store that cannot answer raises what it raises.
    """
    fs, path = resolve(uri_dir)
    fs.invalidate_cache()
    try:
        found = persist(fs.ls, path, detail=False)
    except (FileNotFoundError, NotADirectoryError):
        return []
    # Stores may list the folder itself as an empty object.
    names = {str(name).rstrip("/").rpartition("/")[2] for name in found if str(name).strip("/") != path.strip("/")}
    return sorted(names)


def remove(uri: str) -> None:
    """Delete a file, or a folder with all that is in it; nothing happens where there is none."""
    fs, path = resolve(uri)
    fs.invalidate_cache()
    with contextlib.suppress(FileNotFoundError):
        persist(fs.rm, path, recursive=True)


def join(base: str, *parts: str) -> str:
    """Append path parts to a uri with single slashes; parts never escape from ``base`` by a leading slash."""
    head = base if base.endswith("://") else base.rstrip("/")
    tail = "/".join(part.strip("/") for part in parts)
    return f"{head}{tail}" if not base or head.endswith("://") else f"{head}/{tail}"


def ensure_writable(uri_dir: str) -> None:
    """Find out that a folder can be written to by writing and deleting a small file there; leaves nothing behind.

    Raises:
        ConfigError: it cannot.
    """
    probe = join(uri_dir, f".q1net-probe-{uuid.uuid4().hex}")
    fs, path = resolve(probe)
    made: list[Path] = []
    try:
        if is_local(fs):
            made = [parent for parent in Path(path).parents if not parent.exists()]
        write_bytes(probe, b"q1net")
        persist(fs.rm_file, path)
    except Exception as error:
        raise ConfigError(
            f"cannot write to output {printable_uri(uri_dir)}: {reason_of(error)}; expected a folder where files can "
            "be created and deleted: choose another output, or grant this process write access"
        ) from error
    finally:
        for folder in made:
            # Someone else may use the new folder by now: then it stays.
            with contextlib.suppress(OSError):
                folder.rmdir()


def printable_uri(uri: str) -> str:
    r"""Turn a uri into valid UTF-8 without secrets: a byte that was not text shows as ``\xe9``, a token as ``***``."""
    shown = _without_secrets(uri) if "://" in uri else uri
    escaped = re.sub("[\udc80-\udcff]", lambda found: f"\\x{ord(found[0]) - 0xDC00:02x}", shown)
    return escaped.encode("utf-8", "backslashreplace").decode("utf-8")


def resolve(uri: str) -> tuple[Any, str]:
    """The fsspec filesystem of a uri and its path there; raises ConfigError for protocols that cannot be used."""
    # fsspec takes a local name like "data:2020" for a URL.
    url = f"file://{uri}" if uri.startswith("data:") else uri
    try:
        # fsspec reads "::" as a chain of URLs, but it is also a valid part of a name: the store stands before it.
        store = url.split("::", 1)[0]
        fs, path = fsspec.url_to_fs(store, **_options_of(store.partition("://")[0] if "://" in store else ""))
        return fs, strip_protocol(url) if "::" in url else path
    except Exception as error:
        raise ConfigError(
            f"cannot open {printable_uri(uri)}: {reason_of(error)}; expected a local path or a URL such as "
            "gs://bucket/folder or s3://bucket/folder: check the protocol, or install the package it needs"
        ) from error


def is_local(fs: Any) -> bool:
    """Whether a filesystem is this machine's."""
    return isinstance(fs, LocalFileSystem)


def reason_of(error: BaseException) -> str:
    """The kind of an error and what it says, in one line, without secrets."""
    # Clients of stores may name a part of a URL.
    told = _without_secrets(" ".join(str(error).split()))
    return printable_uri(f"{type(error).__name__}: {told}" if told else type(error).__name__)


def _without_secrets(text: str) -> str:
    return SECRETS.sub(lambda found: f"{found['name']}=***" if found["name"] else "***@", text)


@cache
def _options_of(protocol: str) -> dict[str, Any]:
    # Time limits, and proxies as the environment names them. Of retries, one layer is enough: transient.persist.
    if protocol in ("s3", "s3a"):
        config = {
            "connect_timeout": CONNECT_TIMEOUT,
            "read_timeout": READ_TIMEOUT,
            "retries": {"total_max_attempts": 1},
        }
        return {"config_kwargs": config | fsspec.config.conf.get("s3", {}).get("config_kwargs", {})}
    if protocol in ("gs", "gcs"):
        from aiohttp import ClientTimeout

        timeout = ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT, sock_read=READ_TIMEOUT)
        return {"session_kwargs": {"timeout": timeout, "trust_env": True}}
    return {}


def _read_file(uri: str, max_bytes: int) -> bytes:
    fs, path = resolve(uri)
    return _read_local(path, max_bytes) if is_local(fs) else persist(_read_remote, fs, path, max_bytes)


def _read_local(path: str, max_bytes: int) -> bytes:
    # Opening a pipe would wait for a writer, perhaps forever, so the kind is judged first.
    status = os.stat(path)  # noqa: PTH116
    if not stat.S_ISREG(status.st_mode):
        raise IsADirectoryError("a folder") if stat.S_ISDIR(status.st_mode) else OSError("not a regular file")
    with open(path, "rb") as file:
        return file.read(min(status.st_size, max_bytes) + 1)


def _read_remote(fs: Any, path: str, max_bytes: int) -> bytes:
    try:
        data: bytes = fs.cat_file(path, start=0, end=max_bytes + 1)
    except (FileNotFoundError, PermissionError):
        raise
    except Exception:
        # Stores answer a range of an empty object with "range not satisfiable", each in its own words and with an
        # error of its own kind; any other failure is raised again below.
        fs.invalidate_cache()
        if fs.info(path).get("size") == 0:
            return b""
        raise
    return data


def _write_local(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with open(partial, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        # There no more, unless something failed.
        partial.unlink(missing_ok=True)
