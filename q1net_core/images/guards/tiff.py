"""TIFF: bounds on the first directory's tags, and an opener that leaves the picture as it is stored.

Layer: Pillow; no keras, no beam, no pyarrow.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from PIL import Image, TiffImagePlugin

from q1net_core.errors import ImageError
from q1net_core.images.guards.bounds import MAX_HEADER_PARTS, Guarded, check_size, corrupt
from q1net_core.records import Status

MAX_STRIPS = 1 << 20
WIDTH, HEIGHT, COMPRESSION, ORIENTATION, TILE_WIDTH, TILE_HEIGHT = 256, 257, 259, 274, 322, 323
# Where strips and tiles lie, and how large they are, is said by tags below this one.
STRUCTURE_TAGS = 400
SHORT = 3
TYPE_BYTES = {1: 1, 2: 1, SHORT: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a directory: its tag, bytes of data, values, and the value where it is one inline integer or else 0.

    The entry itself lies at ``start`` to ``end``.
    """

    tag: int
    size: int
    count: int
    value: int
    start: int
    end: int


def read_directory(block: bytes) -> Iterator[Entry]:
    """The entries of the first directory, as far as Pillow reads them.

    Raises:
        struct.error: the directory is cut.
        ImageError: CORRUPT, it has too many entries.
    """
    order = ">" if block[:2] == b"MM" else "<"
    big = struct.unpack_from(order + "H", block, 2)[0] == 43
    at = struct.unpack_from(order + ("Q" if big else "L"), block, 8 if big else 4)[0]
    entries = struct.unpack_from(order + ("Q" if big else "H"), block, at)[0]
    if entries > MAX_HEADER_PARTS:
        raise corrupt("TIFF", f"the directory has {entries} entries, expected at most {MAX_HEADER_PARTS}")
    entry = struct.Struct(order + ("HHQ8s" if big else "HHL4s"))
    first = at + (8 if big else 2)
    for start in range(first, first + entries * entry.size, entry.size):
        tag, kind, count, data = entry.unpack_from(block, start)
        size = count * TYPE_BYTES.get(kind, 0)
        value = 0
        if size > len(data):
            offset = struct.unpack(order + ("Q" if big else "L"), data)[0]
            if offset + size > len(block):
                return  # Pillow stops reading here as well
        elif count == 1 and kind in (SHORT, 4, 16):
            value = struct.unpack_from(order + {SHORT: "H", 4: "L", 16: "Q"}[kind], data)[0]
        yield Entry(tag, size, count, value, start, start + entry.size)


def guard_tiff(encoded: bytes, max_pixels: int) -> Guarded:
    """Refuse tags that share their data, too many strips and huge tiles; say that the picture is not turned."""
    # Pillow copies every tag's data at open, so tags that share one region multiply it, and makes objects per strip.
    # libtiff allocates a whole tile, which may be far larger than the image it is cut to.
    total = 0
    sides = {WIDTH: 0, HEIGHT: 0, TILE_WIDTH: 1, TILE_HEIGHT: 1}
    turned = []
    try:
        for entry in read_directory(encoded):
            total += entry.size
            if entry.tag in sides:
                sides[entry.tag] = entry.value
            if entry.tag < STRUCTURE_TAGS and entry.size > entry.count > MAX_STRIPS:
                raise corrupt("TIFF", f"tag {entry.tag} has {entry.count} values, expected at most {MAX_STRIPS}")
            if entry.tag == COMPRESSION and entry.value not in TiffImagePlugin.COMPRESSION_INFO:
                raise ImageError(
                    Status.UNSUPPORTED, f"TIFF image uses compression {entry.value}, which Pillow does not decode"
                )
            if entry.tag == ORIENTATION and entry.value != 1:
                turned.append(entry)
            if total > len(encoded):
                raise corrupt("TIFF", "the tags' data overlap")
    except struct.error as error:
        raise corrupt("TIFF", f"the directory is incomplete ({error})") from error
    check_size("TIFF", sides[WIDTH], sides[HEIGHT], max_pixels)
    if sides[TILE_WIDTH] * sides[TILE_HEIGHT] > max(max_pixels, 1 << 16):
        raise ImageError(
            Status.TOO_LARGE,
            f"TIFF tiles have {sides[TILE_WIDTH]}x{sides[TILE_HEIGHT]} pixels, "
            f"expected at most max_pixels={max_pixels}",
        )
    return Guarded(straighten(encoded, turned), "TIFF")


def straighten(encoded: bytes, turned: list[Entry]) -> bytes:
    """The same file with orientation 1, top left, in all entries ``turned``: Pillow would swap width and height."""
    if not turned:
        return encoded
    order = ">" if encoded[:2] == b"MM" else "<"
    changed = bytearray(encoded)
    for entry in turned:
        layout = "HHLHxx" if entry.end - entry.start == 12 else "HHQH6x"
        changed[entry.start : entry.end] = struct.pack(order + layout, ORIENTATION, SHORT, 1, 1)
    return bytes(changed)


class TiffPixels(TiffImagePlugin.TiffImageFile):
    """Pillow's reader without what it does beside decoding."""

    def load_prepare(self) -> None:
        """Make the picture here: Pillow would do it only below its own process-wide limit on pixels."""
        self.im = Image.new(self.mode, self.size).im
        super().load_prepare()

    def load_end(self) -> None:
        """Do not turn the picture as its metadata ask, XMP among them."""
