"""JPEG: Pillow gets the segments that pixels depend on, and no more scans than a picture needs.

Layer: Pillow; no keras, no beam, no pyarrow.
"""

import struct

from PIL import Image, JpegImagePlugin

from q1net_core.errors import ImageError
from q1net_core.images.guards.bounds import Guarded, check_size, corrupt
from q1net_core.images.guards.tiff import read_directory
from q1net_core.jpeg.markers import (
    APP0,
    APP1,
    APP2,
    APP14,
    DQT,
    EOI,
    JPG,
    PROGRESSIVE_FRAMES,
    SOI,
    SOS,
    Segment,
    iter_segments,
    read_start,
)
from q1net_core.records import Status

MAX_METADATA_BYTES = 1 << 17
MAX_SCANS = 1000
MAX_SCANS_OF_LARGEST_IMAGE = 32
NUMBER_OF_IMAGES = 0xB001
# Tables, frames and restart intervals, and the two segments that tell the colour space.
KEPT = frozenset(range(0xC0, 0xD0)) - {JPG} | frozenset(range(DQT, APP0 + 1)) | {SOI, EOI, APP14}


def guard_jpeg(encoded: bytes, max_pixels: int) -> Guarded:
    """Drop metadata where there is much, refuse too many scans; the name is MPO for several pictures in one file."""
    frame, colour_space, segments, scan = read_start(encoded)
    if scan is None:
        raise corrupt("JPEG", "no scan found")
    height, width, components = (frame.height, frame.width, frame.declared) if frame else (0, 0, 0)
    check_size("JPEG", width, height, max_pixels)
    if (frame and frame.marker in PROGRESSIVE_FRAMES) or encoded[scan + 4 : scan + 5] != bytes([components]):
        check_scans(encoded, scan, width, height, max_pixels)
    name = "MPO" if is_mpo(encoded, segments) else "JPEG"
    return Guarded(drop_metadata(encoded, segments, scan), name, colour_space)


def drop_metadata(encoded: bytes, segments: list[Segment], scan: int) -> bytes:
    """The same file without what pixels do not depend on, where there is much of it before byte ``scan``."""
    # Pillow joins Exif segments in quadratic time and steps through junk bytewise.
    if scan <= MAX_METADATA_BYTES:
        return encoded
    whole = memoryview(encoded)
    kept = [whole[:2], *(whole[at : max(start, end)] for marker, at, start, end in segments if marker in KEPT)]
    return b"".join([*kept, whole[scan:]]) if scan - sum(map(len, kept)) > MAX_METADATA_BYTES else encoded


def is_mpo(encoded: bytes, segments: list[Segment]) -> bool:
    """Whether the file holds several pictures and Pillow calls it MPO."""
    several = False
    for marker, _, start, end in segments:
        if marker == APP1 and encoded.find(b' hdrgm:Version="', start, end) >= 0:
            # A photo with a gain map is not, although it is stored as several pictures.
            return False
        if marker == APP2 and encoded.startswith(b"MPF\0", start):
            several = several or count_pictures(encoded[start + 4 : end]) > 1
    return several


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
    for marker, *_ in iter_segments(encoded, at):
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
