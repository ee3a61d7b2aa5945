"""JPEG headers: every level and layout by Pillow, every family, hand-made files, and bytes that are broken."""

from functools import cache
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jpeg_segments import EOI, HEIGHT, JFIF, SOI, WIDTH, adobe, dqt, segment, sof, sos
from PIL import Image

from q1net_core.jpeg.header import (
    HEADER_MATCHES,
    fingerprint_tables,
    name_subsampling,
    read_jpeg_header,
)
from q1net_core.jpeg.tables import (
    JPEG_QUALITIES,
    LIBJPEG_9_CHROMA,
    PHOTOSHOP_TABLES,
    SAVE_FOR_WEB_TABLES,
    Table,
    mozjpeg_table,
    scale_table,
    standard_tables,
)
from q1net_core.records import JpegHeader

STYLES = {"baseline": {}, "progressive": {"progressive": True}, "optimised": {"optimize": True}}
# Digests of the 13 Photoshop levels in ExifTool's list.
PHOTOSHOP_MD5 = [
    "683506a889c78d9bc230a0c7ee5f62f3",
    "bc490651af6592cd1dbbbc4fa2cfa1fb",
    "ce4286d9f07999524c3c7472b065c5ab",
    "cbfbfef12aead8841585ef605c789b9f",
    "a0772e73dec2bdc4057c27da47bff376",
    "7ef06dbde538346b8b01c6b538ca70c6",
    "0ff225f58a214f79d1d85d78f6f5dab8",
    "8a8603650fa5ae5fdcf4b2eaf0b23638",
    "44f583ed6b65cb8ba915ec5df051616c",
    "de94c5591bafc7456ccaef430271b907",
    "a6841b35e9ffefa5d83a0445dddd2621",
    "6e3f6a3a5a1eae6155331d42d6f968dd",
    "5379e0133d4439b6f7c7039fc7f7734f",
]


@cache
def draw(mode: str = "RGB") -> Image.Image:
    noise = np.random.default_rng(7).integers(0, 60, (HEIGHT, WIDTH, 3))
    ramp = np.linspace(0, 190, WIDTH)[None, :, None]
    return Image.fromarray((noise + ramp).astype(np.uint8)).convert(mode)


def save(mode: str = "RGB", **options: object) -> bytes:
    buffer = BytesIO()
    draw(mode).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def read(encoded: bytes) -> JpegHeader:
    header = read_jpeg_header(encoded)
    assert header is not None
    assert header.match in HEADER_MATCHES
    return header


def flat(table: np.ndarray) -> Table:
    return tuple(table.tolist())


YCC = ((1, 0x22, 0), (2, 0x11, 1), (3, 0x11, 1))
LUMA_80, CHROMA_80 = map(flat, standard_tables(80))
LUMA_30, CHROMA_30 = map(flat, standard_tables(30))
FOREIGN: Table = tuple(range(1, 65))


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0", "grey"])
def test_every_level_is_exact(subsampling: str, style: str) -> None:
    grey = subsampling == "grey"
    for level in JPEG_QUALITIES:
        options = STYLES[style] | ({} if grey else {"subsampling": subsampling})
        header = read(save("L" if grey else "RGB", quality=level, **options))
        tables = tuple(map(flat, standard_tables(level)))[: 1 if grey else 2]
        scans = {"progressive": 6 if grey else 10}.get(style, 1)
        assert header == JpegHeader(
            width=WIDTH,
            height=HEIGHT,
            components=1 if grey else 3,
            precision=8,
            progressive=style == "progressive",
            subsampling=subsampling,
            scans=scans,
            tables=tables,
            tables_md5=fingerprint_tables(tables),
            quality=float(level),
            match="exact",
            luma_quality=level,
            chroma_quality=None if grey else level,
        )


@pytest.mark.parametrize("level", PHOTOSHOP_TABLES)
def test_photoshop_levels(level: int) -> None:
    pair = PHOTOSHOP_TABLES[level]
    header = read(save(qtables=[pair.luma, pair.chroma], subsampling=pair.subsampling))
    assert (header.match, header.subsampling) == ("photoshop", pair.subsampling)
    assert header.tables == (pair.luma, pair.chroma)
    assert header.tables_md5 == PHOTOSHOP_MD5[level]
    assert header.quality == [14, 18, 27, 40, 52, 64, 74, 70, 81, 87, 92, 96, 96][level]
    assert header.luma_quality is header.chroma_quality is None
    grey = read(save("L", qtables=[pair.luma]))
    assert (grey.match, grey.tables) == ("photoshop", (pair.luma,))


