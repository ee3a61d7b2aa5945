"""While a training runs: lines that tell how far it is, and the time limit that ends it."""

import math
import time
from datetime import timedelta

import keras

from q1net_core.network.variants import VARIANTS
from q1net_core.sampling import PATCHES
from training.config import TrainConfig

SECONDS_BETWEEN_LINES = 30.0


class TimeLimit(keras.callbacks.Callback):
    """Ends the training after the step or validation in which ``seconds`` have passed; None never ends it.

    ``reached`` says whether it has.
    """

    def __init__(self, seconds: float | None) -> None:
        super().__init__()
        self.deadline = time.monotonic() + (math.inf if seconds is None else seconds)
        self.reached = False

    def stop_in_time(self) -> None:
        """Stop when the time is over."""
        if time.monotonic() >= self.deadline:
            self.reached = self.model.stop_training = True

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """After a step, which may be far from the end of its epoch."""
        self.stop_in_time()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """After a validation."""
        self.stop_in_time()


class Progress(keras.callbacks.Callback):
    """Prints a line after a step, half a minute after the last line at the earliest."""

    def __init__(self, config: TrainConfig) -> None:
        super().__init__()
        self.config = config
        self.told = time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Speed is that of the epoch so far: validations do not count."""
        self.begun = time.monotonic()
        self.first = self.step = int(self.model.optimizer.iterations)

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Count the step; print the line if it is time for one."""
        self.step += 1
        now = time.monotonic()
        if now - self.told >= SECONDS_BETWEEN_LINES:
            self.told = now
            print(describe_progress(self.config, self.first, self.step, now - self.begun), flush=True)


def describe_progress(config: TrainConfig, first: int, step: int, seconds: float) -> str:
    """How far a training is, how fast, and how long it will take, having come from step ``first`` in ``seconds``."""
    done = config.patches_until(step)
    speed = (done - config.patches_until(first)) / seconds
    left = timedelta(seconds=round((config.patches_until(config.steps) - done) / speed))
    unit = "patches" if VARIANTS[config.variant].input == PATCHES else "images"
    return f"step {step:,} of {config.steps:,}: {speed:,.1f} {unit}/s, about {left} left"
