import io
import re
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from image_files import FLAT, OPAQUE_FORMATS, PHOTO, encode, failure, ordinary, pixels_of, with_size
from memory import at_most
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from q1net_core.images.decode import Limits, decode
from q1net_core.records import Status


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
def test_tiff_orientation_from_xmp_is_not_applied(compression: str) -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf tiff:Orientation="6"/></x:xmpmeta>'
    decoded = decode(encode(PHOTO, "TIFF", compression=compression, tiffinfo={700: xmp}))
    np.testing.assert_array_equal(decoded.pixels, pixels_of(PHOTO))


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "jpeg"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_tiff_orientation_is_not_applied(orientation: int, compression: str, big: bool) -> None:
    options = {"compression": compression, "big_tiff": big}
    turned = encode(PHOTO, "TIFF", tiffinfo={274: orientation}, **options)
    np.testing.assert_array_equal(decode(turned).pixels, decode(encode(PHOTO, "TIFF", **options)).pixels)


@pytest.mark.parametrize(("kind", "count", "layout"), [(3, 1, "HH"), (3, 2, "HH"), (4, 1, "L"), (6, 1, "BBBB")])
@pytest.mark.parametrize("order", "<>")
def test_tiff_orientation_of_any_type_is_not_applied(kind: int, count: int, layout: str, order: str) -> None:
    entries = [(256, 4, 1, "L", 3), (257, 4, 1, "L", 2), (258, 3, 1, "HH", 8), (259, 3, 1, "HH", 1)]
    entries += [(262, 3, 1, "HH", 1), (273, 4, 1, "L", 122), (274, kind, count, layout, 6)]
    entries += [(278, 4, 1, "L", 2), (279, 4, 1, "L", 6)]
    tiff = struct.pack(order + "2sHLH", b"II" if order == "<" else b"MM", 42, 8, len(entries))
    for tag, number, values, format, value in entries:
        tiff += struct.pack(order + "HHL" + format, tag, number, values, value, *[0] * (len(format) - 1))
    tiff += struct.pack(order + "L", 0)
    tiff += bytes(range(10, 70, 10))
    assert Image.open(io.BytesIO(tiff)).size == (2, 3)
    assert decode(tiff).pixels[..., 0].tolist() == [[10, 20, 30], [40, 50, 60]]


def test_gif_frame_with_its_own_palette_offset_and_comment() -> None:
    frame = encode(FLAT, "GIF", comment=b"hello", transparency=2)
    at = frame.index(b",")
    while frame[at + 1 : at + 9] != struct.pack("<HHHH", 0, 0, 56, 40):
        at = frame.index(b",", at + 1)
    shifted = frame[:6] + struct.pack("<HH", 60, 45) + frame[10 : at + 1] + struct.pack("<HH", 4, 5) + frame[at + 5 :]
    larger_than_screen = frame[:6] + struct.pack("<HH", 2, 3) + frame[10:]
    for encoded, shape in ((frame, (40, 56, 3)), (shifted, (45, 60, 3)), (larger_than_screen, (40, 56, 3))):
        decoded = decode(encoded)
        assert decoded.pixels.shape == shape
        with Image.open(io.BytesIO(encoded)) as image:
            np.testing.assert_array_equal(decoded.pixels, pixels_of(image))


def test_several_pictures_in_a_jpeg_are_an_mpo() -> None:
    encoded = encode(PHOTO, "MPO", save_all=True, append_images=[PHOTO.rotate(180)])
    decoded = decode(encoded)
    assert decoded.format == "MPO"
    np.testing.assert_array_equal(decoded.pixels, decode(encode(PHOTO, "JPEG")).pixels)
    gain_map = b'xmp hdrgm:Version="1.0"'
    ultra_hdr = encoded[:2] + b"\xff\xe1" + struct.pack(">H", len(gain_map) + 2) + gain_map + encoded[2:]
    assert decode(ultra_hdr).format == "JPEG"


@pytest.mark.parametrize("format", OPAQUE_FORMATS)
def test_a_header_of_60000_by_60000_is_refused_before_anything_is_allocated(format: str) -> None:
    encoded = with_size(format, 60_000, 60_000)
    with at_most(100_000):
        error = failure(encoded)
    # libavif has a limit of its own, below this size.
    assert error.status is (Status.CORRUPT if format == "AVIF" else Status.TOO_LARGE)


def scans_of(encoded: bytes) -> list[int]:
    return [found.start() for found in re.finditer(rb"\xff\xda", encoded)]


