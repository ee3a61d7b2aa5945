"""Files of a run or a dataset: bytes, readable JSON, and parts that count only when a JSON file lists them."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from hashlib import sha256
from operator import attrgetter
from typing import Any

from q1net_core import storage

JSON = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Part:
    """A written file as its commit lists it: ``name`` below the common folder, ``bytes``, hexadecimal ``sha256``."""

    name: str
    rows: int
    bytes: int
    sha256: str


def write_part(folder: str, name: str, content: bytes, rows: int) -> Part:
    """Write one part; a retry writes the same bytes to the same name."""
    storage.write_bytes(storage.join(folder, name), content)
    return Part(name, rows, len(content), sha256(content).hexdigest())


def read_part(folder: str, listed: JSON) -> bytes:
    """The bytes of a part that a commit lists as ``{"name": ..., "sha256": ...}``.

    Raises:
        ImageError: it cannot be read.
        ValueError: it is not the file that was committed.
    """
    content = read_uri(storage.join(folder, listed["name"]))
    if sha256(content).hexdigest() != listed["sha256"]:
        raise ValueError(f"{listed['name']} of {folder} is not the file that was committed; its sha256 differs")
    return content


def commit(uri: str, about: JSON, parts: Iterable[Part]) -> str:
    """Write the JSON file that makes parts count, ``about`` with their list under ``files``; returns its uri.

    Write it last: whoever reads takes only parts that are listed.
    """
    files = [asdict(part) for part in sorted(parts, key=attrgetter("name"))]
    write_json(uri, about | {"files": files})
    return uri


def write_json(uri: str, value: JSON) -> None:
    """Readable JSON, UTF-8."""
    storage.write_bytes(uri, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def read_json(uri: str) -> JSON:
    """A JSON file that holds an object; raises ImageError if it cannot be read."""
    value: JSON = json.loads(read_uri(uri))
    return value


def read_uri(uri: str) -> bytes:
    """All bytes of a file that a command wrote; raises ImageError if it cannot be read."""
    return storage.read_bytes(uri, 1 << 40)
