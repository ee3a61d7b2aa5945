"""The markers of a JPEG file and the colour space they mean: the one place where JPEG bytes are walked.

Layer: standard library; no keras, no beam, no pyarrow.

Nothing here raises, whatever the bytes are, and everything takes time linear in their length.

Source: ITU-T T.81 Annex B; colour spaces as in libjpeg's jdapimin.c.
"""

import re
import struct
from collections.abc import Iterator
from enum import StrEnum
from itertools import islice
from typing import NamedTuple

DHT, JPG, DAC, SOI, EOI, SOS, DQT, DNL = 0xC4, 0xC8, 0xCC, 0xD8, 0xD9, 0xDA, 0xDB, 0xDC
APP0, APP1, APP2, APP14, APP15 = 0xE0, 0xE1, 0xE2, 0xEE, 0xEF
# Frame headers (SOF).
FRAMES = frozenset(range(0xC0, 0xD0)) - {DHT, JPG, DAC}
PROGRESSIVE_FRAMES = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
LOSSLESS_FRAMES = frozenset({0xC3, 0xC7, 0xCB, 0xCF})
# How many may come before the pixels: far above what encoders write.
MAX_SEGMENTS = 65_536
# A pattern that crosses a whole scan in one search: zero bytes (stuffing), restarts, fill bytes and the codes that
# libjpeg refuses are no markers here.
MARKER = re.compile(rb"\xff[\xc0-\xcf\xd8-\xfe]")


class Segment(NamedTuple):
    """A marker, the byte it stands ``at``, and the bounds of its payload.

    ``end`` lies beyond the end of a file that is cut, and before ``start`` where the length given is impossible. SOI
    and EOI have no payload.
    """

    marker: int
    at: int
    start: int
    end: int


class Component(NamedTuple):
    """One component of a frame: its name, its sampling factors, and the slot of its quantization table."""

    ident: int
    across: int
    down: int
    slot: int


class Frame(NamedTuple):
    """A frame header: ``declared`` is the number of components that it names, ``components`` are those that it has."""

    marker: int
    precision: int
    height: int
    width: int
    declared: int
    components: tuple[Component, ...]


class ColourSpace(StrEnum):
    """What the planes of a JPEG file are, as libjpeg takes them."""

    GREY = "grey"
    YCBCR = "ycbcr"
    RGB = "rgb"
    CMYK = "cmyk"
    YCCK = "ycck"
    OTHER = "other"


class Start(NamedTuple):
    """What a JPEG file says before its first scan.

    ``frame`` is the first frame header, if any, and ``colour_space`` that of its components. ``segments`` are all
    complete ones, and ``scan`` is the byte that the first scan's marker stands at; None if there is no scan.
    """

    frame: Frame | None
    colour_space: ColourSpace
    segments: list[Segment]
    scan: int | None


def iter_segments(encoded: bytes, at: int = 2) -> Iterator[Segment]:
    """Every marker from byte ``at`` on, with the bounds of its payload; entropy-coded data and junk are skipped.

    Ends where the bytes do. A marker that lacks its length, because the file is cut there, is left out.
    """
    while found := MARKER.search(encoded, at):
        at = found.end()
        marker = encoded[at - 1]
        if marker in (SOI, EOI):
            yield Segment(marker, at - 2, at, at)
            continue
        if at + 2 > len(encoded):
            return
        start, end = at + 2, at + (encoded[at] << 8 | encoded[at + 1])
        yield Segment(marker, at - 2, start, end)
        at = max(start, end)


def read_frame(marker: int, payload: bytes) -> Frame | None:
    """A frame header (T.81 B.2.2) from the payload of its segment; None if that is too short to tell the size."""
    if len(payload) < 6:
        return None
    precision, height, width, declared = struct.unpack_from(">BHHB", payload)
    whole = (len(payload) - 6) // 3
    components = tuple(
        Component(ident, sampling >> 4, sampling & 15, slot)
        for ident, sampling, slot in struct.iter_unpack("3B", payload[6 : 6 + 3 * min(declared, whole)])
    )
    return Frame(marker, precision, height, width, declared, components)


def name_colour_space(idents: bytes, jfif: bool, transform: int | None) -> ColourSpace:
    """The colour space of a frame, by libjpeg's rule.

    Args:
        idents: the names of its components, one byte each.
        jfif: a JFIF segment comes before the first scan.
        transform: what the last Adobe segment before the first scan says; None without one.
    """
    match len(idents):
        case 1:
            return ColourSpace.GREY
        case 3:
            # JFIF allows nothing but YCbCr; names count only where no segment tells.
            rgb = not jfif and (idents == b"RGB" if transform is None else transform == 0)
            return ColourSpace.RGB if rgb else ColourSpace.YCBCR
        case 4:
            return ColourSpace.YCCK if transform else ColourSpace.CMYK
    return ColourSpace.OTHER


def read_start(encoded: bytes) -> Start:
    """What a JPEG file says before its first scan, which is all that its colour space depends on."""
    frame, jfif, transform, scan = None, False, None, None
    segments = []
    for segment in islice(iter_segments(encoded), MAX_SEGMENTS):
        marker, at, start, end = segment
        if marker == SOS:
            scan = at
        if marker == SOS or end > len(encoded):
            break
        segments.append(segment)
        if marker == APP0:
            # libjpeg takes a shorter segment for something else.
            jfif = jfif or (end - start >= 14 and encoded.startswith(b"JFIF\0", start))
        elif marker == APP14 and end - start >= 12 and encoded.startswith(b"Adobe", start):
            transform = encoded[start + 11]
        elif marker in FRAMES and frame is None:
            frame = read_frame(marker, encoded[start:end])
        elif marker == SOI:
            # A file of tables alone may come before the picture; but for the tables, libjpeg starts anew.
            frame, jfif, transform = None, False, None
    idents = bytes(component.ident for component in frame.components) if frame else b""
    return Start(frame, name_colour_space(idents, jfif, transform), segments, scan)
