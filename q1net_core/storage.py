"""Files wherever they are: list, read, write. The only module that says fsspec.

Layer: no keras, no beam, no pyarrow.

A uri is a local path (no protocol) or any fsspec URL; local uris are absolute paths, and names that are not UTF-8 are
kept as Python's surrogate escapes, which ``printable_uri`` turns into text.
"""

import contextlib
import os
import re
import stat
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fsspec
from fsspec.core import strip_protocol
from fsspec.implementations.local import LocalFileSystem

from q1net_core.errors import ConfigError, ImageError
from q1net_core.records import ListedImage, Status

# fmt: off
IMAGE_EXTENSIONS = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".avif", ".tif", ".tiff", ".bmp", ".dib",
    ".gif", ".jp2", ".j2k", ".jpx", ".ppm", ".pgm", ".pnm",
})
# fmt: on


def list_images(pattern: str) -> Iterator[ListedImage]:
    """List the images that a file, a folder or a glob stands for.

    A folder is searched to any depth (but not through links to folders) for names in ``IMAGE_EXTENSIONS``, in any
    case; a file or a glob is taken as asked for, whatever the names. What exists literally wins over what its brackets
    would mean in a glob.

    Args:
        pattern: a local path or fsspec URL, with or without ``*``, ``?``, ``[...]`` and ``**``.

    Returns:
        files only, each once, sorted by uri; remote uris keep their protocol. Nothing when nothing matches.

    Raises:
        ConfigError: the protocol is unknown or lacks its package, or the store refuses to list.
    """
    fs, path = _resolve(pattern)
    try:
        found = _find(fs, path)
    except FileNotFoundError:
        return
    except Exception as error:
        raise ConfigError(
            f"cannot list {printable_uri(pattern)}: {_reason(error)}; expected a place this process may list: "
            "check the path, its permissions and the credentials of the store"
        ) from error
    prefix = _prefix(fs, pattern, path)
    images = {}
    for info in found:
        if info["type"] == "file" and not info["name"].endswith("/"):
            image = _listed(prefix + info["name"], info)
            images[image.uri] = image
    yield from (images[uri] for uri in sorted(images))


def read_bytes(uri: str, max_bytes: int) -> bytes:
    """Read a whole file, unless it has more than ``max_bytes``; an empty file is ``b""``.

    Raises:
        ImageError: MISSING, UNREADABLE (not permitted, not a file, the store failed) or TOO_LARGE.
    """
    try:
        fs, path = _resolve(uri)
        data = _read_local(path, max_bytes) if _is_local(fs) else _read_remote(fs, path, max_bytes)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ImageError(Status.MISSING, f"nothing at {printable_uri(uri)} any more, expected a file") from error
    except Exception as error:
        raise ImageError(
            Status.UNREADABLE, f"cannot read {printable_uri(uri)}: {_reason(error)}; expected a readable file"
        ) from error
    if len(data) > max_bytes:
        raise ImageError(
            Status.TOO_LARGE, f"{printable_uri(uri)} has more bytes than expected, which is at most {max_bytes}"
        )
    return data


def write_bytes(uri: str, data: bytes) -> None:
    """Write a whole file so that readers see the old content or the new, never a part; local folders are made.

    Raises:
        ConfigError: the protocol is unknown or lacks its package.
        OSError: the file cannot be written; remote stores raise their own kinds as well.
    """
    fs, path = _resolve(uri)
    if _is_local(fs):
        _write_local(Path(path), data)
    else:
        fs.pipe_file(path, data)


