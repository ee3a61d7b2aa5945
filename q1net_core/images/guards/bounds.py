"""What all guards share: their result, bounds, and the errors that a header out of bounds raises.

Layer: standard library; no keras, no beam, no pyarrow.
"""

from typing import NamedTuple

from q1net_core.errors import ImageError
from q1net_core.jpeg.markers import ColourSpace
from q1net_core.records import Status

# Segments, chunks, blocks or directory entries before the pixels; far above what encoders write.
MAX_HEADER_PARTS = 65_536


class Guarded(NamedTuple):
    """What a guard lets through: the bytes that Pillow gets, Pillow's name of the format, a JPEG's colour space."""

    encoded: bytes
    format: str
    colour_space: ColourSpace | None = None


def check_size(kind: str, width: int, height: int, max_pixels: int) -> None:
    """Refuse a size that a header declares, before anything of that size is allocated.

    Raises:
        ImageError: CORRUPT if a side is not positive, TOO_LARGE above ``max_pixels``.
    """
    if width <= 0 or height <= 0:
        raise ImageError(Status.CORRUPT, f"{kind} header says {width}x{height} pixels, expected at least 1x1")
    if width * height > max_pixels:
        raise ImageError(
            Status.TOO_LARGE,
            f"{kind} header says {width}x{height} = {width * height} pixels, expected at most max_pixels={max_pixels}",
        )


def corrupt(kind: str, problem: str) -> ImageError:
    """The error of a file that is broken."""
    return ImageError(Status.CORRUPT, f"{kind} image is broken or truncated: {problem}")
