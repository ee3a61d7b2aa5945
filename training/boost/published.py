"""The scheme as its supplement publishes it: an index for every cell of a grid, features by k-means, three networks.

Source: supplement of Chen, Chang, Tsai and Chiu, "Boosting Image and Video Compression via Learning Latent Residual
Patterns", BMVC 2020, tables 1 and 2; what these leave out follows "The published scheme" in docs/residual_patterns.md.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

import keras
import numpy as np
from keras import layers

from q1net_core.arrays import Float32Array, IntArray
from q1net_core.boost.patterns import find_distances
from training.boost.pairs import Pair

# Table 1: channels of pairs of 3x3 convolutions. The second of each pair halves both sides, but for the last pair: with
# the printed strides the grid would be a sixteenth, and three upsamplings bring only an eighth back.
ENCODER = (32, 64, 128, 256)
DECODER = ((256, 128), (128, 64), (64, 32), (32, 3))
CELL = 8
FEATURES = ENCODER[-1]
# After ESPCN: side and channels of the convolutions of U; the last one's channels become 8x8 pixels.
UPSAMPLER = ((5, 256), (3, 256), (3, 128), (3, CELL * CELL))
# Table 2: channels of F before the last three, and the layer that U's output enters in front of.
REFINER, ENTERS = (64,) * 7, 5
# What the networks give, whatever the precision policy: bfloat16 has too few digits for a residual.
WHOLE = "float32"


@dataclass(frozen=True, slots=True)
class PublishedRecipe:
    """The schedule as published: Adam, the rate halved every ``halve_every`` epochs; a batch of crops a step.

    In the first ``true_epochs`` U sees the features themselves; then their centres, found again after every epoch. Loss
    weights are those of the residual's decoder, of the picture and, with centres, of their distance from the features.
    """

    patterns: int = 1024
    epochs: int = 60
    steps: int = 100
    batch: int = 8
    crop: int = 64
    learning_rate: float = 1e-4
    halve_every: int = 6
    true_epochs: int = 5
    true_weights: tuple[float, float] = (0.5, 0.5)
    weights: tuple[float, float, float] = (0.5, 0.2, 0.3)
    cells_per_picture: int = 20
    kmeans_rounds: int = 10
    # To compile four networks takes longer than a few steps do.
    eager: bool = False
    seed: int = 0


PRESETS = {f"published-{patterns}": PublishedRecipe(patterns) for patterns in (512, 1024, 2048, 4096)}
PRESETS["smoke"] = PublishedRecipe(
    patterns=8, epochs=2, steps=2, batch=2, crop=32, true_epochs=1, cells_per_picture=8, kmeans_rounds=2, eager=True
)


@dataclass(frozen=True, slots=True)
class Published:
    """The networks: residual [N, H, W, 3] -> features [N, H / 8, W / 8, 256] -> residual; features -> plane; output."""

    encoder: keras.Model
    decoder: keras.Model
    upsampler: keras.Model
    refiner: keras.Model


def convolve(x: keras.KerasTensor, channels: int, stride: int = 1) -> keras.KerasTensor:
    """A 3x3 convolution, normalised, with a leaky ReLU."""
    x = layers.Conv2D(channels, 3, strides=stride, padding="same")(x)
    return layers.LeakyReLU()(layers.BatchNormalization()(x))


def build_encoder() -> keras.Model:
    """E. Its last normalisation has neither scale nor offset: features of variance 1 do not collapse while training."""
    residual = keras.Input((None, None, 3))
    x = residual
    for channels in ENCODER[:-1]:
        x = convolve(convolve(x, channels), channels, stride=2)
    x = layers.Conv2D(FEATURES, 3, padding="same")(convolve(x, FEATURES))
    features = layers.BatchNormalization(scale=False, center=False, dtype=WHOLE)(x)
    return keras.Model(residual, features, name="encoder")


def build_decoder() -> keras.Model:
    """The decoder of E, for training alone: table 1's lower half, bilinear upsampling between the pairs."""
    features = keras.Input((None, None, FEATURES))
    x = features
    for first, second in DECODER[:-1]:
        x = layers.UpSampling2D(interpolation="bilinear")(convolve(convolve(x, first), second))
    x = layers.Conv2D(DECODER[-1][1], 3, padding="same", dtype=WHOLE)(convolve(x, DECODER[-1][0]))
    return keras.Model(features, x, name="decoder")


