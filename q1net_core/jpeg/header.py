"""What a JPEG file says of its own compression: bytes -> tables, sampling, encoder family, quality; nothing is decoded.

Layer: standard library and numpy; no keras, no beam, no pyarrow.

``JpegHeader.match`` is one of ``HEADER_MATCHES``:

- ``exact``: every table is libjpeg's own for one level; that level is the quality.
- ``exact_luma``: only the luma table is; its level is the quality, the chroma's own may be in ``chroma_quality``.
- ``photoshop``, ``save_for_web``, ``mozjpeg``: every table is this encoder's. The quality is the libjpeg level nearest
  to the luma table.
- ``custom``: anything else, quality likewise.

Earlier names win: at quality 100 mozjpeg and libjpeg write the same tables, so that is ``exact``.
"""

import hashlib
import struct
from collections.abc import Iterator
from itertools import chain, islice
from operator import itemgetter

from q1net_core.jpeg.markers import (
    DNL,
    DQT,
    EOI,
    LOSSLESS_FRAMES,
    MAX_SEGMENTS,
    PROGRESSIVE_FRAMES,
    SOI,
    SOS,
    ColourSpace,
    Frame,
    iter_segments,
    read_start,
)
from q1net_core.jpeg.tables import (
    PHOTOSHOP_TABLES,
    SAVE_FOR_WEB_TABLES,
    ZIGZAG,
    Table,
    find_chroma_levels,
    find_luma_levels,
    find_mozjpeg_levels,
    fit_quality,
)
from q1net_core.records import JpegHeader

HEADER_MATCHES = ("exact", "exact_luma", "photoshop", "save_for_web", "mozjpeg", "custom")
FAMILIES = {"photoshop": PHOTOSHOP_TABLES, "save_for_web": SAVE_FOR_WEB_TABLES}

# How much finer luma is sampled than chroma (across, down) -> the usual name.
SUBSAMPLINGS = {
    (1, 1): "4:4:4",
    (2, 1): "4:2:2",
    (2, 2): "4:2:0",
    (1, 2): "4:4:0",
    (4, 1): "4:1:1",
    (4, 2): "4:1:0",
}
# As many as libjpeg takes; the standard allows 255.
MAX_COMPONENTS = 10

# Where the chroma components stand, by the colour space; elsewhere there is none.
CHROMA = {ColourSpace.YCBCR: (1, 2), ColourSpace.YCCK: (1, 2)}

_to_natural = itemgetter(*(ZIGZAG.index(i) for i in range(64)))
_to_zigzag = itemgetter(*ZIGZAG)


def _read_tables(payload: bytes) -> Iterator[tuple[int, Table]]:
    """Slot and table, in natural order, of each complete table in a DQT segment (T.81 B.2.4.1)."""
    position = 0
    while position < len(payload):
        wide, slot = divmod(payload[position], 16)
        layout = ">64H" if wide else ">64B"
        end = position + 1 + struct.calcsize(layout)
        if wide > 1 or slot > 3 or end > len(payload):
            return
        yield slot, _to_natural(struct.unpack_from(layout, payload, position + 1))
        position = end


def _is_possible(frame: Frame) -> bool:
    """Whether libjpeg takes such components."""
    complete = 1 <= frame.declared <= MAX_COMPONENTS and len(frame.components) == frame.declared
    return complete and all(1 <= part.across <= 4 and 1 <= part.down <= 4 for part in frame.components)


