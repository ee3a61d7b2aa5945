"""How a network of whole windows begins and ends: pixels as floats; one number, the quality.

Layer: keras; no beam, no pyarrow.
"""

import keras
from keras import layers

from q1net_core.network.variants import MAX_QUALITY


def see_pixels(size: int | None) -> keras.KerasTensor:
    """The input: uint8 RGB [N, size, size, 3], or of any size."""
    return keras.Input((size, size, 3), dtype="uint8", name="pixels")


def to_signed(pixels: keras.KerasTensor) -> keras.KerasTensor:
    """Pixels 0-255 -> -1 to 1."""
    return layers.Rescaling(1 / 127.5, offset=-1.0)(pixels)


def to_unit(pixels: keras.KerasTensor) -> keras.KerasTensor:
    """Pixels 0-255 -> 0 to 1."""
    return layers.Rescaling(1 / 255)(pixels)


def answer(features: keras.KerasTensor) -> keras.KerasTensor:
    """Features [N, C] -> quality, float32 [N, 1], 0-100.

    float32 whatever the precision policy: bfloat16 cannot tell level 99 from 99.5.
    """
    return scale_up(layers.Dense(1, dtype="float32")(features))


def scale_up(score: keras.KerasTensor) -> keras.KerasTensor:
    """A number of any size, float32 [N, 1], -> quality 0-100."""
    share = layers.Activation("sigmoid", dtype="float32")(score)
    return layers.Rescaling(MAX_QUALITY, dtype="float32")(share)