@pytest.mark.parametrize("level", SAVE_FOR_WEB_TABLES)
def test_save_for_web_levels(level: int) -> None:
    pair = SAVE_FOR_WEB_TABLES[level]
    header = read(save(qtables=[pair.luma, pair.chroma]))
    assert (header.match, header.tables) == ("save_for_web", (pair.luma, pair.chroma))


@pytest.mark.parametrize("level", [4, 10, 20, 50, 75, 80, 90, 99])
def test_mozjpeg(level: int) -> None:
    table = flat(mozjpeg_table(level))
    header = read(save(qtables=[table, table]))
    assert (header.match, header.tables) == ("mozjpeg", (table, table))
    assert header.quality is not None
    assert level - 12 <= header.quality < level
    coarser = read(save(qtables=[table, flat(mozjpeg_table(30))]))
    assert (coarser.match, coarser.quality) == ("mozjpeg", header.quality)


@pytest.mark.parametrize(("level", "quality"), [(100, 100), (1, 1), (3, 1)])
def test_tables_that_mozjpeg_shares_with_libjpeg_are_exact(level: int, quality: int) -> None:
    table = flat(mozjpeg_table(level))
    header = read(save(qtables=[table, table]))
    assert (header.match, header.quality, header.chroma_quality) == ("exact", quality, quality)


@pytest.mark.parametrize(
    ("luma", "chroma", "expected"),
    [
        (LUMA_80, CHROMA_80, (80, "exact", 80, 80)),
        (LUMA_80, CHROMA_30, (80, "exact_luma", 80, 30)),
        (LUMA_80, FOREIGN, (80, "exact_luma", 80, None)),
        (LUMA_80, LUMA_80, (80, "exact_luma", 80, None)),
        (LUMA_80, flat(scale_table(LIBJPEG_9_CHROMA, 80)), (80, "exact", 80, 80)),
        (flat(standard_tables(2)[0]), (255,) * 64, (2, "exact", 2, 2)),
        (LUMA_80, (255,) * 64, (80, "exact_luma", 80, 3)),
        (PHOTOSHOP_TABLES[6].luma, CHROMA_80, (74, "custom", None, 80)),
        (PHOTOSHOP_TABLES[6].luma, PHOTOSHOP_TABLES[7].chroma, (74, "custom", None, None)),
    ],
)
def test_luma_and_chroma_are_judged_separately(luma: Table, chroma: Table, expected: tuple[object, ...]) -> None:
    header = read(save(qtables=[luma, chroma]))
    assert (header.quality, header.match, header.luma_quality, header.chroma_quality) == expected


def test_third_table_of_its_own() -> None:
    both = (1, 0x11, 0), (2, 0x11, 1), (3, 0x11, 2)
    frame = sof(*both) + sos(1, 2, 3) + EOI
    same = read(SOI + dqt((0, LUMA_80), (1, CHROMA_80), (2, CHROMA_80)) + frame)
    assert (same.match, len(same.tables)) == ("exact", 3)
    other = read(SOI + dqt((0, LUMA_80), (1, CHROMA_80), (2, CHROMA_30)) + frame)
    assert (other.match, other.chroma_quality) == ("exact_luma", None)


def test_cjpeg_writes_16_bit_tables_at_low_quality() -> None:
    luma, chroma = (flat(table) for table in standard_tables(10, baseline=False))
    assert max(luma) > 255
    encoded = SOI + dqt((0, luma), wide=True) + dqt((1, chroma), wide=True) + sof(*YCC, marker=0xC1) + sos(1, 2, 3)
    header = read(encoded + EOI)
    assert (header.match, header.quality, header.chroma_quality) == ("exact", 10, 10)
    assert header.tables == (luma, chroma)
    small = read(SOI + dqt((0, LUMA_80), wide=True) + dqt((1, CHROMA_80)) + sof(*YCC) + sos(1, 2, 3) + EOI)
    assert small.tables_md5 == read(save(quality=80)).tables_md5


