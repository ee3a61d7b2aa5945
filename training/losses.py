"""The confidence-aware loss and the errors it is made of. Backend-neutral."""

import keras
from keras import ops

from q1net_core.model import MAX_QUALITY


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
