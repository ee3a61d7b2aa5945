"""Whether the format of an image file loses quality by itself.

Layer: standard library.
"""

from collections.abc import Iterator

# Lossless AVIF exists, but is not told from lossy before all of it is parsed.
LOSSY_FORMATS = ("JPEG", "MPO", "AVIF")


def is_lossy(format: str, encoded: bytes) -> bool:
    """Whether a file of this format has lost quality; of WebP, whether its picture is ``VP8`` and not ``VP8L``."""
    return format in LOSSY_FORMATS or (format == "WEBP" and b"VP8 " in riff_chunks(encoded))


def riff_chunks(encoded: bytes) -> Iterator[bytes]:
    """The names of a RIFF file's chunks, in order."""
    start = 12
    while start < len(encoded):
        yield encoded[start : start + 4]
        length = int.from_bytes(encoded[start + 4 : start + 8], "little")
        start += 8 + length + length % 2