def test_fingerprint_ignores_the_layout_of_segments() -> None:
    frame = sof(*YCC) + sos(1, 2, 3) + EOI
    joined = SOI + dqt((0, LUMA_80), (1, CHROMA_80)) + frame
    swapped = SOI + dqt((1, CHROMA_80)) + b"\xff\xff\xff" + dqt((0, LUMA_80)) + dqt((3, FOREIGN)) + frame
    renumbered = SOI + dqt((2, LUMA_80), (3, CHROMA_80)) + sof((1, 0x22, 2), (2, 0x11, 3), (3, 0x11, 3)) + sos(1, 2, 3)
    assert read(joined) == read(swapped) == read(renumbered) == read(joined[:-2])


def test_tables_in_force_at_a_components_first_scan_count() -> None:
    start = SOI + dqt((0, LUMA_80), (1, CHROMA_80)) + sof(*YCC, marker=0xC2)
    later = dqt((0, FOREIGN), (1, FOREIGN))
    header = read(start + sos(1, 2, 3) + later + sos(1) + later + EOI)
    assert (header.match, header.quality, header.scans, header.progressive) == ("exact", 80, 2, True)
    apart = SOI + sof(*YCC) + dqt((0, LUMA_80)) + sos(1) + dqt((1, CHROMA_80)) + sos(2) + sos(3) + EOI
    assert (read(apart).match, read(apart).scans) == ("exact", 3)
    reused = SOI + sof((1, 0x11, 0), (2, 0x11, 0), (3, 0x11, 0))
    reused += dqt((0, LUMA_80)) + sos(1) + dqt((0, CHROMA_80)) + sos(2, 3) + EOI
    assert (read(reused).match, read(reused).tables) == ("exact", (LUMA_80, CHROMA_80))


@pytest.mark.parametrize(
    ("marker", "progressive"), [(0xC0, 0), (0xC1, 0), (0xC2, 1), (0xC5, 0), (0xC6, 1), (0xC9, 0), (0xCA, 1)]
)
def test_kinds_of_frames(marker: int, progressive: int) -> None:
    header = read(SOI + dqt((0, LUMA_80)) + sof((1, 0x11, 0), marker=marker, precision=12) + sos(1) + EOI)
    assert (header.progressive, header.precision, header.match) == (bool(progressive), 12, "exact")


def test_lossless_frames_have_no_header_quality() -> None:
    for marker in (0xC3, 0xC7, 0xCB, 0xCF):
        assert read_jpeg_header(SOI + dqt((0, LUMA_80)) + sof((1, 0x11, 0), marker=marker) + sos(1) + EOI) is None


def test_height_given_after_the_first_scan() -> None:
    start = SOI + dqt((0, LUMA_80)) + sof((1, 0x11, 0), height=0) + sos(1)
    assert read(start + EOI).height == 0
    assert read(start + segment(0xDC, b"\x01\x02") + EOI).height == 258


def test_restarts_and_stuffing_are_no_markers() -> None:
    encoded = save(quality=80, restart_marker_blocks=1)
    assert b"\xff\xd4" in encoded
    assert b"\xff\x00" in encoded
    assert (read(encoded).scans, read(encoded).match) == (1, "exact")


def test_colour_spaces() -> None:
    cmyk = read(save("CMYK", quality=80))
    assert (cmyk.components, cmyk.match, cmyk.subsampling, cmyk.tables) == (4, "exact", "4:4:4", (LUMA_80,))
    rgb = read(save(quality=80, keep_rgb=True))
    assert (rgb.match, rgb.subsampling, rgb.chroma_quality, rgb.tables) == ("exact", "4:4:4", None, (LUMA_80,))

    def match(*parts: tuple[int, int, int], head: bytes = b"") -> str:
        return read(SOI + head + dqt((0, LUMA_80), (1, CHROMA_80)) + sof(*parts) + sos(1, 2, 3, 4) + EOI).match

    assert match(*YCC) == match(*YCC, head=adobe(1)) == "exact"
    assert match(*YCC, head=adobe(0)) == "custom"
    assert match(*YCC, head=JFIF + adobe(0)) == "exact"
    assert match(*YCC, (4, 0x22, 0), head=adobe(2)) == "exact"
    assert match(*YCC, (4, 0x22, 0)) == "custom"
    assert match(*((ident, 0x11, 0) for ident in b"RGB")) == "exact"
    assert match(*((ident, 0x11, 0) for ident in b"abc")) == "exact_luma"
    assert match((1, 0x11, 0), (2, 0x11, 0)) == "exact"


