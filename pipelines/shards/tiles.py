"""Tiles from the first pass to the second, which then need not decode the images of JPEG's codecs again."""

import numpy as np
import pyarrow as pa

from pipelines.files import read_uri
from q1net_core import storage
from q1net_core.arrays import IntArray
from q1net_core.codecs.positions import Mosaic

FIELDS = ("pixels", "tops", "lefts", "indices")


def tiles_uri(work: str, fingerprint: str) -> str:
    """Where the tiles of one picture are in the folder ``work``: copies of a picture share them."""
    return storage.join(work, "tiles", f"{fingerprint}.tensors")


def write_tiles(work: str, fingerprint: str, positions: IntArray, mosaics: list[Mosaic]) -> None:
    """Keep the positions of one picture, int [N, 2], and their mosaics of tiles, as Arrow tensors.

    Not as .npy: numpy reads its headers with ``ast``, which in Python 3.11 fails now and then where threads share it
    (https://github.com/python/cpython/issues/106905).
    """
    sink = pa.BufferOutputStream()
    for array in (positions, *(getattr(mosaic, name) for mosaic in mosaics for name in FIELDS)):
        pa.ipc.write_tensor(pa.Tensor.from_numpy(np.ascontiguousarray(array)), sink)
    storage.write_bytes(tiles_uri(work, fingerprint), sink.getvalue().to_pybytes())


def read_tiles(work: str, fingerprint: str) -> tuple[IntArray, list[Mosaic]]:
    """The positions and mosaics that ``write_tiles`` kept."""
    content = read_uri(tiles_uri(work, fingerprint))
    source = pa.BufferReader(content)
    arrays = []
    while source.tell() < len(content):
        arrays.append(pa.ipc.read_tensor(source).to_numpy())
    positions, *fields = arrays
    starts = range(0, len(fields), len(FIELDS))
    return positions, [Mosaic(*fields[start : start + len(FIELDS)]) for start in starts]
