"""JQE-like: JQE's dilated convolutions as a small regressor, after what BMVC 2021 says of it.

Layer: keras; no beam, no pyarrow.
"""

import keras
from keras import layers

from q1net_core.network.heads import answer, see_pixels, to_unit

SIZE = 256
CHANNELS = 64
# Dilations of two convolutions, and the pooling after them.
STAGES = (((1, 2), layers.MaxPooling2D), ((3, 4), layers.MaxPooling2D), ((3, 2), layers.AveragePooling2D))


def build_jqe_like() -> keras.Model:
    """Untrained JQE-like: uint8 RGB [N, 256, 256, 3] -> float32 [N, 1], 0-100.

    A reconstruction: BMVC 2021 gives the kind of layers and 217 K parameters, which this meets, and no more.
    """
    pixels = see_pixels(SIZE)
    x = to_unit(pixels)
    for dilations, pooling in STAGES:
        for dilation in dilations:
            x = layers.Conv2D(CHANNELS, 3, dilation_rate=dilation, activation="relu")(x)
        x = pooling(2)(x)
    return keras.Model(pixels, answer(layers.Flatten()(x)), name="jqe_like")
