"""LCNN, the light CNN with maxima of feature maps, as a regressor of quality.

Layer: keras; no beam, no pyarrow.
"""

import keras
from keras import layers

from q1net_core.network.heads import answer, see_pixels, to_signed

SIZE = 256
# Channels, size of the kernel, and what follows: P is a pooling, B batch normalisation.
STEPS = (
    (32, 5, "P"), (32, 1, "B"), (48, 3, "PB"), (48, 1, "B"), (64, 3, "P"), (64, 1, "B"), (32, 3, "B"), (32, 1, "B"),
    (32, 3, "P"),
)  # fmt: skip


def build_lcnn() -> keras.Model:
    """Untrained LCNN: uint8 RGB [N, 256, 256, 3] -> float32 [N, 1], 0-100.

    A max feature map is the larger of two convolutions. Without the dropout of its recipe for speech. Source: Wu et
    al. 2018, and Lavrentyeva et al. 2019.
    """
    pixels = see_pixels(SIZE)
    x = to_signed(pixels)
    for channels, size, following in STEPS:
        x = layers.Maximum()([layers.Conv2D(channels, size, padding="same")(x) for _ in range(2)])
        if "P" in following:
            x = layers.MaxPooling2D(2)(x)
        if "B" in following:
            x = layers.BatchNormalization()(x)
    x = layers.Flatten()(x)
    x = layers.BatchNormalization()(layers.Maximum()([layers.Dense(80)(x) for _ in range(2)]))
    return keras.Model(pixels, answer(x), name="lcnn")
