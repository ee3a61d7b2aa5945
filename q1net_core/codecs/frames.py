"""A video file -> key frames as pixels; needs PyAV, the extra ``video``.

Layer: numpy, and PyAV when a function is called; no keras, no beam, no pyarrow.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from q1net_core.arrays import UInt8Array
from q1net_core.codecs.video import import_av, to_pixels
from q1net_core.errors import ImageError
from q1net_core.patches import spread_evenly
from q1net_core.records import Status


@dataclass(frozen=True, slots=True)
class KeyFrame:
    """A key frame: its ``number`` among the video's key frames, its time in ``seconds``, pixels uint8 [H, W, 3]."""

    number: int
    seconds: float
    pixels: UInt8Array


def decode_key_frames(file: Any) -> Iterator[Any]:
    """The key frames of an open video file; the others are never decoded."""
    stream = file.streams.video[0]
    stream.codec_context.skip_frame = "NONKEY"
    return iter(file.decode(stream))


def read_key_frames(content: bytes, count: int) -> tuple[str, list[KeyFrame]]:
    """The codec of a video file, as FFmpeg names it, and up to ``count`` of its key frames, evenly spread.

    Colours are BT.709 in limited range where the file does not say otherwise, as the networks were trained. The file
    is decoded twice, so that only the wanted frames are in memory.

    Raises:
        ConfigError: PyAV is not installed.
        ImageError: ``unsupported``, it is no video; ``corrupt``, it has no key frame that can be decoded.
    """
    av = import_av()
    try:
        with av.open(io.BytesIO(content)) as file:
            if not file.streams.video:
                raise ImageError(Status.UNSUPPORTED, "the file has no video stream")
            codec = file.streams.video[0].codec_context.name
            total = sum(1 for _ in decode_key_frames(file))
        wanted = set(spread_evenly(total, count).tolist())
        with av.open(io.BytesIO(content)) as file:
            frames = [
                KeyFrame(number, frame.time or 0.0, to_pixels(frame))
                for number, frame in enumerate(decode_key_frames(file))
                if number in wanted
            ]
    except av.InvalidDataError as error:
        raise ImageError(Status.UNSUPPORTED, f"not a video that FFmpeg reads: {error}") from error
    except av.FFmpegError as error:
        raise ImageError(Status.CORRUPT, f"the video cannot be decoded: {error}") from error
    if not frames:
        raise ImageError(Status.CORRUPT, "the video has no key frame")
    return codec, frames
