"""JQE, which gives a map of the quality and a map of what was never compressed.

Layer: keras; no beam, no pyarrow.
"""

import keras
from keras import layers

from q1net_core.network.heads import see_pixels, to_unit

CHANNELS = 64
DILATIONS = (1, 2, 3, 4, 3, 2, 1)


def build_jqe() -> keras.Model:
    """Untrained JQE: uint8 RGB [N, height, width, 3] of any size -> float32 [N, height, width, 2].

    Outputs: channel 0 is 1 - quality / 100, channel 1 is 1 where the picture was never compressed. Source: Uchida,
    Tanaka and Okutomi, Electronic Imaging 2019.
    """
    pixels = see_pixels(None)
    x = to_unit(pixels)
    for dilation in DILATIONS[:-1]:
        x = layers.Conv2D(
            CHANNELS, 3, padding="same", dilation_rate=dilation, activation="relu", kernel_initializer="he_normal"
        )(x)
    maps = layers.Conv2D(
        2, 3, padding="same", dilation_rate=DILATIONS[-1], kernel_initializer="he_normal", dtype="float32"
    )(x)
    return keras.Model(pixels, maps, name="jqe")
