"""Formats that lose quality are told from those that do not, by every name Pillow gives them."""

from io import BytesIO
from typing import Any

import pytest
from pictures import make_picture
from PIL import Image

from q1net_core.images.lossless import is_lossy, riff_chunks


def encode(format: str, **settings: Any) -> bytes:
    buffer = BytesIO()
    Image.fromarray(make_picture(1)).save(buffer, format, **settings)
    return buffer.getvalue()


@pytest.mark.parametrize(("format", "lossy"), [("PNG", False), ("TIFF", False), ("JPEG", True), ("AVIF", True)])
def test_most_formats_say_it_by_their_name(format: str, lossy: bool) -> None:
    assert is_lossy(format, encode(format)) is lossy


@pytest.mark.parametrize("more", [{}, {"exif": b"odd"}])
@pytest.mark.parametrize("lossless", [False, True])
def test_webp_says_it_by_the_chunk_of_its_picture(lossless: bool, more: dict[str, bytes]) -> None:
    encoded = encode("WEBP", lossless=lossless, **more)
    assert is_lossy("WEBP", encoded) is not lossless
    assert list(riff_chunks(encoded))[:1] == [b"VP8X" if more else b"VP8L" if lossless else b"VP8 "]
