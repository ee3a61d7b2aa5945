"""The images that shards are cut from, as both passes see them: their pixels, and what the first tells the second."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any

import numpy as np

from pipelines.files import read_uri
from pipelines.shards.config import ShardsConfig
from q1net_core import storage
from q1net_core.arrays import IntArray, UInt8Array
from q1net_core.codecs.positions import check_room, draw_positions
from q1net_core.codecs.table import CODECS
from q1net_core.errors import ImageError
from q1net_core.images.decode import decode
from q1net_core.images.lossless import is_lossy
from q1net_core.records import Status


@dataclass(frozen=True, slots=True)
class Finding:
    """What the first pass found out about one image.

    Args:
        uri: where the image is.
        fingerprint: of the pixels, see ``fingerprint_of``; empty if the image cannot be used.
        error: why the image cannot be used; empty if it can.
        quality: the level of an earlier JPEG compression, if the lattice found one.
        match: what that compression's table is.
    """

    uri: str
    fingerprint: str = ""
    error: str = ""
    quality: float | None = None
    match: str | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """A usable image: its ``name`` inside the corpus, its split, and its ``index`` in the split's order of names."""

    uri: str
    name: str
    fingerprint: str
    split: str
    index: int


def fingerprint_of(pixels: UInt8Array) -> str:
    """What makes two images the same picture, whatever their files: sha256 of size and pixels."""
    return sha256(b"%dx%d:" % pixels.shape[1::-1] + pixels.tobytes()).hexdigest()


def load_pixels(encoded: bytes, config: ShardsConfig) -> UInt8Array:
    """Decode an image that shards can be cut from: uint8 [height, width, 3].

    Raises:
        ImageError: the image is broken, lossy, too small for its places, or too large for the codec.
    """
    decoded = decode(encoded)
    if is_lossy(decoded.format, encoded):
        raise ImageError(Status.UNSUPPORTED, f"image is {decoded.format}; expected a lossless one, never compressed")
    check_room(decoded.pixels, config.patches_per_image, config.phases)
    codec = CODECS[config.codec]
    if codec.geometry is None:
        codec.check_size(decoded.pixels)
    return decoded.pixels


def draw_image_positions(pixels: UInt8Array, fingerprint: str, config: ShardsConfig) -> IntArray:
    """Where an image's patches lie, int [patches per image, 2]: depends on the pixels and the seed alone."""
    rng = np.random.default_rng([config.seed, int(fingerprint[:16], 16)])
    return draw_positions(rng, pixels, config.patches_per_image, config.phases)


def write_lines(uri: str, records: Iterable[Finding | Source]) -> str:
    """Records -> one file of JSON lines, which keep names that are not UTF-8; returns the file's uri."""
    storage.write_bytes(uri, "".join(json.dumps(asdict(record)) + "\n" for record in records).encode())
    return uri


def read_lines(uri: str) -> list[dict[str, Any]]:
    """The fields of the records of one file that ``write_lines`` wrote."""
    return [json.loads(line) for line in read_uri(uri).decode().splitlines()]


def read_sources(uri: str) -> list[Source]:
    """The sources of one file."""
    return [Source(**fields) for fields in read_lines(uri)]
