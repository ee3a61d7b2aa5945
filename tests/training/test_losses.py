"""Losses and errors by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from training.losses import (
    LOSSES,
    ConfidenceAwareLoss,
    LevelCrossentropy,
    confidence_error,
    level_error,
    make_loss,
    make_metrics,
    quality_error,
)

TRUTH = np.float32([50, 80, 30])
PREDICTED = np.float32([[60, 70], [80, 90], [25, 99]])


def test_loss_by_hand() -> None:
    # Errors 10, 0, 5 mean confidences of 90, 100, 95, which are off by 20, 10, 4.
    assert np.asarray(quality_error(TRUTH, PREDICTED)).tolist() == [10, 0, 5]
    assert np.asarray(confidence_error(TRUTH, PREDICTED)).tolist() == [20, 10, 4]
    for truth in (TRUTH, TRUTH[:, None]):
        assert np.asarray(ConfidenceAwareLoss(0.5).call(truth, PREDICTED)).tolist() == [20, 5, 7]
    assert float(ConfidenceAwareLoss(0.25)(TRUTH, PREDICTED)) == pytest.approx((15 + 2.5 + 6) / 3)


def test_confidence_error_does_not_move_the_quality() -> None:
    predicted = tf.Variable(PREDICTED)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(ConfidenceAwareLoss(0.5).call(tf.constant(TRUTH), predicted))
    gradient = tape.gradient(loss, predicted).numpy()
    assert gradient[:, 0].tolist() == [1, 0, -1]
    assert gradient[:, 1].tolist() == [-0.5, -0.5, 0.5]


def test_loss_survives_serialisation() -> None:
    loss = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(ConfidenceAwareLoss(0.25)))
    assert isinstance(loss, ConfidenceAwareLoss)
    assert loss.confidence_weight == 0.25


def test_cross_entropy_by_hand() -> None:
    probabilities = np.full((2, 100), 0.5 / 99, np.float32)
    probabilities[0, 29] = probabilities[1, 99] = 0.5
    truth = np.float32([30, 1])
    losses = np.asarray(LevelCrossentropy(reduction=None)(truth, probabilities))
    assert losses == pytest.approx([np.log(2), np.log(198)], rel=1e-4)
    assert np.asarray(level_error(truth, probabilities)).tolist() == [0, 99]


def test_a_class_may_be_a_part_of_the_levels() -> None:
    probabilities = np.float32([[0.25, 0.75], [0.5, 0.5], [1, 0]])
    truth = np.float32([51, 50, 1])
    losses = np.asarray(LevelCrossentropy(reduction=None)(truth, probabilities))
    assert losses == pytest.approx(-np.log([0.75, 0.5, 1]), abs=1e-5)
    assert np.asarray(level_error(truth, probabilities)).tolist() == [24.5, 24.5, 24.5]


def test_regressor_minimises_the_absolute_error() -> None:
    truth, outputs = np.float32([30, 80]), np.float32([[33], [75]])
    assert float(make_loss("absolute error", 0.5)(truth, outputs)) == 4
    assert [float(metric(truth, outputs)[0]) for metric in make_metrics("absolute error")] == [3]


@pytest.mark.parametrize("name", LOSSES)
def test_metrics_and_losses_survive_serialisation(name: str) -> None:
    loss = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(make_loss(name, 0.25)))
    assert type(loss) is type(make_loss(name, 0.25))
    for metric in make_metrics(name):
        assert keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metric)) is metric
