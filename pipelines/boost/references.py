"""Codecs that a boosted one is compared with: bytes and pixels at each of their settings, no more."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType

import numpy as np
from PIL import Image

from q1net_core.arrays import UInt8Array
from q1net_core.boost.bases import BASES
from q1net_core.codecs.base import load, save
from q1net_core.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Reference:
    """A codec as a line in a diagram: ``compress`` gives a file's length and its picture; ``curve`` is its settings."""

    compress: Callable[[UInt8Array, int], tuple[int, UInt8Array]]
    curve: Sequence[int]


def compress_hevc(pixels: UInt8Array, level: int) -> tuple[int, UInt8Array]:
    """One HEVC intra frame at CRF ``level``."""
    stream = BASES["hevc"].encode(pixels, level)
    return len(stream), BASES["hevc"].decode_checked(stream, *pixels.shape[:2])


def compress_avif(pixels: UInt8Array, level: int) -> tuple[int, UInt8Array]:
    """AVIF 4:2:0 at quality ``level``, Pillow's default speed, one thread."""
    encoded = save(Image.fromarray(pixels), "AVIF", quality=level, subsampling="4:2:0", max_threads=1)
    return len(encoded), load(encoded, "AVIF")


def import_imagecodecs() -> ModuleType:
    """The JPEG XL codec; raises ConfigError if it is not installed."""
    try:
        import imagecodecs
    except ImportError as error:
        raise ConfigError("JPEG XL needs imagecodecs, which is not installed; pip install '.[jxl]'") from error
    module: ModuleType = imagecodecs
    return module


def compress_jpegxl(pixels: UInt8Array, level: int) -> tuple[int, UInt8Array]:
    """JPEG XL at a Butteraugli distance of ``level`` / 10, effort 7, one thread."""
    codecs = import_imagecodecs()
    encoded = codecs.jpegxl_encode(pixels, distance=level / 10, effort=7, numthreads=1)
    return len(encoded), np.asarray(codecs.jpegxl_decode(encoded, numthreads=1))


# A line needs fewer points than a curve that gains are read from.
REFERENCES = {
    "hevc": Reference(compress_hevc, BASES["hevc"].curve[::2]),
    "avif": Reference(compress_avif, (5, 20, 40, 60, 75)),
    "jpegxl": Reference(compress_jpegxl, (150, 80, 45, 20, 12)),
}
