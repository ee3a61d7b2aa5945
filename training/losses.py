"""Losses and metrics. LOSSES names them as variants do. Backend-neutral."""

from collections.abc import Callable

import keras
from keras import ops

from q1net_core.network.variants import MAX_QUALITY, NEVER_COMPRESSED

Metric = Callable[[keras.KerasTensor, keras.KerasTensor], keras.KerasTensor]


def observed_confidence(
    quality: keras.KerasTensor, predicted: keras.KerasTensor, largest: float = MAX_QUALITY
) -> keras.KerasTensor:
    """What the confidence should have been, ``largest`` - |error|, a constant: no gradient flows into the prediction.

    Source: BMVC 2021, equation (1).
    """
    return largest - ops.abs(quality - ops.stop_gradient(predicted))


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

    ``y_true`` float [N] or [N, 1] quality, ``y_pred`` float [N, 2] quality and confidence, all from 0 to ``largest``.
    """

    def __init__(
        self,
        confidence_weight: float = 0.5,
        largest: float = MAX_QUALITY,
        name: str = "confidence_aware",
        **kwargs: object,
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.confidence_weight, self.largest = confidence_weight, largest

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        """Loss of each sample, [N]."""
        seen = observed_confidence(ops.reshape(y_true, (-1,)), y_pred[:, 0], self.largest)
        return quality_error(y_true, y_pred) + self.confidence_weight * ops.abs(seen - y_pred[:, 1])

    def get_config(self) -> dict[str, object]:
        """Arguments that rebuild this loss."""
        return super().get_config() | {"confidence_weight": self.confidence_weight, "largest": self.largest}


@keras.saving.register_keras_serializable(package="q1net")
def level_error(y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
    """Absolute error of the middle of the likeliest part of the levels, [N]; ``y_pred`` [N, C] are probabilities."""
    levels = MAX_QUALITY / y_pred.shape[-1]
    middle = ops.cast(ops.argmax(y_pred, axis=-1), "float32") * levels + (levels + 1) / 2
    return ops.abs(ops.reshape(y_true, (-1,)) - middle)


@keras.saving.register_keras_serializable(package="q1net")
class LevelCrossentropy(keras.losses.Loss):
    """Cross-entropy of equal parts of the levels 1-100 as classes. ``y_true`` float [N] levels, ``y_pred`` [N, C]."""

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        """Loss of each sample, [N]."""
        place = ops.cast(ops.reshape(y_true, (-1,)), "int32") - 1
        return ops.sparse_categorical_crossentropy(place * y_pred.shape[-1] // int(MAX_QUALITY), y_pred)


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


# Name -> the loss, made from the weight of the confidence error (the paper's lambda) and the largest level, and what is
# reported beside it.
LOSSES: dict[str, tuple[Callable[[float, float], keras.losses.Loss], list[Metric]]] = {
    "confidence aware": (ConfidenceAwareLoss, [quality_error, confidence_error]),
    "absolute error": (lambda confidence_weight, largest: keras.losses.MeanAbsoluteError(), [quality_error]),
    "quality maps": (lambda confidence_weight, largest: QualityMaps(), [map_error]),
    "level cross-entropy": (lambda confidence_weight, largest: LevelCrossentropy(), [level_error]),
}


def make_loss(name: str, confidence_weight: float, largest: float = MAX_QUALITY) -> keras.losses.Loss:
    """The loss of that name in LOSSES."""
    return LOSSES[name][0](confidence_weight, largest)


def make_metrics(name: str, largest: float = MAX_QUALITY) -> list[Metric]:
    """What is reported beside the loss of that name, in levels; errors of confidence on the scale 0-100 alone."""
    return [metric for metric in LOSSES[name][1] if metric is not confidence_error or largest == MAX_QUALITY]
