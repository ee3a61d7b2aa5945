"""Weights of a Q1Net of one width as a start for another: a wider one answers as before until it is trained further."""

from collections.abc import Sequence

import numpy as np

from q1net_core.arrays import Float32Array

# Kernel, outputs first, and bias.
Layer = tuple[Float32Array, Float32Array]


def fit_width(layers: Sequence[Layer], shapes: Sequence[tuple[int, ...]], random: np.random.Generator) -> list[Layer]:
    """Layers of a Q1Net, made to fit the kernels ``shapes`` of another width.

    A wider network keeps what is there, and its new channels, drawn at random, reach no old channel: the answers stay.
    A narrower one keeps the first channels.
    """
    return [fit_layer(layer, shape, random) for layer, shape in zip(layers, shapes, strict=True)]


def fit_layer(layer: Layer, shape: tuple[int, ...], random: np.random.Generator) -> Layer:
    """One layer in another ``shape``, outputs first: new outputs see all inputs, old ones only those they knew."""
    kernel, bias = layer
    deviation = np.sqrt(2 / np.prod(shape[1:]))
    fitted = random.normal(0, deviation, shape).astype(np.float32)
    outputs, inputs = min(shape[0], kernel.shape[0]), min(shape[1], kernel.shape[1])
    fitted[:outputs] = 0
    fitted[:outputs, :inputs] = kernel[:outputs, :inputs]
    fitted_bias = np.zeros(shape[0], np.float32)
    fitted_bias[:outputs] = bias[:outputs]
    return fitted, fitted_bias