def build_upsampler() -> keras.Model:
    """U: patterns [N, h, w, 256] -> one plane [N, 8 h, 8 w, 1] between 0 and 1, by pixel shuffle."""
    patterns = keras.Input((None, None, FEATURES))
    x = patterns
    for number, (size, channels) in enumerate(UPSAMPLER, start=1):
        last = number == len(UPSAMPLER)
        x = layers.Conv2D(channels, size, padding="same", activation="sigmoid" if last else "tanh")(x)
    return keras.Model(patterns, PixelShuffle(dtype=WHOLE)(x), name="upsampler")


class PixelShuffle(layers.Layer):
    """Channels [N, h, w, 64] -> pixels [N, 8 h, 8 w, 1]."""

    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """Source: Shi et al., CVPR 2016."""
        shape = keras.ops.shape(x)
        x = keras.ops.reshape(x, (shape[0], shape[1], shape[2], CELL, CELL))
        x = keras.ops.transpose(x, (0, 1, 3, 2, 4))
        return keras.ops.reshape(x, (shape[0], shape[1] * CELL, shape[2] * CELL, 1))

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Sides 8 times as long, one channel."""
        sides = (None if side is None else CELL * side for side in shape[1:3])
        return (shape[0], *sides, 1)


def build_refiner() -> keras.Model:
    """F: table 2; the plane is added to all channels in front of layer 5, and the decoded picture to the output."""
    decoded, plane = keras.Input((None, None, 3)), keras.Input((None, None, 1))
    x = decoded
    for number, channels in enumerate(REFINER, start=1):
        if number == ENTERS:
            x = layers.Add()([x, plane])
        x = layers.Conv2D(channels, 3, padding="same")(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Add(dtype=WHOLE)([layers.Conv2D(3, 3, padding="same", dtype=WHOLE)(x), decoded])
    return keras.Model([decoded, plane], x, name="refiner")


def build_published() -> Published:
    """All four, untrained."""
    return Published(build_encoder(), build_decoder(), build_upsampler(), build_refiner())


def join(networks: Published, recipe: PublishedRecipe, with_centres: bool) -> keras.Model:
    """The networks as one model to train: on true features, or on centres, which carry no gradient to E."""
    decoded, residual = keras.Input((None, None, 3)), keras.Input((None, None, 3))
    centres = keras.Input((None, None, FEATURES))
    features = networks.encoder(residual)
    shown = networks.refiner([decoded, networks.upsampler(centres if with_centres else features)])
    outputs = [networks.decoder(features), shown, *([features] if with_centres else [])]
    model = keras.Model([decoded, residual, *([centres] if with_centres else [])], outputs)
    weights = recipe.weights if with_centres else recipe.true_weights
    optimizer = keras.optimizers.Adam(recipe.learning_rate)
    model.compile(
        optimizer, ["mae"] * len(weights), loss_weights=list(weights), jit_compile=False, run_eagerly=recipe.eager
    )
    return model


def find_centres(features: Float32Array, count: int, rounds: int, rng: np.random.Generator) -> Float32Array:
    """k-means of features [N, 256]: patterns [count, 256]; one without members is drawn again."""
    centres = features[rng.choice(len(features), count, replace=len(features) < count)]
    for _ in range(rounds):
        nearest = name_cells(features, centres)
        members = np.bincount(nearest, minlength=count)
        sums = np.zeros(centres.shape)
        np.add.at(sums, nearest, features)
        centres = (sums / np.maximum(members, 1)[:, None]).astype(np.float32)
        empty = np.flatnonzero(members == 0)
        centres[empty] = features[rng.integers(len(features), size=len(empty))]
    return centres


def name_cells(features: Float32Array, centres: Float32Array) -> IntArray:
    """The nearest pattern of each cell [N, 256]."""
    pieces = [find_distances(features[at : at + 4096], centres).argmin(1) for at in range(0, len(features), 4096)]
    return np.concatenate(pieces)


def draw_crops(
    pairs: Sequence[Pair], count: int, recipe: PublishedRecipe, rng: np.random.Generator
) -> tuple[Float32Array, Float32Array]:
    """Crops of originals and of what the codec left, float32 [count, crop, crop, 3], 0 to 1."""
    crops: list[tuple[Float32Array, Float32Array]] = []
    for number in rng.integers(len(pairs), size=count):
        pair = pairs[number]
        top, left = (CELL * int(rng.integers((side - recipe.crop) // CELL + 1)) for side in pair.original.shape[:2])
        window = slice(top, top + recipe.crop), slice(left, left + recipe.crop)
        crops.append((pair.original[window] / np.float32(255), pair.decoded[window] / np.float32(255)))
    return np.stack([original for original, _ in crops]), np.stack([decoded for _, decoded in crops])


def train_published(
    pairs: Sequence[Pair], recipe: PublishedRecipe, seconds: float = inf
) -> tuple[Published, Float32Array, int]:
    """Train as published; returns the networks, the patterns and the number of epochs.

    After so many CPU ``seconds`` no further epoch begins, but for those that the patterns need.
    """
    keras.utils.set_random_seed(recipe.seed)
    rng, start = np.random.default_rng(recipe.seed), time.process_time()
    networks, centres, done = build_published(), np.zeros((0, FEATURES), np.float32), 0
    phases = [join(networks, recipe, with_centres) for with_centres in (False, True)]
    while done < recipe.epochs and (done < recipe.true_epochs or time.process_time() - start < seconds):
        with_centres = done >= recipe.true_epochs
        model, losses = phases[with_centres], []
        model.optimizer.learning_rate = recipe.learning_rate / 2 ** (done // recipe.halve_every)
        for _ in range(recipe.steps):
            originals, decoded = draw_crops(pairs, recipe.batch, recipe, rng)
            residuals = originals - decoded
            inputs, targets = [decoded, residuals], [residuals, originals]
            if with_centres:
                cells = quantise(networks, residuals, centres)[1]
                inputs, targets = [*inputs, cells], [*targets, cells]
            losses.append(model.train_on_batch(inputs, targets)[0])
        done += 1
        if done >= recipe.true_epochs:
            centres = collect_centres(networks, pairs, recipe, rng)
        print(f"epoch {done}: loss {np.mean(losses):.5f}, {time.process_time() - start:.0f} CPU seconds", flush=True)
    return networks, centres, done


def collect_centres(
    networks: Published, pairs: Sequence[Pair], recipe: PublishedRecipe, rng: np.random.Generator
) -> Float32Array:
    """Patterns from a few random cells of as many crops as there are pictures."""
    originals, decoded = draw_crops(pairs, len(pairs), recipe, rng)
    residuals = originals - decoded
    starts = range(0, len(residuals), recipe.batch)
    batches = [networks.encoder(residuals[at : at + recipe.batch], training=False) for at in starts]
    features = np.concatenate([np.asarray(batch) for batch in batches])
    cells = features.reshape(len(features), -1, FEATURES)
    chosen = rng.integers(cells.shape[1], size=(len(cells), recipe.cells_per_picture))
    sample = np.take_along_axis(cells, chosen[:, :, None], axis=1).reshape(-1, FEATURES)
    return find_centres(sample, recipe.patterns, recipe.kmeans_rounds, rng)


def quantise(networks: Published, residuals: Float32Array, centres: Float32Array) -> tuple[IntArray, Float32Array]:
    """Residuals [N, H, W, 3] -> the index of a pattern for each cell [N, h, w], and the patterns [N, h, w, 256]."""
    features = np.asarray(networks.encoder(residuals, training=False))
    indices = name_cells(features.reshape(-1, FEATURES), centres).reshape(features.shape[:3])
    return indices, centres[indices]


def measure_published(networks: Published, centres: Float32Array, pair: Pair) -> tuple[float, float]:
    """Gain in dB over the codec at the same base, and the bits per pixel of the indices by their own entropy.

    The entropy is that of the picture's own indices, without the cost of telling it: no coder could do better with
    contexts of nothing. Sides are cut to multiples of 8.
    """
    height, width = (side // CELL * CELL for side in pair.original.shape[:2])
    original, decoded = (
        pixels[None, :height, :width].astype(np.float32) / np.float32(255) for pixels in (pair.original, pair.decoded)
    )
    indices, patterns = quantise(networks, original - decoded, centres)
    plane = np.asarray(networks.upsampler(patterns, training=False))
    shown = np.clip(np.asarray(networks.refiner([decoded, plane], training=False)), 0, 1)
    gain = 10 * np.log10(np.mean((original - decoded) ** 2) / np.mean((original - np.rint(255 * shown) / 255) ** 2))
    counts = np.bincount(indices.ravel())
    shares = counts[counts > 0] / indices.size
    return float(gain), float(-(shares * np.log2(shares)).sum() * indices.size / (height * width))