def exists(uri: str) -> bool:
    """Tell if there is a file or folder at ``uri``; a store that cannot answer raises what it raises."""
    fs, path = _resolve(uri)
    fs.invalidate_cache()
    try:
        fs.info(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def list_names(uri_dir: str) -> list[str]:
    """Names of what lies directly in a folder, folders among them, sorted; none where there is no folder.

    A store that cannot answer raises what it raises.
    """
    fs, path = _resolve(uri_dir)
    fs.invalidate_cache()
    try:
        found = fs.ls(path, detail=False)
    except (FileNotFoundError, NotADirectoryError):
        return []
    # Stores may list the folder itself as an empty object.
    names = {str(name).rstrip("/").rpartition("/")[2] for name in found if str(name).strip("/") != path.strip("/")}
    return sorted(names)


def remove(uri: str) -> None:
    """Delete a file, or a folder with all that is in it; nothing happens where there is none."""
    fs, path = _resolve(uri)
    fs.invalidate_cache()
    with contextlib.suppress(FileNotFoundError):
        fs.rm(path, recursive=True)


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
    fs, path = _resolve(probe)
    made: list[Path] = []
    try:
        if _is_local(fs):
            made = [parent for parent in Path(path).parents if not parent.exists()]
        write_bytes(probe, b"q1net")
        fs.rm_file(path)
    except Exception as error:
        raise ConfigError(
            f"cannot write to output {printable_uri(uri_dir)}: {_reason(error)}; expected a folder where files can "
            "be created and deleted: choose another output, or grant this process write access"
        ) from error
    finally:
        for folder in made:
            # Someone else may use the new folder by now: then it stays.
            with contextlib.suppress(OSError):
                folder.rmdir()


def printable_uri(uri: str) -> str:
    r"""Turn a uri into valid UTF-8: a byte that was not, as in a Latin-1 file name, shows as ``\xe9``."""
    escaped = re.sub("[\udc80-\udcff]", lambda found: f"\\x{ord(found[0]) - 0xDC00:02x}", uri)
    return escaped.encode("utf-8", "backslashreplace").decode("utf-8")


def _resolve(uri: str) -> tuple[Any, str]:
    # fsspec takes a local name like "data:2020" for a URL.
    url = f"file://{uri}" if uri.startswith("data:") else uri
    try:
        # fsspec reads "::" as a chain of URLs, but it is also a valid part of a name: the store stands before it.
        fs, path = fsspec.url_to_fs(url.split("::", 1)[0])
        return fs, strip_protocol(url) if "::" in url else path
    except Exception as error:
        raise ConfigError(
            f"cannot open {printable_uri(uri)}: {_reason(error)}; expected a local path or a URL such as "
            "gs://bucket/folder or s3://bucket/folder: check the protocol, or install the package it needs"
        ) from error


def _is_local(fs: Any) -> bool:
    return isinstance(fs, LocalFileSystem)


def _reason(error: BaseException) -> str:
    return printable_uri(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)


def _find(fs: Any, path: str) -> list[Mapping[str, Any]]:
    fs.invalidate_cache()
    has_magic = any(character in path for character in "*?[")
    try:
        literal = fs.info(path)
    except OSError as error:
        # Stores may refuse to look for an object named like the glob, or a name too long, yet list the glob itself.
        if not has_magic:
            if isinstance(error, FileNotFoundError | NotADirectoryError):
                return []
            raise
        literal = None
    if literal is None:
        found = list(fs.glob(path, detail=True).values())
    elif literal["type"] != "directory":
        found = [literal]
    elif _is_local(fs):
        found = list(_search_local(fs, path))
    else:
        found = [info for info in fs.find(path, detail=True).values() if _has_image_name(info["name"])]
    return [_followed(fs, info) for info in found] if _is_local(fs) else found


def _has_image_name(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in IMAGE_EXTENSIONS  # noqa: PTH122


def _search_local(fs: Any, folder: str) -> Iterator[Mapping[str, Any]]:
    # fsspec's own search skips folders it may not read without a word, and their images with them.
    for base, _, names in os.walk(folder, onerror=_raise_unless_gone):
        for name in filter(_has_image_name, names):
            path = os.path.join(base, name)  # noqa: PTH118
            try:
                yield fs.info(path)
            except OSError:
                yield {"name": path, "type": "file"}


def _raise_unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error


def _followed(fs: Any, info: Mapping[str, Any]) -> Mapping[str, Any]:
    # A scan describes a link itself. One that leads nowhere is still an input that someone put there.
    if not info.get("islink"):
        return info
    try:
        return {**fs.info(info["name"]), "name": info["name"]}
    except OSError:
        return {"name": info["name"], "type": "file"}


def _prefix(fs: Any, pattern: str, path: str) -> str:
    # What fsspec stripped from the pattern, such as "gs://" or "sftp://host", goes back in front of what it found.
    if _is_local(fs):
        return ""
    pattern = pattern.rstrip("/")
    return pattern.removesuffix(path) if path and pattern.endswith(path) else pattern.split(":", 1)[0] + "://"


def _listed(uri: str, info: Mapping[str, Any]) -> ListedImage:
    size = info.get("size")
    version = info.get("generation") or info.get("ETag") or info.get("etag")
    stamps = (info.get(key) for key in ("mtime", "LastModified", "last_modified", "updated", "modified"))
    return ListedImage(
        uri=uri,
        size_bytes=None if size is None else int(size),
        version=None if version is None else str(version).strip('"'),
        modified=next((_utc(stamp) for stamp in stamps if stamp is not None), None),
    )


def _utc(stamp: object) -> datetime | None:
    if isinstance(stamp, int | float):
        return datetime.fromtimestamp(stamp, UTC)
    if isinstance(stamp, str):
        try:
            stamp = datetime.fromisoformat(stamp)
        except ValueError:
            return None
    if not isinstance(stamp, datetime):
        return None
    return stamp.replace(tzinfo=UTC) if stamp.tzinfo is None else stamp.astimezone(UTC)


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
        # Stores answer a range of an empty object with "range not satisfiable", each in its own words.
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
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
