"""Pixels + level -> pixels as that codec leaves them, whole images or only the windows that are needed.

Layer: numpy and Pillow; no keras, no beam, no pyarrow.
"""

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image

from q1net_core.errors import ConfigError
from q1net_core.patches import IntArray, cut_windows
from q1net_core.records import UInt8Array

# 4:2:0 codes 16x16 pixels as one unit; smooth chroma upsampling then looks one chroma sample, 2 pixels, further.
MCU = 16
CHROMA_REACH = 2
# libjpeg's limit on width and height.
MAX_SIDE = 65_500


def encode_jpeg(pixels: UInt8Array, level: int) -> bytes:
    """Pixels uint8 [H, W, 3] -> JPEG bytes by libjpeg-turbo at quality ``level`` 1-100, 4:2:0, standard tables."""
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=level, subsampling="4:2:0")
    return buffer.getvalue()


def compress_jpeg(pixels: UInt8Array, level: int) -> UInt8Array:
    """Pixels uint8 [H, W, 3] -> the same picture after JPEG at quality ``level`` 1-100, 4:2:0."""
    return np.asarray(Image.open(BytesIO(encode_jpeg(pixels, level)), formats=("JPEG",)))


@dataclass(frozen=True, slots=True)
class Codec:
    """One way to lose quality: ``compress(pixels, level)`` for every level of ``levels``, the worst first."""

    compress: Callable[[UInt8Array, int], UInt8Array]
    levels: range


CODECS = {"jpeg": Codec(compress_jpeg, range(1, 101))}


def tile_starts(window_starts: IntArray, size: int) -> tuple[IntArray, int]:
    """Where to cut along one axis so that windows of ``size`` pixels compress as they would inside the whole image.

    Returns the starts, multiples of the 16-pixel coding unit, and the one tile length that serves all windows.
    """
    starts = np.maximum(window_starts - CHROMA_REACH, 0) // MCU * MCU
    reach = int(np.max(window_starts + size + CHROMA_REACH - starts, initial=MCU))
    return starts, -(-reach // MCU) * MCU


def cut_tiles(pixels: UInt8Array, tops: IntArray, lefts: IntArray, size: int) -> tuple[UInt8Array, IntArray, IntArray]:
    """Tiles around windows, with the windows' places inside them: uint8 [N, T, T, 3], int [N], int [N].

    Raises ConfigError where identity would be lost: if a tile would leave the image, for the encoder invents pixels
    there, or if a window lies within 2 pixels of the left edge, where a mosaic has another tile's chroma beside it.
    """
    if np.any(lefts < CHROMA_REACH):
        raise ConfigError(
            f"a window starts {lefts.min()} pixels from the left edge; keep windows {CHROMA_REACH} pixels away from it"
        )
    (ys, tall), (xs, wide) = tile_starts(tops, size), tile_starts(lefts, size)
    length = max(tall, wide)
    height, width = pixels.shape[:2]
    if len(ys) and (int(ys.max()) + length > height or int(xs.max()) + length > width):
        raise ConfigError(
            f"a window needs a {length} x {length} tile that leaves the {width} x {height} image; "
            f"keep windows {length} pixels away from the right and lower edge"
        )
    return cut_windows(pixels, ys, xs, length), tops - ys, lefts - xs


def compress_tiles(tiles: UInt8Array, level: int, codec: Codec = CODECS["jpeg"]) -> UInt8Array:
    """Compress tiles uint8 [N, T, T, 3] as mosaics, images one tile high; returns the same shape."""
    count, length = tiles.shape[:2]
    fitting = MAX_SIDE // length
    if count > fitting:
        parts = [compress_tiles(tiles[start : start + fitting], level, codec) for start in range(0, count, fitting)]
        return np.concatenate(parts)
    mosaic = tiles.transpose(1, 0, 2, 3).reshape(length, count * length, 3)
    return codec.compress(mosaic, level).reshape(length, count, length, 3).transpose(1, 0, 2, 3)


def cut_inner(tiles: UInt8Array, tops: IntArray, lefts: IntArray, size: int) -> UInt8Array:
    """One window out of each tile: uint8 [N, size, size, 3]."""
    windows = np.lib.stride_tricks.sliding_window_view(tiles, (1, size, size, 3))[:, :, :, 0, 0]
    return windows[np.arange(len(tiles)), tops, lefts]


def compress_windows(pixels: UInt8Array, tops: IntArray, lefts: IntArray, level: int, size: int) -> UInt8Array:
    """Windows of an image as they look after JPEG at ``level``: uint8 [N, size, size, 3].

    Bit-identical to compressing the whole image and cutting, at the cost of the windows' surroundings only.
    """
    tiles, inner_tops, inner_lefts = cut_tiles(pixels, tops, lefts, size)
    return cut_inner(compress_tiles(tiles, level), inner_tops, inner_lefts, size)
