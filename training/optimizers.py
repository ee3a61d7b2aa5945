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
    ReLUs before training left the constant answer. Weight decay is Adam's for all variables; both are 0 here.
    """

    def build(self, variables: list[keras.Variable]) -> None:
        """Make a momentum for each variable, and a velocity for each that is Adam's."""
        if self.built:
            return
        # Not Muon's own, which gives every kernel a velocity.
        super(keras.optimizers.Muon, self).build(variables)
        self.momentums, self.adam_velocities = [], []
        for variable in variables:
            self.momentums.append(self.add_variable_from_reference(variable, name="momentum"))
            adam = None if is_inner_kernel(variable) else self.add_variable_from_reference(variable, name="velocity")
            self.adam_velocities.append(adam)

    def update_step(
        self, gradient: keras.KerasTensor, variable: keras.Variable, learning_rate: keras.KerasTensor
    ) -> None:
        """One step of one variable."""
        # Keras's documentation for optimizers of one's own names this method, underscore or not.
        index = self._get_variable_index(variable)
        momentum = self.momentums[index]
        if self.adam_velocities[index] is not None:
            super().update_step(gradient, variable, learning_rate)
            return
        self.assign_add(momentum, ops.add(gradient, momentum * (self.momentum - 1)))
        direction = ops.add(gradient, self.momentum * momentum)
        matrix = ops.reshape(direction, (-1, variable.shape[-1]))
        even = self.zeropower_via_newtonschulz5(matrix, self.ns_steps)
        update = self.lr_adjust(ops.cast(learning_rate, variable.dtype) * even)
        self.assign_sub(variable, ops.reshape(update, variable.shape))


def is_inner_kernel(variable: keras.Variable) -> bool:
    """Whether a variable is a convolution kernel, but not the first one or the head's."""
    return len(variable.shape) == 4 and variable.shape[2] != COLOURS and "head" not in variable.path


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
