"""Odd image files by name, small ones and tricks, and what an audit says of each."""

import os
import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from pictures import PHOTOGRAPHS
from PIL import Image

MAX_BYTES, MAX_PIXELS = 30_000, 40_000
LATIN_1_NAME = os.fsdecode(b"caf\xe9.jpg")


def photograph(width: int = 64, height: int = 48) -> Image.Image:
    return (
        Image.open(PHOTOGRAPHS / "camera" / "airplane.png").convert("RGB").crop((300, 200, 300 + width, 200 + height))
    )


def encode(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def huge_png() -> bytes:
    """Header of a PNG that says 60000 x 60000 pixels, and a few bytes of them."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    )


def huge_jpeg() -> bytes:
    """A small JPEG whose frame header says 60000 x 60000 pixels."""
    encoded = encode(photograph())
    frame = encoded.index(b"\xff\xc0")
    return encoded[: frame + 5] + struct.pack(">HH", 60000, 60000) + encoded[frame + 9 :]


def deep_png() -> bytes:
    return encode(Image.fromarray(np.arange(64 * 48, dtype=np.uint16).reshape(48, 64) * 20), "PNG")


def palette_with_alpha() -> bytes:
    return encode(photograph().quantize(16), "PNG", transparency=bytes(range(0, 256, 16)))


def animation(kind: str) -> bytes:
    frames = [photograph(), photograph().transpose(Image.Transpose.FLIP_LEFT_RIGHT)]
    return encode(frames[0], kind, save_all=True, append_images=frames[1:], duration=50)


# Name -> content and the expected status, format and mode; listed as a folder, links below are added.
ODD_FILES: dict[str, tuple[Callable[[], bytes], str, str | None, str | None]] = {
    "zero.jpg": (lambda: b"", "empty", None, None),
    "truncated.jpg": (lambda: encode(photograph())[:-400], "corrupt", "JPEG", None),
    "page.jpg": (lambda: b"<!DOCTYPE html><html><body>403 Forbidden</body></html>", "unsupported", None, None),
    "noise.jpg": (lambda: bytes(range(256)) * 4, "unsupported", None, None),
    "huge.png": (huge_png, "too_large", None, None),
    "huge.jpg": (huge_jpeg, "too_large", "JPEG", None),
    "many_bytes.png": (lambda: encode(photograph(180, 180), "PNG"), "too_large", None, None),
    "many_pixels.jpg": (lambda: encode(photograph(201, 200)), "too_large", "JPEG", None),
    "pixels_at_the_limit.jpg": (lambda: encode(photograph(200, 200)), "ok", "JPEG", "RGB"),
    "tiny.png": (lambda: encode(photograph(8, 8), "PNG"), "too_small", "PNG", "RGB"),
    "narrow.jpg": (lambda: encode(photograph(64, 19)), "too_small", "JPEG", "RGB"),
    "one_patch.png": (lambda: encode(photograph(20, 20), "PNG"), "ok", "PNG", "RGB"),
    "cmyk.jpg": (lambda: encode(photograph().convert("CMYK")), "ok", "JPEG", "CMYK"),
    "grey.jpg": (lambda: encode(photograph().convert("L")), "ok", "JPEG", "L"),
    "deep.png": (deep_png, "ok", "PNG", "I;16"),
    "palette_with_alpha.png": (palette_with_alpha, "ok", "PNG", "P"),
    "animated.gif": (lambda: animation("GIF"), "ok", "GIF", "P"),
    "animated.webp": (lambda: animation("WEBP"), "ok", "WEBP", "RGB"),
    "progressive.jpg": (lambda: encode(photograph(), progressive=True), "ok", "JPEG", "RGB"),
    "really_jpeg.png": (lambda: encode(photograph()), "ok", "JPEG", "RGB"),
    LATIN_1_NAME: (lambda: encode(photograph()), "ok", "JPEG", "RGB"),
    "日本 #1 100%.jpg": (lambda: encode(photograph()), "ok", "JPEG", "RGB"),
}
BROKEN_LINKS = {"dead_link.jpg": "missing", "loop.jpg": "unreadable"}


def write_odd_files(folder: Path) -> Path:
    """Write them all, and the broken links; returns the folder."""
    for name, (make, *_) in ODD_FILES.items():
        (folder / name).write_bytes(make())
    (folder / "dead_link.jpg").symlink_to(folder / "gone.jpg")
    (folder / "loop.jpg").symlink_to(folder / "loop.jpg")
    return folder
