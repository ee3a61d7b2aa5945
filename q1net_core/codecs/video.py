"""Pixels + CRF or QP -> pixels as one intra frame of H.264 or HEVC leaves them; needs PyAV, the extra ``video``.

Layer: numpy, and PyAV when a function is called; no keras, no beam, no pyarrow.

PyAV's wheels contain FFmpeg with x264 and x265, which are GPL: see NOTICE.
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from types import ModuleType
from typing import Any

import numpy as np

from q1net_core.arrays import UInt8Array
from q1net_core.errors import ConfigError

# Constant rate factors, the worst first.
CRF = range(51, -1, -1)
# Constant quantizers, the worst first; x264 takes 0 for lossless.
QP = range(51, 0, -1)
# x265 gives a smaller picture smaller coding units, which it then refuses for long ones; 4:2:0 halves both sides.
LEAST_SIDE = 64
# What x264 takes; x265 as well, for one limit.
MAX_VIDEO_SIDE = 16_384
# FFmpeg's FF_QP2LAMBDA.
LAMBDA = 118
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


def encode_packets(pixels: UInt8Array, encoder: str, options: dict[str, str]) -> Sequence[Any]:
    """Pixels uint8 [H, W, 3] -> the packets of one intra frame, 8 bits, 4:2:0, padded as ``pad`` does.

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
    writer.thread_count, writer.options = 1, options
    return [*writer.encode(frame), *writer.encode(None)]


def encode_frame(pixels: UInt8Array, level: int, encoder: str, options: dict[str, str]) -> bytes:
    """Pixels uint8 [H, W, 3] -> the bytes of one intra frame at CRF ``level``, see ``encode_packets``."""
    return join(encode_packets(pixels, encoder, {"crf": str(level)} | options))


def join(packets: Sequence[Any]) -> bytes:
    """The bytes of all packets."""
    return b"".join(bytes(packet) for packet in packets)


def decode_frame(encoded: bytes, decoder: str, max_pixels: int | None = None) -> UInt8Array:
    """The bytes of one intra frame -> pixels uint8 [H, W, 3], still padded; raises as ``read_frame``."""
    return pixels_of(read_frame(encoded, decoder, {"max_pixels": str(max_pixels)} if max_pixels else {}))


def read_frame(encoded: bytes, decoder: str, options: dict[str, str]) -> Any:
    """The bytes of one intra frame -> PyAV's frame.

    Raises:
        ConfigError: PyAV is not installed.
        ValueError: the bytes are not one frame, or one of more pixels than ``options`` allow.
    """
    av = import_av()
    reader = av.CodecContext.create(decoder, "r")
    reader.thread_count, reader.options = 1, options
    frames = [frame for packet in (av.Packet(encoded), None) for frame in reader.decode(packet)]
    if len(frames) != 1:
        raise ValueError(f"{len(frames)} frames, expected 1")
    return frames[0]


def pixels_of(frame: Any) -> UInt8Array:
    """A frame that ``encode_packets`` made -> its pixels uint8 [H, W, 3], still padded."""
    from av.video.reformatter import ColorRange, Colorspace

    picture = frame.reformat(
        format="rgb24", src_colorspace=Colorspace.ITU709, src_color_range=ColorRange.MPEG, **exact_colours()
    )
    return np.ascontiguousarray(picture.to_ndarray())


def mean_quantizer(frame: Any, packet: Any) -> float:
    """The mean quantizer of a frame's blocks, as its decoder read them, or where it does not say, as the encoder tells.

    What libx264 tells is the frame's quantizer before that of its blocks is adapted to what they show.
    """
    blocks = frame.side_data.get("VIDEO_ENC_PARAMS")
    if blocks is not None:
        return float(np.mean(blocks.qp_map()))
    # The first number of this, in 118ths of a quantizer.
    (quality,) = struct.unpack_from("<I", bytes(packet.get_sidedata("quality_stats")))
    return float(quality / LAMBDA)


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


@dataclass(frozen=True, slots=True)
class Encoder:
    """An encoder and its decoder, by their names in FFmpeg; ``options`` of a level, ``constant_qp`` or not."""

    encoder: str
    decoder: str
    options: Callable[[int], dict[str, str]]
    constant_qp: bool = False


ENCODERS = {
    "h264": Encoder("libx264", "h264", lambda crf: {"crf": str(crf)}),
    "hevc": Encoder("libx265", "hevc", lambda crf: {"crf": str(crf), "x265-params": X265_PARAMS}),
    # The same quantizer for all blocks of the frame; encoders take less than what they are told for intra frames.
    "h264-qp": Encoder("libx264", "h264", lambda qp: {"qp": str(qp), "x264-params": "ipratio=1"}, True),
    "hevc-qp": Encoder("libx265", "hevc", lambda qp: {"x265-params": f"{X265_PARAMS}:qp={qp}:ipratio=1"}, True),
}


def compress_with_qp(pixels: UInt8Array, level: int, codec: str) -> tuple[UInt8Array, int]:
    """Pixels uint8 [H, W, 3] -> the same picture as one intra frame, see ``encode_packets``; its mean quantizer.

    Args:
        pixels: uint8 [H, W, 3].
        level: CRF, or QP.
        codec: a name in ENCODERS.

    Raises:
        ConfigError: PyAV is not installed.
    """
    names, (height, width) = ENCODERS[codec], pixels.shape[:2]
    packets = encode_packets(pixels, names.encoder, names.options(level))
    frame = read_frame(join(packets), names.decoder, {"export_side_data": "venc_params"})
    return np.ascontiguousarray(pixels_of(frame)[:height, :width]), round(mean_quantizer(frame, packets[0]))


def compress_video(pixels: UInt8Array, level: int, codec: str) -> UInt8Array:
    """Pixels uint8 [H, W, 3] -> the same picture after ``compress_with_qp``, whose arguments these are."""
    return compress_with_qp(pixels, level, codec)[0]


def to_pixels(frame: Any) -> UInt8Array:
    """A decoded frame of any video -> pixels uint8 [H, W, 3]; BT.709 in limited range where it does not say more."""
    from av.video.reformatter import ColorRange, Colorspace

    known = {colourspace.value for colourspace in Colorspace}
    unsaid = frame.colorspace not in known or frame.colorspace == 2
    picture = frame.reformat(
        format="rgb24",
        src_colorspace=Colorspace.ITU709 if unsaid else frame.colorspace,
        src_color_range=frame.color_range or ColorRange.MPEG,
    )
    return np.ascontiguousarray(picture.to_ndarray())
