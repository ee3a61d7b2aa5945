"""The images that a file, a folder or a glob stands for, wherever they are.

Layer: no keras, no beam, no pyarrow.
"""

import os
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from q1net_core.errors import ConfigError
from q1net_core.records import ListedImage
from q1net_core.storage import is_local, printable_uri, reason_of, resolve
from q1net_core.transient import persist

# fmt: off
IMAGE_EXTENSIONS = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".avif", ".tif", ".tiff", ".bmp", ".dib",
    ".gif", ".jp2", ".j2k", ".jpx", ".ppm", ".pgm", ".pnm",
})
# fmt: on


def list_images(pattern: str, extensions: Collection[str] = IMAGE_EXTENSIONS) -> Iterator[ListedImage]:
    """List the images that a file, a folder or a glob stands for.

    A folder is searched to any depth (but not through links to folders) for names with ``extensions``, in any
    case; a file or a glob is taken as asked for, whatever the names. What exists literally wins over what its brackets
    would mean in a glob.

    Args:
        pattern: a local path or fsspec URL, with or without ``*``, ``?``, ``[...]`` and ``**``.

    Returns:
        files only, each once, sorted by uri; remote uris keep their protocol. Nothing when nothing matches.

    Raises:
        ConfigError: the protocol is unknown or lacks its package, or the store refuses to list.
    """
    fs, path = resolve(pattern)
    try:
        found = _find(fs, path, extensions) if is_local(fs) else persist(_find, fs, path, extensions)
    except FileNotFoundError:
        return
    except Exception as error:
        raise ConfigError(
            f"cannot list {printable_uri(pattern)}: {reason_of(error)}; expected a place this process may list: "
            "check the path, its permissions and the credentials of the store"
        ) from error
    prefix = _prefix(fs, pattern, path)
    images = {}
    for info in found:
        if info["type"] == "file" and not info["name"].endswith("/"):
            image = _listed(prefix + info["name"], info)
            images[image.uri] = image
    yield from (images[uri] for uri in sorted(images))


def _find(fs: Any, path: str, extensions: Collection[str]) -> list[Mapping[str, Any]]:
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
    elif is_local(fs):
        found = list(_search_local(fs, path, extensions))
    else:
        found = [info for info in fs.find(path, detail=True).values() if has_extension(info["name"], extensions)]
    return [_followed(fs, info) for info in found] if is_local(fs) else found


def has_extension(name: str, extensions: Collection[str]) -> bool:
    """Whether a name ends in one of the extensions, in any case; ``.jpg`` alone is a hidden file's name."""
    stem, extension = os.path.splitext(name.rpartition("/")[2])  # noqa: PTH122
    # Two suffixes, as of .tar.gz, are an extension too.
    return {extension.lower(), (os.path.splitext(stem)[1] + extension).lower()} & {*extensions} != set()  # noqa: PTH122


def _search_local(fs: Any, folder: str, extensions: Collection[str]) -> Iterator[Mapping[str, Any]]:
    # fsspec's own search skips folders it may not read without a word, and their images with them.
    for base, _, names in os.walk(folder, onerror=_raise_unless_gone):
        for name in names:
            if not has_extension(name, extensions):
                continue
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
    if is_local(fs):
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
