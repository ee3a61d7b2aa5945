"""Muon on kernels, Adam on the rest; schedules; averages of the weights."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from training.optimizers import KernelMuon, make_optimizer


def step_muon(shape: tuple[int, ...], gradient: np.ndarray) -> np.ndarray:
    """Change of a variable by the first step of Muon."""
    variable = keras.Variable(np.zeros(shape, np.float32))
    optimizer = KernelMuon(0.1, weight_decay=0.0, adam_weight_decay=0.0)
    optimizer.apply([tf.constant(gradient, tf.float32)], [variable])
    return np.asarray(variable.value)


def test_muon_evens_out_the_directions_of_a_kernels_gradient() -> None:
    rng = np.random.default_rng(1)
    # Nearly all of one sign, so that Adam's step would have one direction alone.
    gradient = rng.normal(1, 0.3, (3, 3, 4, 8))
    step = step_muon((3, 3, 4, 8), gradient)
    before, after = (np.linalg.svd(matrix.reshape(36, 8), compute_uv=False) for matrix in (gradient, step))
    assert before[0] / before[-1] > 10
    assert after[0] / after[-1] < 2
    assert float((step * gradient).sum()) < 0
    assert step_muon((3, 3, 4, 8), 1000 * gradient) == pytest.approx(step, rel=0.05, abs=1e-3)


@pytest.mark.parametrize("shape", [(8,), (8, 2), (3, 3, 3, 8)])
def test_muon_leaves_all_but_inner_kernels_to_adam(shape: tuple[int, ...]) -> None:
    gradient = np.random.default_rng(1).normal(size=shape)
    step = step_muon(shape, gradient)
    # Adam's first step has one size in every element.
    assert np.array_equal(np.sign(step), -np.sign(gradient))
    assert np.ptp(np.abs(step)) < 1e-2 * np.abs(step).max()


@pytest.mark.parametrize("name", ["adam", "muon"])
def test_optimizer_survives_serialisation_with_its_schedule(name: str) -> None:
    optimizer = make_optimizer(name, 0.01, warmup_steps=10, steps=110)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(optimizer))
    assert type(again) is type(optimizer)
    schedule = again.get_config()["learning_rate"]
    schedule = keras.saving.deserialize_keras_object(schedule)
    rates = [float(schedule(step)) for step in (0, 10, 60, 110)]
    assert rates == pytest.approx([0.0005, 0.01, 0.005, 0.0], abs=1e-6)


@pytest.mark.parametrize("name", ["adam", "muon"])
def test_optimizer_averages_the_weights_if_asked(name: str) -> None:
    variable = keras.Variable(np.ones((3, 3, 4, 8), np.float32))
    optimizer = make_optimizer(name, 0.1, warmup_steps=1, steps=10, ema_momentum=0.75)
    seen = []
    for _ in range(4):
        optimizer.apply([tf.ones((3, 3, 4, 8))], [variable])
        seen.append(np.array(variable.value))
    average = seen[0]
    for value in seen[1:]:
        average = 0.75 * average + 0.25 * value
    optimizer.finalize_variable_values([variable])
    assert np.array(variable.value) == pytest.approx(average, rel=1e-5)
    assert not make_optimizer(name, 0.1, warmup_steps=1, steps=10).use_ema
