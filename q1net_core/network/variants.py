"""The networks as data. VARIANTS names them: architecture, what each sees, how its outputs are read, its weights.

Layer: numpy only. Keras is imported when a model is built, so that whoever only samples images needs no TensorFlow.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

import numpy as np

from q1net_core.records import Float32Array
from q1net_core.sampling import PATCHES, InputKind, centre_crop, macroblocks

if TYPE_CHECKING:
    import keras

MAX_QUALITY = 100.0
# The largest constant rate factor, and quantizer, of H.264 and HEVC.
MAX_CRF = 51.0
# As the level of pictures that were never compressed, where a network tells them apart.
NEVER_COMPRESSED = 101.0

# Outputs [N, ...] of a model -> quality and confidence, float32 [N] each, 0-100.
ReadOutputs = Callable[[Float32Array], tuple[Float32Array, Float32Array]]


def read_confidence(outputs: Float32Array) -> tuple[Float32Array, Float32Array]:
    """Outputs [N, 2], which are quality and confidence."""
    return outputs[:, 0], outputs[:, 1]


def read_quality(outputs: Float32Array) -> tuple[Float32Array, Float32Array]:
    """Outputs [N, 1] of a regressor, which is equally sure of everything: confidence 100."""
    return outputs[:, 0], np.full(len(outputs), MAX_QUALITY, np.float32)


def read_levels(outputs: Float32Array) -> tuple[Float32Array, Float32Array]:
    """Outputs [N, C] of a classifier, probabilities of C equal parts of the levels 1-100.

    The middle of the likeliest part, and how likely it is; of 100 parts that is a level.
    """
    levels = MAX_QUALITY / outputs.shape[1]
    middle = np.argmax(outputs, axis=1) * levels + (levels + 1) / 2
    return middle.astype(np.float32), MAX_QUALITY * outputs.max(axis=1)


def read_maps(outputs: Float32Array) -> tuple[Float32Array, Float32Array]:
    """Outputs [N, h, w, 2] of JQE, whose channel 0 is 1 - quality / 100: the map's mean; confidence 100."""
    return read_quality(MAX_QUALITY * (1 - np.clip(outputs[..., :1], 0, 1).mean(axis=(1, 2))))


def read_crf(outputs: Float32Array) -> tuple[Float32Array, Float32Array]:
    """Outputs [N, 2]: a level of 0-51 and the confidence in it, 0-51; the confidence as a share of 100.

    So that thresholds and weights of fusion mean the same on every scale.
    """
    return outputs[:, 0], outputs[:, 1] * (MAX_QUALITY / MAX_CRF)


@dataclass(frozen=True, slots=True)
class Architecture:
    """A Keras model as data: ``builder`` is the name of a function, "module:function", called with ``parameters``."""

    builder: str
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def build(self) -> "keras.Model":
        """The untrained model; imports Keras."""
        return resolve_name(self.builder)(**self.parameters)


@dataclass(frozen=True, slots=True)
class Variant:
    """A network and what goes with it.

    Args:
        architecture: how its model is built; the model takes uint8 RGB.
        input: what it sees of an image.
        read_outputs: what its outputs mean.
        loss: what it is trained with, a name in ``training.losses.LOSSES``.
        weights: name of the packaged weights that it is used with by default; None where there are none.
        published: its name in Table 2 of BMVC 2021, if it is there.
        codec: whose levels it estimates, a name in ``codecs.table.CODECS``.
        scale: what these levels are called.
        largest: the largest level; confidence is that minus the expected error.
        trained_on: height and width of training windows, where they are not those of ``input``.
    """

    architecture: Architecture
    input: InputKind = PATCHES
    read_outputs: ReadOutputs = read_confidence
    loss: str = "confidence aware"
    weights: str | None = None
    published: str | None = None
    trained_on: int | None = None
    codec: str = "jpeg"
    scale: str = "quality"
    largest: float = MAX_QUALITY

    @property
    def training_size(self) -> int:
        """Height and width of what it is trained on, in pixels."""
        size = self.trained_on or self.input.size
        assert size is not None, "whoever sees whole images says what it is trained on"
        return size


def q1net(k: int = 8, alpha: int = 2, bottlenecks: bool = True) -> Architecture:
    """A Q1Net; see ``q1net_core.network.q1net.build_q1net``."""
    return Architecture("q1net_core.network.q1net:build_q1net", {"k": k, "alpha": alpha, "bottlenecks": bottlenecks})


def classifier(classes: int) -> Variant:
    """A Q1Net that tells so many equal parts of the levels apart."""
    network = q1net(alpha=classes)
    architecture = replace(network, parameters={**network.parameters, "classes": True})
    return Variant(architecture, read_outputs=read_levels, loss="level cross-entropy")


def regressor(builder: str, size: int, published: str) -> Variant:
    """A network that sees one window from the middle of an image and gives one number, as in Table 2 of BMVC 2021."""
    architecture = Architecture(f"q1net_core.network.{builder}")
    return Variant(architecture, centre_crop(size), read_quality, "absolute error", published=published)


def of_video(codec: str, patch: int, scale: str = "crf", weights: str | None = None) -> Variant:
    """A Q1Net for frames of video, which sees macroblocks with what is around them."""
    network = q1net()
    architecture = replace(network, parameters={**network.parameters, "patch": patch, "largest": MAX_CRF})
    return Variant(
        architecture, macroblocks(patch), read_crf, codec=codec, scale=scale, largest=MAX_CRF, weights=weights
    )


VARIANTS = {
    "q1net-k8": Variant(q1net(), weights="q1net-k8", published="Q1Net (baseline, k=8)"),
    "q1net-k6": Variant(q1net(k=6), weights="q1net-k6"),
    "q1net-k12": Variant(q1net(k=12), weights="q1net-k12"),
    "q1net-no-bottleneck": Variant(q1net(bottlenecks=False)),
    "q1net-regressor": Variant(q1net(alpha=1), read_outputs=read_quality, loss="absolute error"),
    "q1net-classifier-2": classifier(2),
    "q1net-classifier-10": classifier(10),
    "q1net-classifier": classifier(100),
    "q1net-h264": of_video("h264", 24, weights="q1net-h264"),
    "q1net-h264-16": of_video("h264", 16),
    "q1net-h264-32": of_video("h264", 32),
    "q1net-hevc": of_video("hevc", 32),
    # Controls: the same encoders with one quantizer for all blocks.
    "q1net-h264-qp": of_video("h264-qp", 24, "qp"),
    "q1net-hevc-qp": of_video("hevc-qp", 32, "qp"),
    "mobilenet-v2": regressor("mobilenet_v2:build_mobilenet_v2", 224, "MobileNetV2"),
    "efficientnet-b0": regressor("efficientnet:build_efficientnet_b0", 256, "EfficientNet"),
    "shufflenet": regressor("shufflenet:build_shufflenet", 224, "ShuffleNet"),
    "lcnn": regressor("lcnn:build_lcnn", 256, "LCNN"),
    "jqe": replace(regressor("jqe:build_jqe", 256, "JQE"), read_outputs=read_maps, loss="quality maps", trained_on=60),
    "jqe-like": regressor("jqe_like:build_jqe_like", 256, "JQE-like"),
    "q-est": regressor("q_est:build_q_est", 256, "Q-EST"),
}
# Other weights of the same network.
VARIANTS["q1net-k8-robust"] = replace(VARIANTS["q1net-k8"], weights="q1net-k8-robust")
