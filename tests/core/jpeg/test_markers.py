"""Markers: where segments lie, the colour space as libjpeg takes it, and bytes that are broken."""

from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jpeg_segments import EOI, HEIGHT, JFIF, SOI, WIDTH, adobe, dqt, recolour, segment, sof, sos
from pictures import encode_jpeg, make_picture
from PIL import Image

from q1net_core.arrays import UInt8Array
from q1net_core.jpeg.header import read_jpeg_header
from q1net_core.jpeg.markers import (
    FRAMES,
    ColourSpace,
    Component,
    Frame,
    Segment,
    iter_segments,
    name_colour_space,
    read_frame,
    read_start,
)
from q1net_core.jpeg.tables import standard_tables

PICTURE = make_picture(3, 32, 40)
COLOUR = encode_jpeg(PICTURE, 80, subsampling="4:4:4")
SHORT_JFIF = segment(0xE0, b"JFIF\0\1\1")
NAMES = (b"\1\2\3", b"\0\1\2", b"RGB", b"rgb", b"YCc")
HEADS = {
    "nothing": (),
    "JFIF": (JFIF,),
    "short JFIF": (SHORT_JFIF,),
    "short Adobe": (segment(0xEE, b"Adobe\0\0\0\0\0\0"),),
    "two Adobes": (adobe(0), adobe(1)),
    "Adobe, then JFIF": (adobe(0), JFIF),
    **{f"Adobe {transform}": (adobe(transform),) for transform in (0, 1, 2, 3)},
}


def save(image: Image.Image, **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, "JPEG", **options)
    return buffer.getvalue()


def payloads(encoded: bytes) -> list[tuple[int, bytes]]:
    return [(marker, encoded[start:end]) for marker, _, start, end in iter_segments(encoded)]


def test_segments_are_found_in_order_and_nothing_between_them_counts() -> None:
    frame, scan = sof((1, 0x11, 0)), segment(0xDA, b"\1\1\0\0\x3f\0")
    entropy = b"\x12\xff\0\x34\xff\xd0\x56\xff\xd7\xff\xff"
    encoded = SOI + JFIF + b"junk\xff\0" + b"\xff\xff\xff" + frame + scan + entropy + EOI
    assert payloads(encoded) == [(0xE0, JFIF[4:]), (0xC0, frame[4:]), (0xDA, scan[4:]), (0xD9, b"")]


def test_what_looks_like_markers_inside_a_segment_does_not_count() -> None:
    comment = segment(0xFE, COLOUR)
    assert payloads(SOI + comment + EOI) == [(0xFE, COLOUR), (0xD9, b"")]


def test_a_cut_segment_ends_beyond_the_file_and_an_impossible_one_before_its_start() -> None:
    assert list(iter_segments(SOI + b"\xff\xe1\0\x40abc")) == [Segment(0xE1, 2, 6, 68)]
    assert list(iter_segments(SOI + b"\xff\xe1\0")) == []
    assert list(iter_segments(SOI + b"\xff")) == []
    (first, second) = iter_segments(SOI + b"\xff\xe1\0\1" + EOI)
    assert first.end < first.start
    assert second.marker == 0xD9


def test_a_frame_is_read_as_far_as_it_goes() -> None:
    parts = (1, 0x21, 0), (2, 0x11, 1), (3, 0x12, 1)
    payload = sof(*parts)[4:]
    components = tuple(Component(ident, factors >> 4, factors & 15, slot) for ident, factors, slot in parts)
    assert read_frame(0xC2, payload) == Frame(0xC2, 8, HEIGHT, WIDTH, 3, components)
    assert read_frame(0xC0, payload + b"more") == Frame(0xC0, 8, HEIGHT, WIDTH, 3, components)
    assert read_frame(0xC0, payload[:-1]) == Frame(0xC0, 8, HEIGHT, WIDTH, 3, components[:2])
    assert read_frame(0xC0, payload[:5]) is None


def pixels_of(encoded: bytes, mode: str | None = None) -> UInt8Array:
    """Pixels as libjpeg gives them, or with ``mode`` YCbCr the planes before colour conversion."""
    image = Image.open(BytesIO(encoded))
    if mode:
        image.draft(mode, image.size)
    return np.asarray(image)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("idents", NAMES)
def test_three_components_are_what_libjpeg_takes_them_for(idents: bytes, head: str) -> None:
    encoded = recolour(COLOUR, idents, *HEADS[head])
    expected = {"ycbcr": pixels_of(COLOUR), "rgb": pixels_of(COLOUR, "YCbCr")}
    assert np.array_equal(pixels_of(encoded), expected[read_start(encoded).colour_space])


@pytest.mark.parametrize("head", HEADS)
def test_four_components_are_what_libjpeg_takes_them_for(head: str) -> None:
    inks = save(Image.fromarray(PICTURE).convert("CMYK"))
    encoded = recolour(inks, b"\1\2\3\4", *HEADS[head])
    as_stored = np.array_equal(pixels_of(encoded), pixels_of(recolour(inks, b"\1\2\3\4")))
    assert read_start(encoded).colour_space == ("cmyk" if as_stored else "ycck")
    assert as_stored == (head not in ("two Adobes", "Adobe 1", "Adobe 2", "Adobe 3"))


