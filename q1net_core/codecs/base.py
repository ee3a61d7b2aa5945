"""What a codec is, as data, and how Pillow encodes and decodes in memory.

Layer: numpy and Pillow; no keras, no beam, no pyarrow.

A level is one integer setting of a codec, on the codec's own scale: quality for most, CRF for video.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np
import PIL
from PIL import Image, features

from q1net_core.arrays import UInt8Array
from q1net_core.errors import ConfigError, ImageError
from q1net_core.records import Status


@dataclass(frozen=True, slots=True)
class Geometry:
    """What the pixels of a window depend on, each as (rows, columns) in pixels.

    Args:
        unit: what the codec codes as one.
        reach: how much further the decoder looks when it upsamples chroma.
    """

    unit: tuple[int, int]
    reach: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Codec:
    """One way to lose quality.

    Args:
        function: pixels uint8 [H, W, 3] and level -> the same picture after the codec.
        levels: all settings, the worst first.
        versions: the libraries that decide the pixels; raises ConfigError where one is missing.
        max_side: the limit on height and width.
        geometry: what the pixels of a window depend on; None if it may be the whole image.
    """

    function: Callable[[UInt8Array, int], UInt8Array]
    levels: Sequence[int]
    versions: Callable[[], dict[str, str]]
    max_side: int
    geometry: Geometry | None = None

    def check_levels(self, levels: Sequence[int]) -> None:
        """Raise ConfigError unless there are levels and the codec has them all."""
        wrong = sorted(set(levels) - set(self.levels))
        if wrong or not levels:
            known = self.levels
            expected = f"{min(known)}..{max(known)}" if isinstance(known, range) else ", ".join(map(str, known))
            problem = f"levels {wrong} do not exist" if wrong else "no levels"
            raise ConfigError(f"{problem}; expected some of {expected}")

    def check_size(self, pixels: UInt8Array) -> None:
        """Raise ImageError ``too_large`` if the codec takes no image of this size."""
        height, width = pixels.shape[:2]
        if max(height, width) > self.max_side:
            raise ImageError(
                Status.TOO_LARGE, f"image is {width} x {height} pixels; the codec takes at most {self.max_side} a side"
            )

    def compress(self, pixels: UInt8Array, level: int) -> UInt8Array:
        """Pixels uint8 [H, W, 3] -> the same picture after the codec.

        Raises:
            ConfigError: the codec has no such level, or is not installed.
            ImageError: ``too_large``.
        """
        self.check_levels([level])
        self.check_size(pixels)
        return self.function(pixels, level)


def save(image: Image.Image, format: str, **settings: object) -> bytes:
    """An image encoded by Pillow."""
    buffer = BytesIO()
    image.save(buffer, format, **settings)
    return buffer.getvalue()


def load(encoded: bytes, format: str = "JPEG") -> UInt8Array:
    """Pixels uint8 [H, W, 3] of what ``save`` made."""
    return np.asarray(Image.open(BytesIO(encoded), formats=(format,)).convert("RGB"))


def pillow_versions(library: str) -> dict[str, str]:
    """Versions of Pillow and of one library inside it; raises ConfigError if this Pillow lacks the library."""
    version = features.version(library)
    if version is None:
        raise ConfigError(f"Pillow {PIL.__version__} was built without {library}; install the wheel from PyPI")
    return {"pillow": PIL.__version__, library: version}
