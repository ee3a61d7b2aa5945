"""Short video files, written by PyAV."""

from fractions import Fraction
from pathlib import Path

import av
import keras
import numpy as np

from q1net_core.arrays import UInt8Array
from q1net_core.network.variants import VARIANTS
from q1net_core.network.weights import Card, write_weights


def write_clip(path: Path, pictures: list[UInt8Array], encoder: str = "libx264", crf: int = 30, every: int = 2) -> Path:
    """Pictures of one even size as a video of 4 frames a second, every second one a key frame."""
    # Without key frames at changes of the scene.
    own = {"libx264": {"sc_threshold": "0"}, "libx265": {"x265-params": "log-level=error:scenecut=0"}}
    options = {"crf": str(crf)} | own[encoder]
    with av.open(path, "w") as file:
        stream = file.add_stream(encoder, rate=Fraction(4), options=options)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt, stream.gop_size = "yuv420p", every
        for pixels in pictures:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), "rgb24")))
        file.mux(stream.encode(None))
    return path


def write_video_weights(folder: Path, variant: str = "q1net-h264") -> str:
    """Untrained weights that always answer; returns their uri."""
    keras.utils.set_random_seed(5)
    uri = str(folder / f"{variant}.keras")
    card = Card(variant, codec=VARIANTS[variant].codec, fusions={"paper": {"threshold": 0, "calibration": []}})
    write_weights(VARIANTS[variant].architecture.build(), uri, card)
    return uri
