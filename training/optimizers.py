"""Optimizers: Adam as in the paper, and Muon for the convolution kernels. Backend-neutral."""

import keras
from keras import ops

COLOURS = 3
# Of Muon's learning rate.
ADAM_SHARE = 0.5


@keras.saving.register_keras_serializable(package="q1net")
class KernelMuon(keras.optimizers.Muon):
    """Muon on inner convolution kernels, seen as (inputs x outputs) matrices, and Adam on everything else.

    Keras's own Muon leaves 4-D kernels, here nearly all weights, to Adam. The first kernel, on three colours, and the
    head, which no batch normalisation keeps in range, stay with Adam: Muon's steps of constant size killed the head's
    ReLUs before training left the constant answer.
    """

    def _should_use_adamw(self, variable: keras.Variable) -> bool:
        return len(variable.shape) != 4 or variable.shape[2] == COLOURS or "head" in variable.path

    def _muon_update_step(
        self, gradient: keras.KerasTensor, variable: keras.Variable, lr: keras.KerasTensor, m: keras.Variable
    ) -> None:
        self.assign_add(m, ops.add(gradient, m * (self.momentum - 1)))
        direction = ops.add(gradient, self.momentum * m)
        matrix = ops.reshape(direction, (-1, variable.shape[-1]))
        update = self.lr_adjust(ops.cast(lr, variable.dtype) * self.zeropower_via_newtonschulz5(matrix, self.ns_steps))
        self.assign_sub(variable, ops.reshape(update, variable.shape))


def make_optimizer(
    name: str, learning_rate: float, warmup_steps: int, steps: int, ema_momentum: float | None = None
) -> keras.optimizers.Optimizer:
    """``adam`` or ``muon``, a linear warm-up, then a cosine down to zero at ``steps``; averages weights if asked."""
    average = {} if ema_momentum is None else {"use_ema": True, "ema_momentum": ema_momentum}
    schedule = keras.optimizers.schedules.CosineDecay(
        learning_rate / 20, steps - warmup_steps, alpha=0.0, warmup_target=learning_rate, warmup_steps=warmup_steps
    )
    if name == "muon":
        return KernelMuon(schedule, adam_lr_ratio=ADAM_SHARE, weight_decay=0.0, adam_weight_decay=0.0, **average)
    return keras.optimizers.Adam(schedule, **average)