def test_thousands_of_scans_are_refused_before_any_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = encode(Image.new("RGB", (4000, 4000), (90, 120, 30)), "JPEG", progressive=True)
    last = encoded[scans_of(encoded)[-1] : -2]
    limits = Limits(max_pixels=20_000_000)
    assert decode(encoded, limits).pixels.shape == (4000, 4000, 3)
    monkeypatch.setattr(JpegImageFile, "load", lambda image: pytest.fail("decodes"))
    error = failure(encoded[:-2] + last * 3000 + b"\xff\xd9", limits)
    assert (error.status, "scans" in str(error)) == (Status.TOO_LARGE, True)


def test_scans_are_counted_by_structure_not_by_lookalikes() -> None:
    encoded = encode(PHOTO, "JPEG", progressive=True)
    first = scans_of(encoded)[0]
    lookalikes = b"\xff\xfe" + struct.pack(">H", 2 + 4000) + b"\xff\xda" * 2000
    between = encoded[: scans_of(encoded)[3]] + lookalikes + encoded[scans_of(encoded)[3] :]
    behind = encoded + b"\xff\xda" * 2000
    for tricky in (encoded[:first] + lookalikes + encoded[first:], between, behind):
        np.testing.assert_array_equal(decode(tricky).pixels, decode(encoded).pixels)


def jpeg_with(*segments: bytes) -> bytes:
    encoded = ordinary("JPEG")
    extra = b"".join(b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment for segment in segments)
    return encoded[:2] + extra + encoded[2:]


def count_calls(action: Callable[[], object]) -> int:
    """Calls of functions, Python's and built-in ones, that an action takes: work that no clock has to measure."""
    events = Counter[str]()
    before = sys.getprofile()
    sys.setprofile(lambda frame, event, argument: events.update((event,)))
    try:
        action()
    finally:
        sys.setprofile(before)
    return events["call"] + events["c_call"]


def test_metadata_costs_neither_work_nor_memory() -> None:
    overlapping = b"II*\0\x08\0\0\0" + struct.pack("<H", 5000)
    overlapping += b"".join(struct.pack("<HHLL", 1000 + tag, 7, 60_000, 0) for tag in range(5000))
    many_tags = b"II*\0\x08\0\0\0" + struct.pack("<H", 50_000)
    many_tags += b"".join(struct.pack("<HHLL", 400 + tag, 7, 600_000, 0) for tag in range(50_000)) + bytes(4)
    gif = ordinary("GIF")
    at = 13 + (3 << (gif[10] & 7) + 1)
    with at_most(250_000):
        expected = decode(ordinary("JPEG")).pixels
        for tricky in (
            jpeg_with(*[b"Exif\0\0" + bytes(65_500)] * 500),
            jpeg_with(b"Exif\0\0" + overlapping.ljust(65_500, b"\0")),
            ordinary("JPEG")[:20] + bytes(10_000_000) + ordinary("JPEG")[20:],
        ):
            np.testing.assert_array_equal(decode(tricky).pixels, expected)
            assert count_calls(partial(decode, tricky)) < 10_000
        commented = gif[:at] + b"!\xfe" + (b"\xff" + b"c" * 255) * 60_000 + b"\0" + gif[at:]
        np.testing.assert_array_equal(decode(commented).pixels, decode(gif).pixels)
        # One for each of its sub-blocks.
        assert count_calls(partial(decode, commented)) < 61_000
        assert failure(many_tags).status is Status.CORRUPT
        assert count_calls(partial(failure, many_tags)) < 1_000


def test_buffers_larger_than_the_image_are_refused() -> None:
    tags = [(256, 4), (257, 4), (258, 8), (259, 8), (262, 1), (277, 1), (322, 40_000), (323, 40_000), (324, 500)]
    tiled = b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags) + 1)
    tiled += b"".join(struct.pack("<HHLL", tag, 4, 1, value) for tag, value in [*tags, (325, 999)]) + bytes(1000)
    assert failure(tiled).status is Status.TOO_LARGE
    jp2 = bytearray(ordinary("JPEG2000"))
    at = jp2.index(b"\xff\x4f\xff\x51") + 24
    jp2[at : at + 8] = struct.pack(">II", 1, 1)
    assert "tiles" in str(failure(bytes(jp2)))
    run_length = (
        b"BM" + struct.pack("<IHHI", 0, 0, 0, 1078) + struct.pack("<IIIHHIIIIII", 40, 9000, 9000, 1, 8, 1, *[0] * 5)
    )
    assert failure(run_length + bytes(1100)).status is Status.TOO_LARGE
    assert failure(b"P3 9000 9000 255\n1 2 3").status is Status.TOO_LARGE


def test_a_postscript_file_never_starts_a_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", lambda *args, **options: pytest.fail("started a program"))
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n"
    assert failure(postscript).status is Status.UNSUPPORTED
