"""JPEG: Pillow gets the segments that pixels depend on, and no more scans than a picture needs.

Layer: Pillow; no keras, no beam, no pyarrow.
"""

import struct
from itertools import islice

from PIL import Image, JpegImagePlugin

from q1net_core.errors import ImageError
from q1net_core.images.guards.bounds import check_size, corrupt
from q1net_core.images.guards.tiff import read_directory
from q1net_core.jpeg.markers import (
    APP0,
    APP1,
    APP2,
    APP14,
    EOI,
    FRAMES,
    MAX_SEGMENTS,
    PROGRESSIVE_FRAMES,
    SOI,
    SOS,
    iter_segments,
    read_frame,
)
from q1net_core.records import Status

MAX_METADATA_BYTES = 1 << 17
MAX_SCANS = 1000
MAX_SCANS_OF_LARGEST_IMAGE = 32
NUMBER_OF_IMAGES = 0xB001
# Tables, frames and restart intervals, and the two segments that tell the colour space.
KEPT = frozenset(range(0xC0, 0xD0)) - {0xC8} | frozenset(range(0xDB, 0xE0)) | {APP0, APP14}


def guard_jpeg(encoded: bytes, max_pixels: int) -> tuple[bytes, str]:
    """Drop metadata where there is much, refuse too many scans; the name is MPO for several pictures in one file."""
    # Pillow joins Exif segments in quadratic time and steps through junk bytewise.
    kept: list[bytes | memoryview] = [b"\xff\xd8"]
    name, has_gain_map, progressive = "JPEG", False, False
    height = width = components = 0
    for marker, start, end in islice(iter_segments(encoded), MAX_SEGMENTS):
        at = start - 4
        if marker == SOS:
            check_size("JPEG", width, height, max_pixels)
            if progressive or encoded[start : start + 1] != bytes([components]):
                check_scans(encoded, at, width, height, max_pixels)
            if at - sum(map(len, kept)) > MAX_METADATA_BYTES:
                kept.append(memoryview(encoded)[at:])
                encoded = b"".join(kept)
            return encoded, "JPEG" if has_gain_map else name
        payload = encoded[start:end]
        if marker in KEPT:
            kept.append(encoded[at : max(start, end)])
        if marker in FRAMES and (frame := read_frame(marker, payload)):
            height, width, components = frame.height, frame.width, frame.count
            progressive = marker in PROGRESSIVE_FRAMES
        elif marker == APP1:
            # Pillow calls a photo with a gain map plain JPEG although it is stored as several pictures.
            has_gain_map = has_gain_map or b' hdrgm:Version="' in payload
        elif marker == APP2 and payload.startswith(b"MPF\0") and count_pictures(payload[4:]) > 1:
            name = "MPO"
    raise corrupt("JPEG", "no scan found")


def count_pictures(block: bytes) -> int:
    """How many pictures the directory of an MPF segment lists; 1 where it cannot be read."""
    try:
        return next((entry.value for entry in read_directory(block) if entry.tag == NUMBER_OF_IMAGES), 1)
    except (struct.error, ImageError):
        return 1


def check_scans(encoded: bytes, at: int, width: int, height: int, max_pixels: int) -> None:
    """Refuse a file with too many scans from byte ``at`` to its end.

    Every scan visits every block, in as little as a few bytes of file: thousands of scans keep libjpeg busy for
    minutes. A baseline file with all components in its first scan needs no check: libjpeg stops after that one.

    Raises:
        ImageError: TOO_LARGE.
    """
    allowed = min(MAX_SCANS, MAX_SCANS_OF_LARGEST_IMAGE * max_pixels // (width * height))
    scans = 0
    for marker, _, _ in iter_segments(encoded, at):
        if marker in (SOI, EOI):
            return
        scans += marker == SOS
        if scans > allowed:
            raise ImageError(
                Status.TOO_LARGE, f"JPEG image of {width}x{height} pixels has more scans than the {allowed} expected"
            )


class JpegPixels(JpegImagePlugin.JpegImageFile):
    """Pillow's reader without what it does beside decoding."""

    def getexif(self) -> Image.Exif:
        """No Exif: Pillow reads the resolution from it at open, and entries that overlap multiply its size."""
        return Image.Exif()
