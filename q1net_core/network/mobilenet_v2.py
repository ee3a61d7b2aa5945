"""MobileNetV2 as a regressor of quality.

Layer: keras; no beam, no pyarrow.
"""

import keras

from q1net_core.network.heads import answer, see_pixels, to_signed

SIZE = 224


def build_mobilenet_v2() -> keras.Model:
    """Untrained MobileNetV2: uint8 RGB [N, 224, 224, 3] -> float32 [N, 1], 0-100.

    The library's network. That of BMVC 2021 has 60,000 parameters more, about those of the 1x1 shortcuts that some
    re-implementations add. Source: Sandler et al., CVPR 2018.
    """
    pixels = see_pixels(SIZE)
    body = keras.applications.MobileNetV2(
        include_top=False, weights=None, input_tensor=to_signed(pixels), pooling="avg"
    )
    return keras.Model(pixels, answer(body.output), name="mobilenet_v2")
