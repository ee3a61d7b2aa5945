"""JPEG 2000: the codestream's size and tiles.

Layer: standard library; no keras, no beam, no pyarrow.
"""

import struct

from q1net_core.errors import ImageError
from q1net_core.images.guards.bounds import MAX_HEADER_PARTS, Guarded, check_size, corrupt
from q1net_core.records import Status

MIN_TILE_PIXELS = 1024


def guard_jpeg2000(encoded: bytes, max_pixels: int) -> Guarded:
    """Refuse a size, components or tiles out of bounds."""
    # Pillow sees the wrapper's size, OpenJPEG allocates by the codestream's, and for every tile of it.
    at = 0 if encoded[:2] == b"\xff\x4f" else find_codestream(encoded)
    if encoded[at : at + 4] != b"\xff\x4f\xff\x51" or at + 42 > len(encoded):
        raise corrupt("JPEG2000", "no codestream header found")
    right, bottom, left, top, tile_width, tile_height, tile_left, tile_top, components = struct.unpack_from(
        ">8IH", encoded, at + 8
    )
    width, height = right - left, bottom - top
    check_size("JPEG2000", width, height, max_pixels)
    if components > 4:
        raise ImageError(Status.UNSUPPORTED, f"JPEG2000 image has {components} components, expected 1 to 4")
    if not tile_width or not tile_height or tile_left > left or tile_top > top:
        raise corrupt("JPEG2000", "the tile grid is impossible")
    tiles = -(-(right - tile_left) // tile_width) * -(-(bottom - tile_top) // tile_height)
    if tiles > 64 + width * height // MIN_TILE_PIXELS:
        raise ImageError(Status.UNSUPPORTED, f"JPEG2000 image of {width}x{height} pixels has {tiles} tiles, too many")
    return Guarded(encoded, "JPEG2000")


def find_codestream(encoded: bytes) -> int:
    """Where the codestream starts in the boxes of a JP2 file."""
    at = 0
    for _ in range(MAX_HEADER_PARTS):
        if at + 16 > len(encoded):
            break
        length, name, long_length = struct.unpack_from(">I4sQ", encoded, at)
        if name == b"jp2c":
            return at + (16 if length == 1 else 8)
        if length == 1:
            length = long_length
        if length < 8:
            break
        at += length
    raise corrupt("JPEG2000", "no codestream found")