def name_subsampling(factors: tuple[tuple[int, int], ...]) -> str:
    """Sampling factors (across, down) of each component -> ``grey``, ``4:2:0`` and so on, else as ``3x1,1x1,1x1``."""
    if len(factors) == 1:
        return "grey"
    raw = ",".join(f"{across}x{down}" for across, down in factors)
    if len(set(factors)) == 1:
        return SUBSAMPLINGS[1, 1]
    # A fourth component (the K of YCCK) is sampled like luma.
    if len(factors) not in (3, 4) or factors[1] != factors[2] or factors[3:] not in ((), factors[:1]):
        return raw
    (across, down), (chroma_across, chroma_down) = factors[:2]
    if across % chroma_across or down % chroma_down:
        return raw
    return SUBSAMPLINGS.get((across // chroma_across, down // chroma_down), raw)


def fingerprint_tables(tables: tuple[Table, ...]) -> str:
    """MD5 over the tables as one DQT segment would hold them: number, then 64 steps in zig-zag order, for each.

    Tables are numbered 0, 1 ... as given; one with steps above 255 is written as 16-bit, high byte first. For files
    that define only the tables they use this is the digest of ExifTool's JPEGDigest lists (the part before ``:``).
    """
    digest = hashlib.md5(usedforsecurity=False)
    for number, table in enumerate(tables):
        wide = max(table) > 255
        digest.update(struct.pack(">B64H" if wide else ">65B", wide << 4 | number, *_to_zigzag(table)))
    return digest.hexdigest()


def _find_common(levels: list[frozenset[int]]) -> frozenset[int]:
    return frozenset.intersection(*levels) if levels else frozenset()


def _judge(luma: list[Table], chroma: list[Table]) -> tuple[int, str, int | None, int | None]:
    """Quality, match, luma level and chroma level of the luma-like and the chroma components' tables."""
    luma_quality = max(_find_common([find_luma_levels(table) for table in luma]), default=None)
    chroma_levels = _find_common([find_chroma_levels(table) for table in chroma])
    # Levels 1 to 3 share a chroma table: the luma's level if it is among them, else the highest.
    chroma_quality = luma_quality if luma_quality in chroma_levels else max(chroma_levels, default=None)
    if luma_quality is not None:
        match = "exact" if not chroma or chroma_quality == luma_quality else "exact_luma"
        return luma_quality, match, luma_quality, chroma_quality
    # A step of 0 is forbidden, yet a broken file can say it.
    quality = fit_quality([max(step, 1) for step in luma[0]])
    for match, pairs in FAMILIES.items():
        for pair in pairs.values():
            if set(luma) == {pair.luma} and set(chroma) <= {pair.chroma}:
                return quality, match, None, chroma_quality
    if all(find_mozjpeg_levels(table) for table in luma + chroma):
        return quality, "mozjpeg", None, chroma_quality
    return quality, "custom", None, chroma_quality


def read_jpeg_header(encoded: bytes) -> JpegHeader | None:
    """Read the header of a JPEG file, in time linear in its length; never raises, whatever the bytes are.

    None if the bytes are no JPEG or too broken to tell: no frame header, or no quantization table for one of its
    components. Lossless JPEG has no such tables either. A file cut anywhere after them is read as far as it goes.

    A component's table is the one in force at its first scan, as libjpeg takes it. Embedded thumbnails and whatever
    follows the end of the image (more pictures of an MPO) do not count. ``subsampling`` is ``grey`` for one component.
    ``luma_quality`` judges the tables of the components that are not chroma: all of them in grey, RGB and CMYK.

    Source: ITU-T T.81 Annex B; colour spaces as in libjpeg's jdapimin.c.
    """
    if not encoded.startswith(b"\xff\xd8"):
        return None
    frame, colour_space, first_segments, scan = read_start(encoded)
    # Lossless frames quantize nothing, so there is no quality to tell.
    if frame is None or frame.marker in LOSSLESS_FRAMES or not _is_possible(frame):
        return None
    components, height, scans = frame.components, frame.height, 0
    slots: dict[int, Table] = {}
    in_force: dict[int, Table] = {}
    later = iter_segments(encoded, len(encoded) if scan is None else scan)
    for marker, _, start, end in chain(first_segments, islice(later, MAX_SEGMENTS)):
        if end < start or end > len(encoded) or (scans and marker in (SOI, EOI)):
            break
        payload = encoded[start:end]
        if marker == DQT:
            slots.update(_read_tables(payload))
        elif marker == DNL and height == 0 and len(payload) >= 2:
            height = int.from_bytes(payload[:2])
        elif marker == SOS:
            scans += 1
            if len(in_force) < len(components):
                scanned = payload[1 : 1 + 2 * payload[0] : 2] if payload else b""
                for index, part in enumerate(components):
                    if part.ident in scanned and part.slot in slots:
                        in_force.setdefault(index, slots[part.slot])
    used = [in_force.get(index) or slots.get(part.slot) for index, part in enumerate(components)]
    found = [table for table in used if table is not None]
    if len(found) < len(components):
        return None
    chroma = CHROMA.get(colour_space, ())
    quality, match, luma_quality, chroma_quality = _judge(
        [table for index, table in enumerate(found) if index not in chroma],
        [found[index] for index in chroma],
    )
    tables = tuple(
        table for _, table in dict.fromkeys((part.slot, table) for part, table in zip(components, found, strict=True))
    )
    return JpegHeader(
        width=frame.width,
        height=height,
        components=len(components),
        precision=frame.precision,
        progressive=frame.marker in PROGRESSIVE_FRAMES,
        subsampling=name_subsampling(tuple((part.across, part.down) for part in components)),
        scans=scans,
        tables=tables,
        tables_md5=fingerprint_tables(tables),
        quality=float(quality),
        match=match,
        luma_quality=luma_quality,
        chroma_quality=chroma_quality,
    )
