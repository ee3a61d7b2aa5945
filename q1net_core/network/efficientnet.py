"""EfficientNet-B0 as a regressor of quality.

Layer: keras; no beam, no pyarrow.
"""

import keras

from q1net_core.network.heads import answer, see_pixels

SIZE = 256


def build_efficientnet_b0() -> keras.Model:
    """Untrained EfficientNet-B0: uint8 RGB [N, 256, 256, 3] -> float32 [N, 1], 0-100.

    The library's network, which scales pixels itself. Source: Tan and Le, ICML 2019.
    """
    pixels = see_pixels(SIZE)
    body = keras.applications.EfficientNetB0(include_top=False, weights=None, input_tensor=pixels, pooling="avg")
    return keras.Model(pixels, answer(body.output), name="efficientnet_b0")
