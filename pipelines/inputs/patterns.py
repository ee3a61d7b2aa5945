"""INPUTs of a command: files, folders, globs, URLs and archives -> images, each once, without those left out."""

import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from fnmatch import translate
from hashlib import blake2b

from pipelines.inputs.archives import kind_of, list_members, split_member
from q1net_core import storage
from q1net_core.errors import ConfigError
from q1net_core.listing import IMAGE_EXTENSIONS, list_images, split_folder
from q1net_core.records import ListedImage
from q1net_core.web import is_web

# What a folder is searched for; Parquet files are opened only where they are asked for.
IN_FOLDERS = IMAGE_EXTENSIONS | {".tar", ".tar.gz", ".tgz", ".zip"}
# So long that no two uris of an archive have the same.
DIGEST_BYTES = 16
# Protocols that never lead to files of the machine that reads them.
REMOTE = frozenset(
    {"gs", "gcs", "s3", "s3a", "http", "https", "abfs", "abfss", "az", "adl", "hdfs", "webhdfs", "sftp", "ssh", "ftp"}
    | {"hf", "oci", "oss", "r2", "b2"}
)


def list_inputs(patterns: Iterable[str], exclude: Sequence[str] = ()) -> Iterator[ListedImage]:
    """All images matched by files, folders and globs, each uri once, as they are found.

    Raises:
        ConfigError: a pattern matches nothing, or its store cannot be listed.
    """
    return distinct(leave_out(list_all(patterns), exclude))


def list_all(patterns: Iterable[str]) -> Iterator[ListedImage]:
    """The images of each pattern in turn, those inside of archives too; raises as list_inputs."""
    for pattern in patterns:
        matched = False
        for image in [ListedImage(pattern)] if is_named(pattern) else list_images(pattern, IN_FOLDERS):
            for member in open_archive(image):
                matched = True
                yield member
        if not matched:
            raise no_match(pattern)


def is_named(pattern: str) -> bool:
    """Whether a pattern names its input: there is nothing to be listed."""
    # A web server has no listing, and a question mark is a part of a URL.
    return (is_web(pattern) and "*" not in pattern) or split_member(pattern) is not None


def no_match(pattern: str) -> ConfigError:
    """What is said of a pattern that stands for nothing."""
    return ConfigError(
        f"no image matches {storage.printable_uri(pattern)!r}; expected a file, a folder with image files, "
        "or a glob such as 'photos/**/*.jpg' (in quotes)"
    )


def split_pattern(pattern: str) -> Iterator[ListedImage | str]:
    """The inputs of one pattern, archives unopened; of a folder its first level, and the uris of the folders there."""
    return iter([ListedImage(pattern)]) if is_named(pattern) else split_folder(pattern, IN_FOLDERS)


def list_folder(folder: str) -> Iterator[ListedImage]:
    """The inputs of a folder that split_pattern names, archives unopened."""
    return list_images(folder, IN_FOLDERS)


def open_archive(image: ListedImage) -> Iterator[ListedImage]:
    """The members of an archive, with its group and what it carries; any other image as it is."""
    if split_member(image.uri) or kind_of(image.uri) is None:
        yield image
    else:
        for member in list_members(image):
            yield replace(member, group=image.group, carried=image.carried)


def leave_out(images: Iterable[ListedImage], exclude: Sequence[str]) -> Iterator[ListedImage]:
    """Images whose uri no pattern matches; raises ConfigError if all of them match one."""
    if not exclude:
        yield from images
        return
    excluded, kept = excluding(exclude), False
    for image in images:
        if not excluded.fullmatch(image.uri):
            kept = True
            yield image
    if not kept:
        raise none_left(exclude)


def none_left(exclude: Sequence[str]) -> ConfigError:
    """What is said of excludes that match every image."""
    return ConfigError(f"--exclude leaves no image: {' '.join(exclude)}; expected patterns that some do not match")


def excluding(patterns: Sequence[str]) -> re.Pattern[str]:
    """One expression for all globs; each matches a whole uri, or its end from a slash on, and ``*`` slashes too.

    >>> bool(excluding(["*.gif", "thumbs/"]).fullmatch("s3://b/photos/thumbs/1.jpg"))
    True
    """
    globs = [f"{pattern}*" if pattern.endswith("/") else pattern for pattern in patterns]
    return re.compile("|".join(f"(?:.*/)?{translate(glob)}" for glob in globs), re.DOTALL)


def distinct(images: Iterable[ListedImage]) -> Iterator[ListedImage]:
    """Each uri once, the first of them; what has been seen is kept on disk, 16 bytes of each."""
    # An empty name is a database in memory that goes to a file of its own as it grows.
    with closing(sqlite3.connect("", check_same_thread=False)) as database:
        database.execute("CREATE TABLE seen (uri BLOB PRIMARY KEY) WITHOUT ROWID")
        for image in images:
            if database.execute("INSERT OR IGNORE INTO seen VALUES (?)", (digest_of(image.uri),)).rowcount:
                yield image


def digest_of(uri: str) -> bytes:
    """What stands for a uri where there are many: DIGEST_BYTES bytes."""
    return blake2b(uri.encode(errors="surrogateescape"), digest_size=DIGEST_BYTES).digest()


def refuse_local(uri: str) -> None:
    """Raise ConfigError unless a uri is of a store that is not this machine's: `--remote-only`."""
    protocol, found, _ = uri.partition("://")
    if not found or protocol not in REMOTE:
        raise ConfigError(
            f"--remote-only: {storage.printable_uri(uri)} is, or may be, a local file; expected a URL of one of "
            f"{', '.join(sorted(REMOTE))}"
        )
