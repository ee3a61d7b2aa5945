"""Training of a post-filter: crops of pairs, Adam with a warm-up and a cosine, a checkpoint to go on from."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from q1net_core.arrays import Float32Array
from q1net_core.boost.features import split_bands, to_features
from q1net_core.network.restorer import build_restorer
from training.boost.pairs import Pair


@dataclass(frozen=True, slots=True)
class FilterRecipe:
    """How a filter is trained: ``crop`` pixels a side on the 16 grid, ``batch`` of them a step."""

    steps: int = 1500
    learning_rate: float = 2e-3
    warmup: int = 50
    batch: int = 16
    crop: int = 64
    clip: float = 1.0
    checkpoint_every: int = 250
    seed: int = 0


def draw_batch(pairs: Sequence[Pair], recipe: FilterRecipe, step: int) -> tuple[Float32Array, Float32Array]:
    """Features [B, c, c, 14] and targets [B, c, c, 12] of one step; the same step gives the same batch.

    Targets are the codec's error in units of half its RMSE: the mean of their squares is 4 times the share of the
    error that is left when nothing is done.
    """
    rng = np.random.default_rng([recipe.seed, step])
    features, targets = [], []
    for number in rng.integers(len(pairs), size=recipe.batch):
        pair = pairs[number]
        top, left = (16 * int(rng.integers((side - recipe.crop) // 16 + 1)) for side in pair.original.shape[:2])
        window = slice(top, top + recipe.crop), slice(left, left + recipe.crop)
        turns, mirrored = int(rng.integers(4)), bool(rng.integers(2))
        crops = [np.rot90(pixels[window], turns) for pixels in (pair.original, pair.decoded)]
        original, decoded = (crop[:, ::-1] if mirrored else crop for crop in crops)
        features.append(to_features(decoded, pair.noise, pair.rate))
        targets.append(split_bands(original.astype(np.float32) - decoded) * np.float32(2 / pair.noise))
    return np.stack(features), np.stack(targets)


def train_filter(
    make: Callable[[], Sequence[Pair]], recipe: FilterRecipe, checkpoint: Path, seconds: float | None = None
) -> tuple[keras.Model, int]:
    """Train, from the checkpoint where there is one; returns the model and the number of steps it has had.

    Args:
        make: gives the pairs that crops are drawn from; called only if steps are missing.
        recipe: how.
        checkpoint: a .keras file, written on the way and at the end; beside it lies the number of steps.
        seconds: stop in time; the cosine stays that of all steps, so call again to finish.
    """
    counter, start = checkpoint.with_suffix(".step"), time.monotonic()
    if checkpoint.exists():
        model, step = keras.saving.load_model(checkpoint), int(counter.read_text())
    else:
        keras.utils.set_random_seed(recipe.seed)
        model, step = build_restorer(), 0
        rate = keras.optimizers.schedules.CosineDecay(
            0.0, recipe.steps, warmup_target=recipe.learning_rate, warmup_steps=recipe.warmup
        )
        model.compile(keras.optimizers.Adam(rate, global_clipnorm=recipe.clip), "mse")
    recent: list[float] = []
    pairs = make() if step < recipe.steps else []
    while step < recipe.steps and (seconds is None or time.monotonic() - start < seconds):
        features, targets = draw_batch(pairs, recipe, step)
        model.reset_metrics()
        recent.append(float(model.train_on_batch(features, targets)) / float(np.mean(targets**2)))
        step += 1
        if step % recipe.checkpoint_every == 0 or step == recipe.steps:
            model.save(checkpoint)
            counter.write_text(str(step))
            print(f"step {step}: {np.mean(recent):.4f} of the codec's error left", flush=True)
            recent.clear()
    return model, step
