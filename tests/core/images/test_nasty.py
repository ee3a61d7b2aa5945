"""Files made to do harm: cut at every segment, bombs, absurd metadata, hundreds of frames."""

import io
import re
import struct
import zlib
from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest
from image_files import PHOTO, encode, ordinary, photo, png
from memory import at_most
from PIL import Image

from q1net_core.errors import ImageError
from q1net_core.images.decode import Limits, decode
from q1net_core.jpeg.header import read_jpeg_header
from q1net_core.records import Status

LIMITS = Limits(max_pixels=4_000_000)
# Of memory that a small file may cost, KiB.
BOUND = 150_000


def status_of(encoded: bytes) -> Status:
    """``ok``, or the status of the error; anything else that is raised fails the test."""
    read_jpeg_header(encoded)
    try:
        decode(encoded, LIMITS)
    except ImageError as error:
        return error.status
    return Status.OK


def jpeg_cuts(encoded: bytes) -> Iterator[int]:
    """Where a marker begins, its length, its payload."""
    for found in re.finditer(rb"\xff[\xc0-\xfe]", encoded):
        yield from (found.start(), found.start() + 1, found.start() + 2, found.start() + 3, found.start() + 4)


def chunk_cuts(encoded: bytes, start: int, order: str, head: int, tail: int) -> Iterator[int]:
    """Where a chunk of a PNG or RIFF file begins, its name and its payload, and the middle of that."""
    at = start
    while at + 8 <= len(encoded):
        (length,) = struct.unpack_from(order, encoded, at + head)
        yield from (at, at + 4, at + 8, at + 8 + length // 2)
        at += 8 + length + tail + (length % 2 if not tail else 0)


def cuts_of(format: str, encoded: bytes) -> list[int]:
    if format == "JPEG":
        return list(jpeg_cuts(encoded))
    if format == "PNG":
        return list(chunk_cuts(encoded, 8, ">I", 0, 4))
    if format == "WEBP":
        return list(chunk_cuts(encoded, 12, "<I", 4, 0))
    return list(range(0, len(encoded), max(1, len(encoded) // 60)))


@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_cut_at_every_segment(progressive: bool) -> None:
    encoded = encode(PHOTO, "JPEG", progressive=progressive, exif=Image.Exif().tobytes(), comment=b"x" * 50)
    cuts = cuts_of("JPEG", encoded)
    assert len(cuts) > 40
    found = {status_of(encoded[:cut]) for cut in cuts}
    assert found <= {Status.CORRUPT, Status.UNSUPPORTED, Status.EMPTY, Status.OK}
    assert Status.CORRUPT in found


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF", "GIF", "BMP", "AVIF", "JPEG2000"])
def test_cut_at_every_chunk(format: str) -> None:
    encoded = ordinary(format)
    cuts = cuts_of(format, encoded)
    assert len(cuts) >= 4
    found = {status_of(encoded[:cut]) for cut in cuts}
    assert found <= {Status.CORRUPT, Status.UNSUPPORTED, Status.EMPTY, Status.OK, Status.TOO_LARGE}
    assert found & {Status.CORRUPT, Status.UNSUPPORTED}


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "JPEG2000", "AVIF"])
def test_every_bit_of_the_first_bytes_flipped(format: str) -> None:
    encoded = ordinary(format)
    found = set()
    for place in range(min(80, len(encoded)) * 8):
        flipped = bytearray(encoded)
        flipped[place // 8] ^= 1 << place % 8
        found.add(status_of(bytes(flipped)))
    assert found <= set(Status) - {Status.MISSING, Status.UNREADABLE, Status.EMPTY}
    assert len(found) > 1


@cache
def deflated(size: int) -> bytes:
    """So many zeros, less than a hundredth as long."""
    packer = zlib.compressobj(1)
    return b"".join(packer.compress(bytes(1 << 20)) for _ in range(size >> 20)) + packer.flush()


def raw_png(header: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in [(b"IHDR", header), *chunks, (b"IEND", b"")]
    )
    return b"\x89PNG\r\n\x1a\n" + body


HEADER = struct.pack(">IIBBBBB", 64, 48, 8, 2, 0, 0, 0)


def tiff_bomb() -> bytes:
    """A strip of 200 MiB of zeros for a picture of 64 x 48 pixels."""
    data = deflated(200 << 20)
    entries = [(256, 4, 64), (257, 4, 48), (258, 3, 8), (259, 3, 8), (262, 3, 1), (273, 4, 200), (277, 3, 1)]
    entries += [(278, 4, 48), (279, 4, len(data))]
    head = struct.pack("<2sHLH", b"II", 42, 8, len(entries))
    for tag, kind, value in entries:
        head += struct.pack("<HHLL", tag, kind, 1, value)
    return (head + bytes(4)).ljust(200, b"\0") + data


def gif_bomb() -> bytes:
    """A screen of 65535 x 65535 pixels."""
    encoded = bytearray(ordinary("GIF"))
    encoded[6:10] = struct.pack("<HH", 65_535, 65_535)
    return bytes(encoded)


def looping_exif() -> bytes:
    """A directory whose next directory is itself, and whose sub-directory too."""
    entry = struct.pack("<HHLL", 0x8769, 4, 1, 8)
    return b"Exif\0\0" + b"II*\0" + struct.pack("<LH", 8, 1) + entry + struct.pack("<L", 8)


def jpeg_with(marker: int, *payloads: bytes) -> bytes:
    encoded = ordinary("JPEG")
    extra = b"".join(struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload for payload in payloads)
    return encoded[:2] + extra + encoded[2:]


def icc_parts(count: int, claimed: int) -> list[bytes]:
    return [b"ICC_PROFILE\0" + bytes([part % 256, claimed]) + b"\xff" * 60_000 for part in range(1, count + 1)]


NASTY = {
    "png whose rows inflate to 200 MiB": lambda: raw_png(HEADER, (b"IDAT", deflated(200 << 20))),
    "png whose profile inflates to 200 MiB": lambda: raw_png(
        HEADER, (b"iCCP", b"x\0\0" + deflated(200 << 20)), (b"IDAT", zlib.compress(bytes(48 * 193)))
    ),
    "png whose text inflates to 200 MiB": lambda: raw_png(
        HEADER, (b"zTXt", b"x\0\0" + deflated(200 << 20)), (b"IDAT", zlib.compress(bytes(48 * 193)))
    ),
    "png of 100,000 text chunks": lambda: raw_png(
        HEADER, *[(b"tEXt", b"k\0v")] * 100_000, (b"IDAT", zlib.compress(bytes(48 * 193)))
    ),
    "png of 2,000,000 x 1 pixels": lambda: png(struct.pack(">IIBBBBB", 2_000_000, 1, 8, 0, 0, 0, 0), bytes(2_000_001)),
    "png of 0 pixels": lambda: png(struct.pack(">IIBBBBB", 0, 48, 8, 2, 0, 0, 0), b""),
    "tiff strip that inflates to 200 MiB": tiff_bomb,
    "gif screen of 4 gigapixels": gif_bomb,
    "gif of 500 frames": lambda: encode(
        photo(20, 20).quantize(8), "GIF", save_all=True,
        append_images=[photo(20, 20).rotate(n).quantize(8) for n in range(500)],
    ),
    "webp of 300 frames": lambda: encode(
        photo(20, 20), "WEBP", save_all=True, append_images=[photo(20, 20).rotate(n) for n in range(300)], duration=10
    ),
    "apng of 300 frames": lambda: encode(
        photo(20, 20), "PNG", save_all=True, append_images=[photo(20, 20).rotate(n) for n in range(300)]
    ),
    "tiff of 300 pages": lambda: encode(
        photo(20, 20), "TIFF", save_all=True, append_images=[photo(20, 20)] * 300
    ),
    "exif that loops": lambda: jpeg_with(0xE1, looping_exif()),
    "exif of nothing but its name": lambda: jpeg_with(0xE1, b"Exif\0\0", b"Exif"),
    "profile in 255 parts of which there are 100": lambda: jpeg_with(0xE2, *icc_parts(100, 255)),
    "profile of part 0 of 0": lambda: jpeg_with(0xE2, *icc_parts(3, 0)),
    "jpeg of 500 comments": lambda: jpeg_with(0xFE, *[b"c" * 65_000] * 500),
}  # fmt: skip


@pytest.mark.parametrize("name", NASTY)
def test_nasty_files_cost_little_and_become_pixels_or_an_error(name: str) -> None:
    encoded = NASTY[name]()
    with at_most(BOUND + len(encoded) // 256):
        found = status_of(encoded)
    assert found in (Status.OK, Status.CORRUPT, Status.TOO_LARGE, Status.UNSUPPORTED)
    if name.startswith(("exif", "profile", "gif of", "webp of", "apng", "tiff of", "jpeg of")):
        assert found is Status.OK


def test_the_bombs_are_what_they_say() -> None:
    assert len(zlib.decompress(deflated(4 << 20))) == 4 << 20
    with Image.open(io.BytesIO(NASTY["gif of 500 frames"]())) as image:
        assert image.n_frames > 300
    sound = raw_png(HEADER, (b"IDAT", zlib.compress(bytes(48 * 193))))
    np.testing.assert_array_equal(decode(sound).pixels, np.zeros((48, 64, 3)))
