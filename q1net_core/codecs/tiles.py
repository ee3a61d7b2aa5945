"""Windows of an image at the cost of their surroundings only: tiles are cut, compressed as a mosaic, and cut again.

Layer: numpy only; no keras, no beam, no pyarrow.

A window of a compressed tile equals, bit for bit, the same window of the whole compressed image.
"""

import numpy as np

from q1net_core.arrays import IntArray, UInt8Array
from q1net_core.codecs.base import Codec, Geometry
from q1net_core.codecs.jpeg import JPEG, SAMPLINGS
from q1net_core.errors import ConfigError


def tile_spans(window_starts: IntArray, size: int, unit: int, reach: int) -> tuple[IntArray, IntArray]:
    """Along one axis, the tile around each window of ``size`` pixels: starts and lengths, int [N], multiples of unit.

    Inside its tile a window compresses as it would inside the whole image.

    >>> starts, lengths = tile_spans(np.array([4, 12, 14]), size=16, unit=16, reach=2)
    >>> starts.tolist(), lengths.tolist()  # 4 needs pixels 2..21, two units; 14 needs 12..31, as many
    ([0, 0, 0], [32, 32, 32])
    >>> [span.tolist() for span in tile_spans(np.array([17, 20]), 16, 16, 2)]  # 17 needs 15..34, three units
    [[0, 16], [48, 32]]
    """
    starts = np.maximum(window_starts - reach, 0) // unit * unit
    return starts, -(-(window_starts + size + reach - starts) // unit) * unit


def tile_shapes(tops: IntArray, lefts: IntArray, size: int, geometry: Geometry) -> IntArray:
    """Height and width of the tile around each window: int [N, 2]."""
    axes = zip((tops, lefts), geometry.unit, geometry.reach, strict=True)
    return np.stack([tile_spans(starts, size, unit, reach)[1] for starts, unit, reach in axes], axis=1)


def cut_tiles(
    pixels: UInt8Array, tops: IntArray, lefts: IntArray, size: int, geometry: Geometry = SAMPLINGS["4:2:0"]
) -> tuple[UInt8Array, IntArray, IntArray]:
    """Tiles around windows, with the windows' starts inside them: uint8 [N, T, U, 3], int [N], int [N].

    All tiles have one shape, the least that serves every window.

    Raises ConfigError where identity would be lost: if a tile would leave the image, for the encoder invents pixels
    there, or if a window lies so close to the left edge that in a mosaic it would see another tile's chroma.
    """
    reach = geometry.reach[1]
    if np.any(lefts < reach):
        raise ConfigError(f"a window starts {lefts.min()} pixels from the left edge; keep windows {reach} away from it")
    ys, heights = tile_spans(tops, size, geometry.unit[0], geometry.reach[0])
    xs, widths = tile_spans(lefts, size, geometry.unit[1], geometry.reach[1])
    tall, wide = (int(np.max(lengths, initial=0)) or size for lengths in (heights, widths))
    height, width = pixels.shape[:2]
    if len(ys) and (int(ys.max()) + tall > height or int(xs.max()) + wide > width):
        raise ConfigError(
            f"a window needs a {wide} x {tall} tile that leaves the {width} x {height} image; "
            "keep windows that far away from the right and lower edge"
        )
    return np.lib.stride_tricks.sliding_window_view(pixels, (tall, wide, 3))[ys, xs, 0], tops - ys, lefts - xs


def compress_tiles(tiles: UInt8Array, level: int, codec: Codec = JPEG) -> UInt8Array:
    """Compress tiles uint8 [N, T, U, 3] as mosaics, images one tile high; returns the same shape."""
    count, tall, wide = tiles.shape[:3]
    fitting = codec.max_side // wide
    if count > fitting:
        parts = [compress_tiles(tiles[start : start + fitting], level, codec) for start in range(0, count, fitting)]
        return np.concatenate(parts)
    mosaic = tiles.transpose(1, 0, 2, 3).reshape(tall, count * wide, 3)
    return codec.compress(mosaic, level).reshape(tall, count, wide, 3).transpose(1, 0, 2, 3)


def cut_inner(tiles: UInt8Array, tops: IntArray, lefts: IntArray, size: int) -> UInt8Array:
    """One window out of each tile: uint8 [N, size, size, 3]."""
    windows = np.lib.stride_tricks.sliding_window_view(tiles, (1, size, size, 3))[:, :, :, 0, 0]
    return windows[np.arange(len(tiles)), tops, lefts]
