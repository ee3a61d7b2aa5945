"""ShuffleNet v1 as a regressor of quality: 8 groups, bottlenecks of half the width.

Layer: keras; no beam, no pyarrow.
"""

import keras
from keras import layers

from q1net_core.network.heads import answer, see_pixels, to_signed

SIZE = 224
GROUPS = 8
# Channels and units of the stages 2, 3 and 4; the first unit of each halves height and width.
STAGES = ((384, 4), (768, 8), (1536, 4))


def convolve_groups(x: keras.KerasTensor, channels: int, groups: int) -> keras.KerasTensor:
    """1x1 convolution without bias in groups, then batch normalisation.

    As a product of matrices: TensorFlow's grouped convolution is many times slower on a CPU.
    """
    height, width, inputs = x.shape[1:]
    if groups == 1:
        x = layers.Conv2D(channels, 1, use_bias=False)(x)
    else:
        x = layers.Reshape((height, width, groups, inputs // groups))(x)
        x = layers.EinsumDense("bhwgi,gio->bhwgo", (height, width, groups, channels // groups))(x)
        x = layers.Reshape((height, width, channels))(x)
    return layers.BatchNormalization()(x)


def shuffle_channels(x: keras.KerasTensor) -> keras.KerasTensor:
    """Each group gets channels of all groups."""
    height, width, channels = x.shape[1:]
    x = layers.Reshape((height, width, GROUPS, channels // GROUPS))(x)
    return layers.Reshape((height, width, channels))(layers.Permute((1, 2, 4, 3))(x))


def unit(x: keras.KerasTensor, channels: int, stride: int, groups: int) -> keras.KerasTensor:
    """A residual unit with ``channels`` outputs; with stride 2 the input is appended instead of added."""
    inner = layers.ReLU()(convolve_groups(x, channels // 2, groups))
    inner = layers.DepthwiseConv2D(3, stride, padding="same", use_bias=False)(shuffle_channels(inner))
    inner = layers.BatchNormalization()(inner)
    if stride == 1:
        return layers.ReLU()(layers.Add()([x, convolve_groups(inner, channels, GROUPS)]))
    inner = convolve_groups(inner, channels - x.shape[-1], GROUPS)
    shortcut = layers.AveragePooling2D(3, 2, padding="same")(x)
    return layers.ReLU()(layers.Concatenate()([shortcut, inner]))


def build_shufflenet() -> keras.Model:
    """Untrained ShuffleNet: uint8 RGB [N, 224, 224, 3] -> float32 [N, 1], 0-100.

    BMVC 2021 prints 3.71 million parameters, which 8 groups and bottlenecks of half the width do not give. Source:
    Zhang et al., CVPR 2018.
    """
    pixels = see_pixels(SIZE)
    x = layers.Conv2D(24, 3, 2, padding="same", use_bias=False)(to_signed(pixels))
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.MaxPooling2D(3, 2, padding="same")(x)
    for number, (channels, units) in enumerate(STAGES):
        # The 24 channels of the stem are too few for groups.
        x = unit(x, channels, 2, GROUPS if number else 1)
        for _ in range(units - 1):
            x = unit(x, channels, 1, GROUPS)
    return keras.Model(pixels, answer(layers.GlobalAveragePooling2D()(x)), name="shufflenet")
