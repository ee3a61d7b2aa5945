"""Small image files of every format, ordinary and with false sizes, for the tests of decoding."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from q1net_core.errors import ImageError
from q1net_core.images.decode import Limits, decode
from q1net_core.records import Status, UInt8Array


def photo(height: int = 40, width: int = 56) -> Image.Image:
    """Smooth noise: no flat areas, no exact symmetry, survives lossy codecs."""
    coarse = np.random.default_rng(7).integers(0, 256, (6, 7, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def encode(image: Image.Image, format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def pixels_of(image: Image.Image) -> UInt8Array:
    return np.asarray(image.convert("RGB"))


def failure(encoded: bytes, limits: Limits | None = None) -> ImageError:
    with pytest.raises(ImageError) as caught:
        decode(encoded, limits or Limits())
    assert caught.value.status is not Status.OK
    assert "\n" not in str(caught.value)
    return caught.value


PHOTO = photo()
# 12 colours, so that palettes are exact.
FLAT = PHOTO.quantize(12)
OPAQUE_FORMATS = ["JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF", "JPEG2000", "PPM"]


def ordinary(format: str) -> bytes:
    return encode(FLAT if format == "GIF" else PHOTO, format)


def png(header: bytes, rows: bytes, *before: tuple[bytes, bytes]) -> bytes:
    chunks = [(b"IHDR", header), *before, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


def with_size(format: str, width: int, height: int) -> bytes:
    """An ordinary file whose header has been made to say another size."""
    encoded = bytearray(ordinary(format))
    if format == "JPEG":
        at, size = encoded.index(b"\xff\xc0") + 5, struct.pack(">HH", height, width)
    elif format == "PNG":
        return png(struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0), b"")
    elif format == "WEBP":
        head = b"VP8X" + struct.pack("<IB3x", 10, 2)
        return b"RIFF\xff\0\0\0WEBP" + head + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    elif format == "AVIF":
        at, size = encoded.index(b"ispe") + 8, struct.pack(">II", width, height)
    elif format == "TIFF":
        for tag, side, new in ((256, 56, width), (257, 40, height)):
            at = encoded.index(struct.pack("<HHLL", tag, 4, 1, side))
            encoded[at : at + 12] = struct.pack("<HHLL", tag, 4, 1, new)
        return bytes(encoded)
    elif format == "BMP":
        at, size = 18, struct.pack("<II", width, height)
    elif format == "GIF":
        at, size = 6, struct.pack("<HH", width, height)
    elif format == "JPEG2000":
        at, size = encoded.index(b"\xff\x4f\xff\x51") + 8, struct.pack(">II", width, height)
    else:
        return b"P6 %d %d 255\n" % (width, height)
    encoded[at : at + len(size)] = size
    return bytes(encoded)