def test_one_component_is_grey_whatever_its_segments_say() -> None:
    grey = save(Image.fromarray(PICTURE).convert("L"))
    assert {read_start(recolour(grey, b"R", *head)).colour_space for head in HEADS.values()} == {ColourSpace.GREY}


def test_only_what_stands_before_the_first_scan_tells_the_colour_space() -> None:
    after = recolour(COLOUR, b"RGB")[:-2] + adobe(1) + JFIF + EOI
    thumbnail = recolour(COLOUR, b"RGB", segment(0xE1, b"Exif\0\0" + adobe(1)))
    for encoded in (after, thumbnail):
        assert read_start(encoded).colour_space == "rgb"


def test_tables_alone_may_come_before_the_picture() -> None:
    split = COLOUR.index(b"\xff\xc0")
    tables, picture = COLOUR[2:split], recolour(COLOUR, b"RGB")[2:]
    assert JFIF in tables
    encoded = SOI + tables + EOI + SOI + picture
    start = read_start(encoded)
    assert (start.colour_space, start.scan) == ("rgb", encoded.index(b"\xff\xda"))
    abbreviated = SOI + tables + EOI + SOI + picture[picture.index(b"\xff\xc0") :]
    for file in (encoded, abbreviated):
        assert np.array_equal(pixels_of(file), pixels_of(recolour(COLOUR, b"RGB")))
        assert read_jpeg_header(file) == read_jpeg_header(recolour(COLOUR, b"RGB"))


@pytest.mark.parametrize("idents", [b"", b"\1\2", b"\1\2\3\4\5"])
def test_other_numbers_of_components_have_no_colour_space_that_is_known(idents: bytes) -> None:
    assert name_colour_space(idents, jfif=True, transform=1) is ColourSpace.OTHER


def test_a_file_without_a_frame_has_no_start() -> None:
    for encoded in (b"", SOI, SOI + JFIF + EOI, SOI + sos(1) + sof((1, 0x11, 0)), COLOUR[:100]):
        frame, colour_space, _, _ = read_start(encoded)
        assert (frame, colour_space) == (None, "other")


SEEDS = [
    COLOUR,
    encode_jpeg(PICTURE, 50, progressive=True),
    save(Image.fromarray(PICTURE).convert("CMYK")),
    recolour(COLOUR, b"RGB", adobe(1)),
    SOI + dqt((0, tuple(standard_tables(50)[0].tolist()))) + sof((1, 0x11, 0), marker=0xC3) + sos(1) + EOI,
]


def walk_bytewise(encoded: bytes) -> list[Segment]:
    """iter_segments step by step, without patterns."""
    found, at = [], 2
    while at + 1 < len(encoded):
        marker = encoded[at + 1]
        if encoded[at] != 0xFF or marker < 0xC0 or 0xD0 <= marker <= 0xD7 or marker == 0xFF:
            at += 1
        elif marker in (0xD8, 0xD9):
            at += 2
            found.append(Segment(marker, at - 2, at, at))
        elif at + 4 <= len(encoded):
            end = at + 2 + encoded[at + 2] * 256 + encoded[at + 3]
            found.append(Segment(marker, at, at + 4, end))
            at = max(at + 4, end)
        else:
            break
    return found


def check_reading(encoded: bytes) -> None:
    assert list(iter_segments(encoded)) == walk_bytewise(encoded)
    frame, colour_space, segments, scan = read_start(encoded)
    assert scan is None or encoded[scan : scan + 2] == b"\xff\xda"
    assert segments == walk_bytewise(encoded)[: len(segments)]
    assert frame is None or frame.marker in FRAMES
    assert (colour_space is ColourSpace.OTHER) == (frame is None or len(frame.components) not in (1, 3, 4))
    header = read_jpeg_header(encoded)
    assert header is None or header.components == len(frame.components)


@given(st.binary(max_size=300), st.lists(st.sampled_from(sorted({0, 2, 0xC4, 0xD8, 0xD9, 0xDA, 0xE0, 0xEE, *FRAMES}))))
def test_random_bytes_are_walked_as_if_byte_by_byte(tail: bytes, markers: list[int]) -> None:
    between = [tail[index * 7 % (len(tail) + 1) :][:40] for index in range(len(markers))]
    made = b"".join(b"\xff" + bytes([marker]) + junk for marker, junk in zip(markers, between, strict=True))
    for encoded in (tail, SOI + tail, SOI + made, SOI + made + COLOUR[2:]):
        check_reading(encoded)


@given(
    st.sampled_from(SEEDS),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255), st.booleans()), max_size=6),
    st.floats(0, 1.2),
)
def test_damaged_files_are_walked_as_if_byte_by_byte(
    seed: bytes, changes: list[tuple[float, int, bool]], kept: float
) -> None:
    damaged = bytearray(seed)
    for position, value, in_header in changes:
        damaged[min(int(position * (200 if in_header else len(damaged))), len(damaged) - 1)] = value
    check_reading(bytes(damaged[: int(kept * len(damaged))]))


def test_as_many_segments_as_anyone_writes_are_looked_at_and_no_more() -> None:
    empty = segment(0xFE, b"")
    assert read_start(SOI + empty * 60_000 + COLOUR[2:]).frame is not None
    assert read_start(SOI + empty * 70_000 + COLOUR[2:]).frame is None
    assert len(list(iter_segments(SOI + empty * 70_000))) == 70_000
