"""Q1Net as data (ModelConfig, VARIANTS) and as a Keras model (build_model).

Layer: keras; no beam, no pyarrow. Backend-neutral; no Lambda layers, so models load in Keras's safe mode.
"""

from dataclasses import dataclass

import keras
from keras import layers

from q1net_core.errors import ConfigError
from q1net_core.patches import PATCH

# Six stages, in units of k channels; each shrinks the patch by its unpadded 3x3 convolution: 16 -> 4 pixels.
STAGES = (1, 2, 4, 8, 4, 2)
MAX_QUALITY = 100.0


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Shape of a Q1Net: ``k`` channels in the first stage, ``alpha`` outputs, with or without bottleneck blocks.

    alpha 2 gives (quality, confidence), 1 gives quality only, 100 gives one probability per quality level.
    """

    k: int = 8
    alpha: int = 2
    bottlenecks: bool = True

    def __post_init__(self) -> None:
        if self.k < 1 or self.alpha not in (1, 2, 100):
            raise ConfigError(f"k is {self.k} and alpha is {self.alpha}; expected k >= 1 and alpha 1, 2 or 100")


VARIANTS = {
    "q1net-k8": ModelConfig(),
    "q1net-k8-robust": ModelConfig(),
    "q1net-k6": ModelConfig(k=6),
    "q1net-k12": ModelConfig(k=12),
    "q1net-no-bottleneck": ModelConfig(bottlenecks=False),
    "q1net-regressor": ModelConfig(alpha=1),
    "q1net-classifier": ModelConfig(alpha=100),
}


def convolve(x: keras.KerasTensor, channels: int, size: int, padding: str = "same") -> keras.KerasTensor:
    """Convolution without bias, then batch normalisation."""
    x = layers.Conv2D(channels, size, padding=padding, use_bias=False)(x)
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x)


def bottleneck(x: keras.KerasTensor, channels: int) -> keras.KerasTensor:
    """Residual block of constant width: 1x1, 3x3, 1x1."""
    inner = layers.ReLU()(convolve(x, channels, 1))
    inner = layers.ReLU()(convolve(inner, channels, 3))
    return layers.ReLU()(layers.Add()([convolve(inner, channels, 1), x]))


def build_model(config: ModelConfig) -> keras.Model:
    """Untrained Q1Net: uint8 RGB [N, 16, 16, 3] -> float32 [N, alpha], quality and confidence on a 0-100 scale.

    Source: Kim & Yang, BMVC 2021, figure 3; scaling of the pixels happens inside the graph.
    """
    patches = keras.Input((PATCH, PATCH, 3), dtype="uint8", name="patches")
    x = layers.Rescaling(1 / 127.5, offset=-1.0)(patches)
    for stage in STAGES:
        channels = stage * config.k
        x = layers.ReLU()(convolve(x, channels, 3, padding="valid"))
        if config.bottlenecks:
            x = bottleneck(x, channels)
    x = layers.Conv2D(config.k, 3, padding="valid", activation="relu", name="head")(x)
    x = layers.GlobalAveragePooling2D()(x)
    # float32 whatever the precision policy: bfloat16 cannot tell level 99 from 99.5.
    if config.alpha == 100:
        outputs = layers.Dense(100, activation="softmax", dtype="float32")(x)
    else:
        outputs = layers.Dense(config.alpha, activation="sigmoid", dtype="float32")(x)
        outputs = layers.Rescaling(MAX_QUALITY, dtype="float32")(outputs)
    return keras.Model(patches, outputs, name="q1net")