@pytest.mark.parametrize(
    ("factors", "name"),
    [
        ("11", "grey"),
        ("22", "grey"),
        ("11 11 11", "4:4:4"),
        ("22 22 22", "4:4:4"),
        ("21 11 11", "4:2:2"),
        ("22 12 12", "4:2:2"),
        ("22 11 11", "4:2:0"),
        ("12 11 11", "4:4:0"),
        ("41 11 11", "4:1:1"),
        ("42 11 11", "4:1:0"),
        ("11 11 11 11", "4:4:4"),
        ("22 11 11 22", "4:2:0"),
        ("31 11 11", "3x1,1x1,1x1"),
        ("22 11 21", "2x2,1x1,2x1"),
        ("32 22 22", "3x2,2x2,2x2"),
        ("11 22 22", "1x1,2x2,2x2"),
        ("22 11 11 11", "2x2,1x1,1x1,1x1"),
        ("21 11", "2x1,1x1"),
    ],
)
def test_names_of_subsampling(factors: str, name: str) -> None:
    assert name_subsampling(tuple((int(across), int(down)) for across, down in factors.split())) == name


def test_embedded_and_following_images_do_not_count() -> None:
    second = draw().resize((16, 16))
    buffer = BytesIO()
    draw().save(buffer, "MPO", save_all=True, append_images=[second], quality=80)
    header = read(buffer.getvalue())
    assert (header.scans, header.width, header.match) == (1, WIDTH, "exact")

    plain = save(quality=80, progressive=True)
    thumbnail = save(quality=20)
    inside = SOI + segment(0xE1, b"Exif\0\0" + thumbnail) + segment(0xFE, thumbnail) + plain[2:]
    assert read(inside) == read(plain) == read(plain + thumbnail) == read(plain[:-2] + thumbnail)


def test_what_is_no_jpeg_has_no_header() -> None:
    buffer = BytesIO()
    draw().save(buffer, "PNG")
    complete = save(quality=80)
    tables, frame = dqt((0, LUMA_80)), sof((1, 0x11, 0))
    for encoded in (
        b"",
        b"\xff",
        SOI,
        SOI + EOI,
        buffer.getvalue(),
        b"\0" + complete,
        SOI + tables,
        SOI + frame,
        SOI + tables + sof((1, 0x11, 1)) + sos(1),
        SOI + tables + sof() + sos(),
        SOI + tables + sof((1, 0x01, 0)) + sos(1),
        SOI + tables + sof((1, 0x15, 0)) + sos(1),
        SOI + tables[:-1] + frame + sos(1),
        SOI + segment(0xDB, b"\x20" + bytes(64)) + frame + sos(1),
        SOI + b"\xff\xdb\0\1" + tables + frame + sos(1),
    ):
        assert read_jpeg_header(encoded) is None


def test_a_cut_file_is_read_as_far_as_it_goes() -> None:
    encoded = save(quality=80, progressive=True)
    whole = read(encoded)
    known = [header for size in range(len(encoded)) if (header := read_jpeg_header(encoded[:size])) is not None]
    assert [header.scans for header in known] == sorted(header.scans for header in known)
    assert (known[0].scans, known[-1].scans, known[-1]) == (0, 10, whole)
    assert {header.match for header in known} == {"exact"}


@given(tail=st.binary(max_size=400))
def test_garbage_never_raises(tail: bytes) -> None:
    for encoded in (tail, SOI + tail, SOI + dqt((0, LUMA_80)) + tail, SOI + tail + sof((1, 0x11, 0)) + tail):
        assert isinstance(read_jpeg_header(encoded), JpegHeader | None)


@given(
    progressive=st.booleans(),
    edits=st.lists(st.tuples(st.integers(0, 2000), st.binary(max_size=4), st.integers(0, 4)), max_size=8),
)
def test_damage_never_raises(progressive: bool, edits: list[tuple[int, bytes, int]]) -> None:
    encoded = _sample(progressive)
    for position, new, removed in edits:
        encoded = encoded[:position] + new + encoded[position + removed :]
    assert isinstance(read_jpeg_header(encoded), JpegHeader | None)


@cache
def _sample(progressive: bool) -> bytes:
    return save(quality=80, progressive=progressive)


def test_zero_steps_are_reported_and_do_not_raise() -> None:
    header = read(SOI + dqt((0, (0,) * 64)) + sof((1, 0x11, 0)) + sos(1) + EOI)
    assert (header.match, header.quality) == ("custom", 96)
