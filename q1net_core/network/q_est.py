"""Q-EST: the estimator of AGARNet, made slimmer as BMVC 2021 has it.

Layer: keras; no beam, no pyarrow.
"""

import keras
from keras import layers

from q1net_core.network.heads import scale_up, see_pixels, to_unit

SIZE = 256
# Channels of two convolutions, and the pooling after them.
STAGES = (
    (32, layers.MaxPooling2D, 4), (64, layers.MaxPooling2D, 2), (64, layers.MaxPooling2D, 4),
    (64, layers.AveragePooling2D, 2),
)  # fmt: skip


def build_q_est() -> keras.Model:
    """Untrained Q-EST: uint8 RGB [N, 256, 256, 3] -> float32 [N, 1], 0-100.

    A reconstruction: AGARNet's layers (Kim, Soh and Cho, IEEE Access 2020) at the widths that give the 213 K
    parameters of BMVC 2021.
    """
    pixels = see_pixels(SIZE)
    x = to_unit(pixels)
    for channels, pooling, size in STAGES:
        for _ in range(2):
            x = layers.Conv2D(channels, 3, padding="same", activation="relu")(x)
        x = pooling(size)(x)
    score = layers.GlobalAveragePooling2D(dtype="float32")(layers.Conv2D(1, 1, dtype="float32")(x))
    return keras.Model(pixels, scale_up(score), name="q_est")
