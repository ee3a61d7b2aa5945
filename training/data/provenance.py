"""What a training's data is, as the card of its weights tells it: the codec, and the pictures by hash."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a training's patches come from.

    Args:
        codec: that compressed them, a name in ``codecs.table.CODECS``.
        codec_versions: its libraries, by name.
        pictures: of ``training`` and ``validation``, as ``describe_files`` has them.
    """

    codec: str
    codec_versions: Mapping[str, str]
    pictures: Mapping[str, Mapping[str, Any]]


def describe_files(digests: Iterable[str]) -> dict[str, Any]:
    """Files by the sha256 of each, in any order: how many, and the sha256 over all of theirs, sorted, one a line."""
    lines = sorted(digests)
    return {"files": len(lines), "sha256": sha256("\n".join(lines).encode()).hexdigest()}
