"""Pixels + CRF -> pixels as one intra frame of H.264 or HEVC leaves them; needs PyAV, the extra ``video``.

Layer: numpy, and PyAV when a function is called; no keras, no beam, no pyarrow.

PyAV's wheels contain FFmpeg with x264 and x265, which are GPL: see NOTICE.
"""

from fractions import Fraction
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np

from q1net_core.arrays import UInt8Array
from q1net_core.errors import ConfigError

# Constant rate factors, the worst first.
CRF = range(51, -1, -1)
# x265 gives a smaller picture smaller coding units, which it then refuses for long ones; 4:2:0 halves both sides.
LEAST_SIDE = 64
# What x264 takes; x265 as well, for one limit.
MAX_VIDEO_SIDE = 16_384
# One thread, and no word on stderr: images are compressed side by side.
X265_PARAMS = "log-level=error:pools=none:frame-threads=1"


def import_av() -> ModuleType:
    """PyAV; raises ConfigError if it is not installed."""
    try:
        import av
    except ImportError as error:
        raise ConfigError("video codecs need PyAV, which is not installed; pip install '.[video]'") from error
    return av


def versions() -> dict[str, str]:
    """Versions of PyAV and of the FFmpeg libraries in it; raises ConfigError if it is not installed."""
    av = import_av()
    libraries = {name: ".".join(map(str, av.library_versions[name])) for name in ("libavcodec", "libswscale")}
    return {"av": av.__version__} | libraries


def pad(pixels: UInt8Array) -> UInt8Array:
    """The picture with its last rows and columns repeated up to sides that both encoders take."""
    margins = [(0, max(LEAST_SIDE, length + length % 2) - length) for length in pixels.shape[:2]]
    return np.ascontiguousarray(np.pad(pixels, [*margins, (0, 0)], "edge"))


def encode_frame(pixels: UInt8Array, level: int, encoder: str, options: dict[str, str]) -> bytes:
    """Pixels uint8 [H, W, 3] -> the bytes of one intra frame at CRF ``level``: 8 bits, 4:2:0, padded as ``pad`` does.

    Colours as most videos have them, BT.709 in limited range, converted with exact rounding.

    Raises:
        ConfigError: PyAV is not installed.
    """
    av = import_av()
    from av.video.reformatter import ColorRange, Colorspace

    frame = av.VideoFrame.from_ndarray(pad(pixels), "rgb24").reformat(
        format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG, **exact_colours()
    )
    writer = av.CodecContext.create(encoder, "w")
    writer.width, writer.height, writer.pix_fmt, writer.time_base = frame.width, frame.height, "yuv420p", Fraction(1)
    writer.thread_count, writer.options = 1, {"crf": str(level)} | options
    return b"".join(bytes(packet) for packet in [*writer.encode(frame), *writer.encode(None)])


def decode_frame(encoded: bytes, decoder: str, max_pixels: int | None = None) -> UInt8Array:
    """The bytes of one intra frame -> pixels uint8 [H, W, 3], still padded.

    Raises:
        ConfigError: PyAV is not installed.
        ValueError: the bytes are not one frame, or one of more than ``max_pixels``.
    """
    av = import_av()
    from av.video.reformatter import ColorRange, Colorspace

    reader = av.CodecContext.create(decoder, "r")
    reader.thread_count, reader.options = 1, {"max_pixels": str(max_pixels)} if max_pixels else {}
    frames = [frame for packet in (av.Packet(encoded), None) for frame in reader.decode(packet)]
    if len(frames) != 1:
        raise ValueError(f"{len(frames)} frames, expected 1")
    pictures = frames[0].reformat(
        format="rgb24", src_colorspace=Colorspace.ITU709, src_color_range=ColorRange.MPEG, **exact_colours()
    )
    return np.ascontiguousarray(pictures.to_ndarray())


def exact_colours() -> dict[str, Any]:
    """How FFmpeg converts colours: to the same pixels on every machine."""
    from av.video.reformatter import Interpolation

    exact = (
        Interpolation.BICUBIC
        | Interpolation.ACCURATE_RND
        | Interpolation.BITEXACT
        | Interpolation.FULL_CHR_H_INP
        | Interpolation.FULL_CHR_H_INT
    )
    return {"interpolation": exact, "threads": 1}


def compress_video(pixels: UInt8Array, level: int, encoder: str, decoder: str, options: dict[str, str]) -> UInt8Array:
    """Pixels uint8 [H, W, 3] -> the same picture as one intra frame at CRF ``level``, see ``encode_frame``."""
    height, width = pixels.shape[:2]
    return np.ascontiguousarray(decode_frame(encode_frame(pixels, level, encoder, options), decoder)[:height, :width])


compress_h264 = partial(compress_video, encoder="libx264", decoder="h264", options={})
compress_hevc = partial(compress_video, encoder="libx265", decoder="hevc", options={"x265-params": X265_PARAMS})
