"""Losses and metrics. LOSSES names them as variants do. Backend-neutral."""

from collections.abc import Callable

import keras
from keras import ops

from q1net_core.network.variants import MAX_QUALITY, NEVER_COMPRESSED

Metric = Callable[[keras.KerasTensor, keras.KerasTensor], keras.KerasTensor]


def observed_confidence(quality: keras.KerasTensor, predicted: keras.KerasTensor) -> keras.KerasTensor:
    """What the confidence should have been, 100 - |error|, as a constant: no gradient flows into the prediction.

    Source: BMVC 2021, equation (1).
    """
    return MAX_QUALITY - ops.abs(quality - ops.stop_gradient(predicted))


@keras.saving.register_keras_serializable(package="q1net")
def quality_error(y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
    """Absolute error of the predicted quality, [N]."""
    return ops.abs(ops.reshape(y_true, (-1,)) - y_pred[:, 0])


@keras.saving.register_keras_serializable(package="q1net")
def confidence_error(y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
    """Absolute error of the predicted confidence, [N]."""
    return ops.abs(observed_confidence(ops.reshape(y_true, (-1,)), y_pred[:, 0]) - y_pred[:, 1])


@keras.saving.register_keras_serializable(package="q1net")
class ConfidenceAwareLoss(keras.losses.Loss):
    """|quality error| + lambda |confidence error|; source: BMVC 2021, equation (5).

    ``y_true`` float [N] or [N, 1] quality, ``y_pred`` float [N, 2] quality and confidence, all 0-100.
    """

    def __init__(self, confidence_weight: float = 0.5, name: str = "confidence_aware", **kwargs: object) -> None:
        super().__init__(name=name, **kwargs)
        self.confidence_weight = confidence_weight

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        """Loss of each sample, [N]."""
        return quality_error(y_true, y_pred) + self.confidence_weight * confidence_error(y_true, y_pred)

    def get_config(self) -> dict[str, object]:
        """Arguments that rebuild this loss."""
        return super().get_config() | {"confidence_weight": self.confidence_weight}


@keras.saving.register_keras_serializable(package="q1net")
def level_error(y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
    """Absolute error of the most probable of the levels 1-100, [N]; ``y_pred`` are their probabilities."""
    return ops.abs(ops.reshape(y_true, (-1,)) - ops.cast(ops.argmax(y_pred, axis=-1) + 1, "float32"))


@keras.saving.register_keras_serializable(package="q1net")
class LevelCrossentropy(keras.losses.Loss):
    """Cross-entropy of the levels 1-100 as classes. ``y_true`` float [N] levels, ``y_pred`` float [N, 100]."""

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        """Loss of each sample, [N]."""
        return ops.sparse_categorical_crossentropy(ops.cast(ops.reshape(y_true, (-1,)), "int32") - 1, y_pred)


@keras.saving.register_keras_serializable(package="q1net")
def map_error(y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
    """Absolute error of the mean of JQE's quality maps, [N]; of never-compressed pictures against 100."""
    quality = MAX_QUALITY * (1 - ops.mean(ops.clip(y_pred[..., 0], 0.0, 1.0), axis=(1, 2)))
    return ops.abs(ops.minimum(ops.reshape(y_true, (-1,)), MAX_QUALITY) - quality)


@keras.saving.register_keras_serializable(package="q1net")
class QualityMaps(keras.losses.Loss):
    """Mean squared error of JQE's two maps against constant ones: 1 - quality / 100, and whether never compressed.

    ``y_true`` float [N] levels, or NEVER_COMPRESSED; ``y_pred`` float [N, h, w, 2]. Source: Uchida et al. 2019.
    """

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        """Loss of each sample, [N]."""
        level = ops.reshape(y_true, (-1, 1, 1))
        lost = 1 - ops.minimum(level, MAX_QUALITY) / MAX_QUALITY
        never = ops.cast(level == NEVER_COMPRESSED, y_pred.dtype)
        errors = ops.square(y_pred[..., 0] - lost) + ops.square(y_pred[..., 1] - never)
        return ops.mean(errors, axis=(1, 2)) / 2


# Name -> the loss, made from the weight of the confidence error (the paper's lambda), and what is reported beside it.
LOSSES: dict[str, tuple[Callable[[float], keras.losses.Loss], list[Metric]]] = {
    "confidence aware": (ConfidenceAwareLoss, [quality_error, confidence_error]),
    "absolute error": (lambda confidence_weight: keras.losses.MeanAbsoluteError(), [quality_error]),
    "quality maps": (lambda confidence_weight: QualityMaps(), [map_error]),
    "level cross-entropy": (lambda confidence_weight: LevelCrossentropy(), [level_error]),
}


def make_loss(name: str, confidence_weight: float) -> keras.losses.Loss:
    """The loss of that name in LOSSES."""
    return LOSSES[name][0](confidence_weight)


def make_metrics(name: str) -> list[Metric]:
    """What is reported beside the loss of that name, in levels."""
    return LOSSES[name][1]
