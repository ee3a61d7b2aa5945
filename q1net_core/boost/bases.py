"""The base codecs: pixels to the bytes of a file and back, with headers as short as each codec allows.

Layer: numpy and Pillow, PyAV where HEVC or H.264 is used; no keras, no beam, no pyarrow.

These are not ``codecs.table.CODECS``: those make pixels of known levels for training, where bytes do not count. A rate
needs the colour transform of JPEG 2000, which Pillow leaves off, and streams without any text in them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from PIL import Image

from q1net_core.arrays import UInt8Array
from q1net_core.codecs import video
from q1net_core.codecs.base import save
from q1net_core.errors import ConfigError, ImageError
from q1net_core.images.decode import Limits, decode
from q1net_core.records import Status

# OpenJPEG meets a size in bytes, given as the ratio to three bytes a pixel: a level is thousandths of a bit per pixel.
MILLI = 1000
BITS = 24


@dataclass(frozen=True, slots=True)
class Base:
    """A codec that gives bytes.

    Args:
        code: its number in a file.
        encode: pixels uint8 [H, W, 3] and level -> bytes.
        decode: bytes, height and width -> pixels uint8; whatever is wrong with the bytes raises an exception.
        levels: all settings, the worst first.
        trained: settings that models are trained at, the worst and the best.
        curve: settings of a rate-distortion curve, the worst first.
    """

    code: int
    encode: Callable[[UInt8Array, int], bytes]
    decode: Callable[[bytes, int, int], UInt8Array]
    levels: Sequence[int]
    trained: tuple[int, int]
    curve: tuple[int, ...]

    def decode_checked(self, encoded: bytes, height: int, width: int) -> UInt8Array:
        """Bytes -> pixels uint8 [height, width, 3].

        Raises:
            ImageError: ``corrupt``: the bytes are broken, or a picture of another size; ``too_large``.
            ConfigError: PyAV is needed and not installed.
        """
        try:
            pixels = self.decode(encoded, height, width)
        except (ImageError, ConfigError):
            raise
        except Exception as error:  # FFmpeg raises whatever the broken stream provokes.
            raise ImageError(Status.CORRUPT, f"the base stream is broken: {error or type(error).__name__}") from error
        if pixels.shape != (height, width, 3):
            raise ImageError(
                Status.CORRUPT,
                f"the base stream is a picture of {pixels.shape[1]}x{pixels.shape[0]} pixels; the header says "
                f"{width}x{height}",
            )
        return pixels


def encode_jpeg(pixels: UInt8Array, level: int) -> bytes:
    """Pixels uint8 [H, W, 3] -> JPEG 4:2:0 at quality ``level`` 1-100, progressive, with its own Huffman tables."""
    return save(Image.fromarray(pixels), "JPEG", quality=level, subsampling="4:2:0", optimize=True, progressive=True)


def encode_jpeg2000(pixels: UInt8Array, level: int) -> bytes:
    """Pixels uint8 [H, W, 3] -> a JPEG 2000 codestream of about ``level`` / 1000 bits per pixel: 9/7, ICT, no boxes."""
    return save(
        Image.fromarray(pixels),
        "JPEG2000",
        quality_mode="rates",
        quality_layers=[BITS * MILLI / level],
        irreversible=True,
        mct=1,
        no_jp2=True,
    )


def decode_still(encoded: bytes, height: int, width: int, formats: tuple[str, ...]) -> UInt8Array:
    """A JPEG or JPEG 2000 stream -> pixels uint8; a header that says more pixels than expected is not decoded."""
    decoded = decode(encoded, Limits(max_pixels=height * width))
    if decoded.format not in formats:
        raise ValueError(f"{decoded.format}, expected {formats[0]}")
    return decoded.pixels


def decode_video(encoded: bytes, height: int, width: int, decoder: str) -> UInt8Array:
    """One intra frame -> pixels uint8 [height, width, 3] without the encoder's padding."""
    padded = [max(video.LEAST_SIDE, side + side % 2) for side in (height, width)]
    # FFmpeg counts what it allocates, which the blocks of the codec round up.
    most = (padded[0] + 128) * (padded[1] + 128)
    pixels = video.decode_frame(encoded, decoder, most)
    if list(pixels.shape[:2]) != padded:
        return pixels
    return np.ascontiguousarray(pixels[:height, :width])


X265_PARAMS = f"{video.X265_PARAMS}:info=0"
BASES: dict[str, Base] = {
    "jpeg": Base(
        code=1,
        encode=encode_jpeg,
        decode=partial(decode_still, formats=("JPEG", "MPO")),
        levels=range(1, 101),
        trained=(4, 75),
        curve=(4, 7, 11, 16, 24, 35, 48, 60, 70, 80),
    ),
    "jpeg2000": Base(
        code=2,
        encode=encode_jpeg2000,
        decode=partial(decode_still, formats=("JPEG2000",)),
        levels=range(20, 8001),
        trained=(50, 1100),
        curve=(60, 90, 120, 150, 200, 270, 360, 500, 720, 1000),
    ),
    "hevc": Base(
        code=3,
        encode=partial(video.encode_frame, encoder="libx265", options={"x265-params": X265_PARAMS, "tune": "psnr"}),
        decode=partial(decode_video, decoder="hevc"),
        levels=video.CRF,
        trained=(49, 26),
        curve=(48, 45, 42, 39, 36, 33, 30, 27),
    ),
}


def find_base(name: str) -> Base:
    """The base codec of that name; raises ConfigError if there is none."""
    if name not in BASES:
        raise ConfigError(f"base is {name!r}; expected one of {', '.join(BASES)}")
    return BASES[name]
