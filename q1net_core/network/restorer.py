"""The post-filter that takes a codec's noise out of a decoded picture, as a Keras model and as arrays.

Layer: keras, imported when a model is built; no beam, no pyarrow.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from q1net_core.arrays import Float32Array
from q1net_core.network.predictor import compile_keras

if TYPE_CHECKING:
    import keras

INPUTS, OUTPUTS = 14, 12
WIDTH, DEPTH = 48, 6
# Rows of a strip, and how many of its neighbours' rows the convolutions look at.
STRIP = 128
HALO = DEPTH + 1


def build_restorer(width: int = WIDTH, depth: int = DEPTH) -> "keras.Model":
    """The untrained filter: features float32 [N, h, w, 14] -> corrections [N, h, w, 12], in units of half the noise.

    ``depth`` convolutions 3x3 of ``width`` channels, all but the first with a bypass; the last one starts at zero, so
    that the untrained filter changes nothing. 115,212 parameters.
    """
    import keras
    from keras import layers

    features = keras.Input((None, None, INPUTS))
    x = layers.Conv2D(width, 3, padding="same", activation="relu")(features)
    for _ in range(depth - 1):
        x = layers.Add()([x, layers.Conv2D(width, 3, padding="same", activation="relu")(x)])
    # float32 whatever the precision policy: bfloat16 has too few digits for what is small beside the noise.
    corrections = layers.Conv2D(OUTPUTS, 3, padding="same", kernel_initializer="zeros", dtype="float32")(x)
    return keras.Model(features, corrections, name="restorer")


class Restorer:
    """A loaded filter: ``correct`` maps the features of a picture to corrections. Safe to share between threads.

    Args:
        weights: arrays in the order of ``build_restorer``; they name width and depth by their shapes.
    """

    def __init__(self, weights: Sequence[Float32Array]) -> None:
        model = build_restorer(weights[0].shape[-1], len(weights) // 2 - 1)
        model.set_weights(list(weights))
        self._call: Callable[[Any], Any] = compile_keras(model)
        self.halo = len(weights) // 2

    def correct(self, features: Float32Array) -> Float32Array:
        """Features float32 [h, w, 14] -> corrections [h, w, 12], in strips: memory does not grow with the height."""
        rows = []
        for start in range(0, len(features), STRIP):
            first = max(0, start - self.halo)
            strip = features[None, first : start + STRIP + self.halo]
            rows.append(np.asarray(self._call(strip))[0, start - first :][:STRIP])
        return np.concatenate(rows)
