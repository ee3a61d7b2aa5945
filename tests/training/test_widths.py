"""Weights of one width start another: a wider network answers as before, a narrower one keeps the first channels."""

import keras
import numpy as np
import pytest
import torch

from q1net_core.network.variants import q1net
from training.finetune import Folded, fold
from training.widths import Layer, fit_layer, fit_width

RANDOM = np.random.default_rng(1)


@pytest.fixture(scope="module")
def layers() -> list[Layer]:
    keras.utils.set_random_seed(1)
    return fold(q1net(k=4).build())


def answers(layers: list[Layer]) -> np.ndarray:
    patches = np.random.default_rng(2).integers(0, 256, (8, 16, 16, 3), np.uint8)
    with torch.no_grad():
        return Folded(layers)(torch.from_numpy(patches)).numpy()


def shapes_of(k: int) -> list[tuple[int, ...]]:
    return [kernel.shape for kernel, _ in fold(q1net(k=k).build())]


def test_a_wider_network_answers_as_the_narrow_one_until_it_is_trained(layers: list[Layer]) -> None:
    wider = fit_width(layers, shapes_of(6), RANDOM)
    assert [kernel.shape for kernel, _ in wider] == shapes_of(6)
    assert np.allclose(answers(wider), answers(layers), atol=1e-3)


def test_new_channels_are_alive(layers: list[Layer]) -> None:
    for (kernel, bias), (wide, wide_bias) in zip(
        layers[:-1], fit_width(layers, shapes_of(6), RANDOM)[:-1], strict=True
    ):
        new = wide[len(kernel) :]
        assert len(new) == len(kernel) // 2
        assert (np.abs(new).reshape(len(new), -1).max(axis=1) > 0).all()
        assert wide_bias[len(bias) :].tolist() == [0] * len(new)


def test_the_same_width_changes_nothing(layers: list[Layer]) -> None:
    for layer, same in zip(layers, fit_width(layers, shapes_of(4), RANDOM), strict=True):
        assert all(np.array_equal(one, other) for one, other in zip(layer, same, strict=True))


def test_a_narrower_network_keeps_the_first_channels(layers: list[Layer]) -> None:
    assert answers(fit_width(layers, shapes_of(2), RANDOM)).shape == (8, 2)
    kernel, bias = np.arange(24, dtype=np.float32).reshape(4, 6, 1, 1), np.arange(4, dtype=np.float32)
    narrow, narrow_bias = fit_layer((kernel, bias), (2, 3, 1, 1), RANDOM)
    assert narrow[..., 0, 0].tolist() == [[0, 1, 2], [6, 7, 8]]
    assert narrow_bias.tolist() == [0, 1]
