"""Tiles from the first pass to the second, which then need not decode the images of JPEG's codecs again."""

from io import BytesIO

import numpy as np

from pipelines.files import read_uri
from q1net_core import storage
from q1net_core.arrays import IntArray
from q1net_core.codecs.positions import Mosaic

FIELDS = ("pixels", "tops", "lefts", "indices")


def tiles_uri(work: str, fingerprint: str) -> str:
    """Where the tiles of one picture are in the folder ``work``: copies of a picture share them."""
    return storage.join(work, "tiles", f"{fingerprint}.npz")


def write_tiles(work: str, fingerprint: str, positions: IntArray, mosaics: list[Mosaic]) -> None:
    """Keep the positions of one picture, int [N, 2], and their mosaics of tiles."""
    arrays = {f"{name}{number}": getattr(part, name) for number, part in enumerate(mosaics) for name in FIELDS}
    buffer = BytesIO()
    np.savez(buffer, positions=positions, **arrays)
    storage.write_bytes(tiles_uri(work, fingerprint), buffer.getvalue())


def read_tiles(work: str, fingerprint: str) -> tuple[IntArray, list[Mosaic]]:
    """The positions and mosaics that ``write_tiles`` kept."""
    with np.load(BytesIO(read_uri(tiles_uri(work, fingerprint)))) as arrays:
        count = len(arrays.files) // len(FIELDS)
        parts = [Mosaic(*(arrays[f"{name}{number}"] for name in FIELDS)) for number in range(count)]
        return arrays["positions"], parts
