"""AVIF, PNG, WebP, BMP and PPM: at most a few header fields need a look.

Layer: standard library; no keras, no beam, no pyarrow.
"""

import re
import struct

from q1net_core.errors import ImageError
from q1net_core.images.guards.bounds import MAX_HEADER_PARTS, Guarded, check_size, corrupt
from q1net_core.records import Status

MAX_PPM_HEADER_BYTES = 65_536
MAX_PIXELS_DECODED_IN_PYTHON = 1 << 23


def guard_avif(encoded: bytes, max_pixels: int) -> Guarded:
    """Nothing to do: libavif only parses at open and bounds its own allocations."""
    return Guarded(encoded, "AVIF")


def guard_png(encoded: bytes, max_pixels: int) -> Guarded:
    """Refuse a size out of bounds, and too many chunks before the pixels."""
    # An animation's first frame may ask for a background of the whole size at open.
    at = 8
    for _ in range(MAX_HEADER_PARTS):
        if at + 8 > len(encoded):
            raise corrupt("PNG", "no image data found")
        length, name = struct.unpack_from(">I4s", encoded, at)
        if name == b"IDAT":
            return Guarded(encoded, "PNG")
        if name == b"IHDR" and at + 16 <= len(encoded):
            width, height = struct.unpack_from(">II", encoded, at + 8)
            check_size("PNG", width, height, max_pixels)
        at += length + 12
    raise corrupt("PNG", f"more than {MAX_HEADER_PARTS} chunks before the image data")


def guard_webp(encoded: bytes, max_pixels: int) -> Guarded:
    """Refuse a size out of bounds."""
    # libwebp's animation decoder, which Pillow uses for still images too, allocates two canvases at open.
    if len(encoded) < 30:
        raise corrupt("WEBP", "the header is incomplete")
    kind = encoded[12:16]
    if kind == b"VP8X":
        width = 1 + int.from_bytes(encoded[24:27], "little")
        height = 1 + int.from_bytes(encoded[27:30], "little")
    elif kind == b"VP8L":
        bits = int.from_bytes(encoded[21:25], "little")
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    elif kind == b"VP8 ":
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", encoded, 26))
    else:
        raise corrupt("WEBP", f"the first chunk is {kind!r}, expected VP8, VP8L or VP8X")
    check_size("WEBP", width, height, max_pixels)
    return Guarded(encoded, "WEBP")


def guard_bmp(encoded: bytes, max_pixels: int) -> Guarded:
    """Refuse what Pillow would decode for minutes."""
    # Pillow expands run lengths in Python, byte by byte where a row is filled up.
    if len(encoded) >= 34 and encoded[14] >= 40 and encoded[30] in (1, 2):
        width, height = struct.unpack_from("<II", encoded, 18)
        check_slow("run-length BMP", width, height)
    return Guarded(encoded, "BMP")


def guard_ppm(encoded: bytes, max_pixels: int) -> Guarded:
    """Refuse long headers, and what Pillow would decode for minutes."""
    # Pillow steps through header comments byte by byte, and decodes text and unusual ranges in Python.
    header = PPM_HEADER.match(encoded, 0, MAX_PPM_HEADER_BYTES)
    if header is None:
        raise corrupt("PPM", "no width and height in the header")
    width, height, highest = int(header["width"]), int(header["height"]), header["highest"]
    if header["magic"] in (b"P1", b"P2", b"P3") or (header["magic"] != b"P4" and highest not in (b"255", b"65535")):
        check_slow("PPM that Pillow decodes in Python", width, height)
    return Guarded(encoded, "PPM")


PPM_HEADER = re.compile(
    rb"(?P<magic>P[1-6])GAP(?P<width>\d++)GAP(?P<height>\d++)(?:GAP(?P<highest>\d++))?".replace(
        b"GAP", rb"(?:\s++|#[^\r\n]*+[\r\n])++"
    )
)


def check_slow(kind: str, width: int, height: int) -> None:
    """Refuse a size that takes too long where Python code decodes; raises ImageError TOO_LARGE."""
    if width * height > MAX_PIXELS_DECODED_IN_PYTHON:
        raise ImageError(
            Status.TOO_LARGE,
            f"{kind}: header says {width}x{height} pixels, expected at most {MAX_PIXELS_DECODED_IN_PYTHON}",
        )
