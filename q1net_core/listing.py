"""The images that a file, a folder or a glob stands for, wherever they are.

Layer: no keras, no beam, no pyarrow.
"""

import os
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from operator import itemgetter
from typing import Any

from q1net_core.errors import ConfigError
from q1net_core.records import ListedImage
from q1net_core.storage import is_local, printable_uri, reason_of, resolve
from q1net_core.transient import persist

# Folders of a store that are listed side by side.
FOLDERS_AT_A_TIME = 8
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
    return (_listed(uri, info) for uri, info in _list(pattern, extensions, to_any_depth=True))


def split_folder(pattern: str, extensions: Collection[str] = IMAGE_EXTENSIONS) -> Iterator[ListedImage | str]:
    """As list_images, but of a folder its first level only: the images there, and the uris of the folders there.

    What list_images gives for these folders, each in its place, is what it gives for the whole. Raises as list_images.
    """
    for uri, info in _list(pattern, extensions, to_any_depth=False):
        yield uri.rstrip("/") if info["type"] == "directory" else _listed(uri, info)


def _list(pattern: str, extensions: Collection[str], to_any_depth: bool) -> Iterator[tuple[str, Mapping[str, Any]]]:
    fs, path = resolve(pattern)
    prefix = _prefix(fs, pattern, path)
    try:
        for info in _find(fs, path, extensions, to_any_depth):
            yield prefix + info["name"], info
    except Exception as error:
        # Clients of stores share no base class.
        raise ConfigError(
            f"cannot list {printable_uri(pattern)}: {reason_of(error)}; expected a place this process may list: "
            "check the path, its permissions and the credentials of the store"
        ) from error


def _find(fs: Any, path: str, extensions: Collection[str], to_any_depth: bool) -> Iterator[Mapping[str, Any]]:
    fs.invalidate_cache()
    has_magic = any(character in path for character in "*?[")
    try:
        literal = fs.info(path) if is_local(fs) else persist(fs.info, path)
    except OSError as error:
        # Stores may refuse to look for an object named like the glob, or a name too long, yet list the glob itself.
        if not has_magic:
            if isinstance(error, FileNotFoundError | NotADirectoryError):
                return
            raise
        literal = None
    if literal is None:
        glob = fs.glob(path, detail=True) if is_local(fs) else persist(fs.glob, path, detail=True)
        found: Iterable[Mapping[str, Any]] = sorted(glob.values(), key=itemgetter("name"))
    elif literal["type"] != "directory":
        found = [literal]
    elif is_local(fs):
        found = (_search_local if to_any_depth else _scan_local)(fs, path, extensions)
    else:
        found = (_search_remote if to_any_depth else _scan_remote)(fs, path)
        found = (info for info in found if info["type"] == "directory" or has_extension(info["name"], extensions))
    for info in found:
        if info["type"] == "directory" and not to_any_depth and literal is not None:
            yield info
            continue
        followed = _followed(fs, info) if is_local(fs) else info
        if followed["type"] == "file" and not followed["name"].endswith("/"):
            yield followed


def _search_remote(fs: Any, folder: str) -> Iterator[Mapping[str, Any]]:
    # Folders of the first level are listed side by side, and a few of them are in memory at a time.
    with ThreadPoolExecutor(FOLDERS_AT_A_TIME) as pool:
        ahead: deque[Callable[[], Iterable[Mapping[str, Any]]]] = deque()
        for info in _scan_remote(fs, folder):
            if info["type"] == "directory":
                ahead.append(pool.submit(_find_below, fs, info["name"]).result)
            else:
                ahead.append(partial(tuple, (info,)))
            if len(ahead) >= FOLDERS_AT_A_TIME:
                yield from ahead.popleft()()
        while ahead:
            yield from ahead.popleft()()


def _scan_remote(fs: Any, folder: str) -> list[Mapping[str, Any]]:
    own = folder.rstrip("/")
    entries = (info for info in _gone_is_empty(fs.ls, folder, detail=True) if info["name"].rstrip("/") != own)
    return sorted(entries, key=_place)


def _find_below(fs: Any, folder: str) -> list[Mapping[str, Any]]:
    found = _gone_is_empty(fs.find, folder, detail=True)
    # Else clients keep every entry in memory.
    fs.invalidate_cache()
    return sorted(found.values() if isinstance(found, dict) else found, key=itemgetter("name"))


def _gone_is_empty(function: Callable[..., Any], *arguments: object, **options: object) -> Any:
    try:
        return persist(function, *arguments, **options)
    except FileNotFoundError:
        return []


def _place(info: Mapping[str, Any]) -> str:
    # By this, folders stand where what is in them belongs in the order of all paths.
    name = str(info["name"]).rstrip("/")
    return f"{name}/" if info["type"] == "directory" else name


def has_extension(name: str, extensions: Collection[str]) -> bool:
    """Whether a name ends in one of the extensions, in any case; ``.jpg`` alone is a hidden file's name."""
    stem, extension = os.path.splitext(name.rpartition("/")[2].lower())  # noqa: PTH122
    # Two suffixes, as of .tar.gz, are an extension too.
    return extension in extensions or os.path.splitext(stem)[1] + extension in extensions  # noqa: PTH122


def _search_local(fs: Any, folder: str, extensions: Collection[str]) -> Iterator[Mapping[str, Any]]:
    for info in _scan_local(fs, folder, extensions):
        if info["type"] == "directory":
            yield from _search_local(fs, info["name"], extensions)
        else:
            yield info


def _scan_local(fs: Any, folder: str, extensions: Collection[str]) -> Iterator[Mapping[str, Any]]:
    # fsspec's own search skips folders it may not read without a word, and their images with them.
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name + "/" * entry.is_dir(follow_symlinks=False) for entry in entries)
    except (FileNotFoundError, NotADirectoryError):
        return
    for name in names:
        path = os.path.join(folder, name)  # noqa: PTH118
        if name.endswith("/"):
            yield {"name": path.rstrip("/"), "type": "directory"}
        elif has_extension(name, extensions) and not os.path.isdir(path):  # noqa: PTH112 (a link to a folder)
            try:
                yield fs.info(path)
            except OSError:
                yield {"name": path, "type": "file"}


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
