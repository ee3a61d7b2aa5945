"""Q1Net as a Keras model.

Layer: keras; no beam, no pyarrow. Backend-neutral; no Lambda layers, so models load in Keras's safe mode.
"""

import keras
from keras import layers

from q1net_core.errors import ConfigError
from q1net_core.network.variants import MAX_QUALITY
from q1net_core.patches import PATCH

# Six stages, in units of k channels; each shrinks the patch by its unpadded 3x3 convolution: 16 -> 4 pixels.
STAGES = (1, 2, 4, 8, 4, 2)


def convolve(x: keras.KerasTensor, channels: int, size: int, padding: str = "same") -> keras.KerasTensor:
    """Convolution without bias, then batch normalisation."""
    x = layers.Conv2D(channels, size, padding=padding, use_bias=False)(x)
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x)


def bottleneck(x: keras.KerasTensor, channels: int) -> keras.KerasTensor:
    """Residual block of constant width: 1x1, 3x3, 1x1."""
    inner = layers.ReLU()(convolve(x, channels, 1))
    inner = layers.ReLU()(convolve(inner, channels, 3))
    return layers.ReLU()(layers.Add()([convolve(inner, channels, 1), x]))


def build_q1net(
    k: int = 8,
    alpha: int = 2,
    bottlenecks: bool = True,
    classes: bool = False,
    patch: int = PATCH,
    largest: float = MAX_QUALITY,
) -> keras.Model:
    """Untrained Q1Net: uint8 RGB [N, patch, patch, 3] -> float32 [N, alpha].

    Source: Kim & Yang, BMVC 2021, figure 3; the scaling of pixels happens inside the graph.

    Args:
        k: channels of the first stage.
        alpha: number of outputs: 1 is quality, 2 are quality and confidence, all from 0 to ``largest``.
        bottlenecks: whether each stage has a residual block.
        classes: the outputs are instead probabilities of as many groups of levels, 2 to 100, equal parts of 1-100.
        patch: height and width of what it sees, in pixels.
        largest: level of the scale.

    Raises:
        ConfigError: k or alpha is impossible.
    """
    if k < 1 or alpha not in (range(2, 101) if classes else (1, 2)):
        raise ConfigError(f"k is {k} and alpha is {alpha}; expected k >= 1 and alpha 1 or 2, of classes 2 to 100")
    patches = keras.Input((patch, patch, 3), dtype="uint8", name="patches")
    x = layers.Rescaling(1 / 127.5, offset=-1.0)(patches)
    for stage in STAGES:
        channels = stage * k
        x = layers.ReLU()(convolve(x, channels, 3, padding="valid"))
        if bottlenecks:
            x = bottleneck(x, channels)
    x = layers.Conv2D(k, 3, padding="valid", activation="relu", name="head")(x)
    x = layers.GlobalAveragePooling2D()(x)
    # float32 whatever the precision policy: bfloat16 cannot tell level 99 from 99.5.
    if classes:
        outputs = layers.Dense(alpha, activation="softmax", dtype="float32")(x)
    else:
        outputs = layers.Dense(alpha, activation="sigmoid", dtype="float32")(x)
        outputs = layers.Rescaling(largest, dtype="float32")(outputs)
    return keras.Model(patches, outputs, name="q1net")
