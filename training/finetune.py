"""`KERAS_BACKEND=torch python -m training.finetune`: good weights, trained further on a CPU by PyTorch.

Batch normalisation is folded into the convolutions, and products are in bfloat16: the statistics of activations cost
more than half of a step, and finished weights do not need them. Averages of the weights are kept. What comes out is an
ordinary Q1Net, wider or narrower than the start if asked for, so that any trainer can go on from it.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import keras
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, relu

from q1net_core import __version__
from q1net_core.arrays import Float32Array, UInt8Array
from q1net_core.errors import ConfigError, WeightsError
from q1net_core.network.predictor import load_model
from q1net_core.network.variants import MAX_QUALITY, VARIANTS, Architecture, q1net
from q1net_core.network.weights import Card, WeightsFile, read_card, read_weights, write_weights
from training.config import PRESETS, TrainConfig, preset
from training.data.images import image_data
from training.data.photographs import Batch, Data, prefetch
from training.trainer import calibrate_weights, describe_scale
from training.validation import HISTORY
from training.widths import Layer, fit_width

# Averages reach back over about 500 steps.
EMA_MOMENTUM = 0.998
EMA_WARMUP = 10
STATISTICS_BATCHES = 8
AVERAGES = "averages.keras"

# Mean and variance of a convolution's outputs.
Statistics = tuple[Float32Array, Float32Array]


def fold(model: keras.Model) -> list[Layer]:
    """Kernel [outputs, inputs, height, width] and bias of each convolution with its normalisation; the dense layer."""
    folded: list[Layer] = []
    for layer in model.layers:
        values = layer.get_weights()
        if isinstance(layer, keras.layers.Conv2D):
            bias = values[1] if layer.use_bias else np.zeros(layer.filters, np.float32)
            folded.append((values[0].transpose(3, 2, 0, 1), bias))
        elif isinstance(layer, keras.layers.BatchNormalization):
            gamma, beta, mean, variance = values
            factor = gamma / np.sqrt(variance + layer.epsilon)
            kernel, bias = folded[-1]
            folded[-1] = kernel * factor[:, None, None, None], (bias - mean) * factor + beta
        elif isinstance(layer, keras.layers.Dense):
            folded.append((values[0].T, values[1]))
    return folded


def unfold(model: keras.Model, folded: Sequence[Layer], statistics: Sequence[Statistics]) -> None:
    """Give a model folded weights, its normalisations the ``statistics`` of the convolutions' outputs without bias.

    A normalisation takes away what the statistics say and gives it back: the model answers as the folded one does, and
    batches of the same pictures, normalised by themselves, look to it as they did.
    """
    layers, measured = iter(folded), iter(statistics)
    bias = np.empty(0, np.float32)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            kernel, bias = next(layers)
            layer.set_weights([kernel.transpose(2, 3, 1, 0), *([bias] if layer.use_bias else [])])
        elif isinstance(layer, keras.layers.BatchNormalization):
            mean, variance = next(measured)
            layer.set_weights([np.sqrt(variance + layer.epsilon), bias + mean, mean, variance])
        elif isinstance(layer, keras.layers.Dense):
            kernel, bias = next(layers)
            layer.set_weights([kernel.T, bias])


class Folded(nn.Module):
    """Q1Net with bottleneck blocks, without normalisation: uint8 patches [N, H, W, 3] -> quality and confidence [N, 2].

    Both are from 0 to ``largest``.
    """

    def __init__(self, layers: Sequence[Layer], largest: float = MAX_QUALITY) -> None:
        super().__init__()
        self.largest = largest
        kernels = (torch.tensor(kernel) for kernel, _ in layers)
        self.kernels = nn.ParameterList(
            kernel.contiguous(memory_format=torch.channels_last) if kernel.dim() == 4 else kernel for kernel in kernels
        )
        self.biases = nn.ParameterList(torch.tensor(bias) for _, bias in layers)

    def convolve(self, x: Tensor, index: int, padding: int, seen: list[Statistics] | None) -> Tensor:
        """One convolution; ``seen`` gets mean and variance of its outputs without the bias."""
        y = conv2d(x, self.kernels[index], self.biases[index], padding=padding)
        if seen is not None:
            plain = y.float() - self.biases[index][:, None, None]
            seen.append((plain.mean((0, 2, 3)).numpy(), plain.var((0, 2, 3), correction=0).numpy()))
        return y

    def forward(self, patches: Tensor, seen: list[Statistics] | None = None) -> Tensor:
        """Source: BMVC 2021, figure 3."""
        x = patches.permute(0, 3, 1, 2).float() / 127.5 - 1
        head = len(self.kernels) - 2
        for first in range(0, head, 4):
            x = relu(self.convolve(x, first, 0, seen))
            inner = relu(self.convolve(x, first + 1, 0, seen))
            inner = relu(self.convolve(inner, first + 2, 1, seen))
            x = relu(self.convolve(inner, first + 3, 0, seen) + x)
        x = relu(self.convolve(x, head, 0, None)).mean((2, 3))
        with torch.autocast("cpu", enabled=False):
            return self.largest * torch.sigmoid(x.float() @ self.kernels[-1].T + self.biases[-1])


def losses_of(
    outputs: Tensor, levels: Tensor, confidence_weight: float, largest: float = MAX_QUALITY
) -> tuple[Tensor, Tensor]:
    """The confidence-aware loss and the mean error of the quality; source: BMVC 2021, equation (5)."""
    errors = (outputs[:, 0] - levels).abs()
    confidence_errors = (largest - errors.detach() - outputs[:, 1]).abs()
    return (errors + confidence_weight * confidence_errors).mean(), errors.detach().mean()


def measure_statistics(network: Folded, patches: UInt8Array) -> list[Statistics]:
    """Mean and variance of the outputs of every convolution that is normalised."""
    seen: list[Statistics] = []
    with torch.no_grad():
        network(torch.from_numpy(patches), seen)
    return seen


def layers_of(tensors: Sequence[Tensor]) -> list[Layer]:
    """Kernels followed by as many biases -> layers."""
    values = [tensor.detach().contiguous().numpy() for tensor in tensors]
    return list(zip(values[: len(values) // 2], values[len(values) // 2 :], strict=True))


def rate_at(config: TrainConfig, step: int, done: float) -> float:
    """The learning rate: a linear warm-up, then a cosine to zero where all is ``done``, a share of 1."""
    return config.learning_rate * min((step + 1) / config.warmup_steps, 1) * (1 + math.cos(math.pi * done)) / 2


def train_step(
    network: Folded, optimizer: torch.optim.Optimizer, batch: Batch, confidence_weight: float
) -> tuple[float, float]:
    """One step on a batch; returns loss and mean error of the quality."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = network(torch.from_numpy(batch[0]))
    loss, error = losses_of(outputs, torch.from_numpy(batch[1]), confidence_weight, network.largest)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return loss.item(), error.item()


def folds(architecture: Architecture) -> bool:
    """Whether ``Folded`` can be this network: Q1Net with bottlenecks and two outputs, of any width, patch and scale."""
    free = {name: value for name, value in architecture.parameters.items() if name in ("k", "patch", "largest")}
    plain = q1net()
    return architecture == replace(plain, parameters={**plain.parameters, **free})


def start_layers(start: WeightsFile, model: keras.Model, seed: int) -> list[Layer]:
    """The folded weights to start from, made to fit a ``model`` that may be wider or narrower."""
    shapes = [kernel.shape for kernel, _ in fold(model)]
    return fit_width(fold(load_model(start)), shapes, np.random.default_rng(seed))


def fine_tune(
    model: keras.Model,
    layers: Sequence[Layer],
    config: TrainConfig,
    stream: Iterator[Batch],
    output: Path,
    seconds: float,
) -> int:
    """Train folded ``layers`` until the last step or second; their averages are saved in the shape of ``model``.

    That happens every ``validation_every`` steps, and at the end. Returns the number of steps. The learning rate
    follows whichever of steps and seconds is further.
    """
    network = Folded(layers, VARIANTS[config.variant].largest)
    parameters = list(network.parameters())
    average = [parameter.detach().clone() for parameter in parameters]
    optimizer = torch.optim.Adam(parameters, lr=config.learning_rate, fused=True)
    begun, sums, steps = time.monotonic(), np.zeros(2), 0
    while (done := max(steps / config.steps, (time.monotonic() - begun) / seconds)) < 1:
        optimizer.param_groups[0]["lr"] = rate_at(config, steps, done)
        sums += train_step(network, optimizer, next(stream), config.confidence_weight)
        momentum = min(EMA_MOMENTUM, steps / (steps + EMA_WARMUP))
        for kept, parameter in zip(average, parameters, strict=True):
            kept.lerp_(parameter.detach(), 1 - momentum)
        steps += 1
        if steps % config.validation_every == 0:
            loss, error = sums / config.validation_every
            row = {"step": steps, "loss": loss, "quality_error": error, "seconds": time.monotonic() - begun}
            with (output / HISTORY).open("a") as history:
                history.write(json.dumps(row) + "\n")
            speed = config.patches_until(steps) / row["seconds"]
            print(f"step {steps}: patches are off by {error:.2f}, {speed:,.0f} patches/s", flush=True)
            sums[:] = 0
            save(model, average, stream, output)
    if steps % config.validation_every or not steps:
        save(model, average, stream, output)
    return steps


def save(model: keras.Model, average: Sequence[Tensor], stream: Iterator[Batch], output: Path) -> None:
    """The averaged weights as the architecture has them, in one piece whenever the process is killed."""
    layers = layers_of(average)
    patches = np.concatenate([next(stream)[0] for _ in range(STATISTICS_BATCHES)])
    unfold(model, layers, measure_statistics(Folded(layers), patches))
    unfinished = output / "unfinished.keras"
    model.save(unfinished)
    unfinished.replace(output / AVERAGES)


def make_card(config: TrainConfig, start: WeightsFile, steps: int, data: Data) -> Card:
    """What the card of the weights says of their origin."""
    provenance = data.provenance()
    return Card(
        config.variant,
        codec=provenance.codec,
        codec_versions=provenance.codec_versions,
        pictures=provenance.pictures,
        start_sha256=start.sha256,
        trained=asdict(config) | {"by": "finetune", "step": steps, "patches": config.patches_until(steps)},
        made_with={"q1net": __version__, "keras": keras.version(), "torch": torch.__version__},
        more=describe_scale(VARIANTS[config.variant]),
    )


def make_parser() -> argparse.ArgumentParser:
    """The command's flags."""
    parser = argparse.ArgumentParser(prog="python -m training.finetune", description=__doc__)
    parser.add_argument("--images", required=True, metavar="URI", help="lossless images: a file, folder or glob")
    parser.add_argument("--validation-images", required=True, metavar="URI", help="others, which choose fusion rules")
    parser.add_argument("--output", required=True, type=Path, metavar="DIR", help="weights, their card, history")
    parser.add_argument("--preset", default="cpu-finetune", choices=sorted(PRESETS), help="(default: %(default)s)")
    parser.add_argument("--variant", metavar="NAME", help="a Q1Net of any width, or of video (default: the preset's)")
    parser.add_argument("--start-from", metavar="NAME", help="variant or .keras file (default: the preset's)")
    parser.add_argument("--steps", type=int, help="batches at most (default: the preset's)")
    parser.add_argument("--learning-rate", type=float, help="the highest (default: the preset's)")
    parser.add_argument("--seed", type=int, help="of places and levels (default: the preset's)")
    parser.add_argument("--seconds", type=float, default=math.inf, help="of training at most; the rate falls in time")
    return parser


def train(options: argparse.Namespace) -> str:
    """Train, write weights and card, choose the fusion rules; returns where the weights are, and how good.

    Raises:
        ConfigError: no images, or impossible settings.
        WeightsError: the weights to start from are not usable.
    """
    if keras.backend.backend() != "torch":
        raise ConfigError(f"Keras runs on {keras.backend.backend()}; set KERAS_BACKEND=torch, the two get on badly")
    names = ("variant", "start_from", "steps", "learning_rate", "seed")
    config = preset(options.preset, **{name: value for name in names if (value := getattr(options, name)) is not None})
    if config.start_from is None:
        raise ConfigError(f"preset {options.preset!r} starts untrained; name the weights to go on from: --start-from")
    start = read_weights(config.start_from, codecs=None)
    architecture = VARIANTS[config.variant].architecture
    if not (folds(start.network.architecture) and folds(architecture)):
        raise ConfigError(
            f"start_from is {config.start_from!r}, weights of {start.variant}, and variant is {config.variant!r}; "
            "expected two of Q1Net with bottlenecks and two outputs, of any width and patch size"
        )
    model = architecture.build()
    layers = start_layers(start, model, config.seed)
    data = image_data(options.images, options.validation_images, VARIANTS[config.variant])
    options.output.mkdir(parents=True, exist_ok=True)
    # A fine-tuning begins anew each time.
    (options.output / HISTORY).unlink(missing_ok=True)
    steps = fine_tune(model, layers, config, prefetch(data.batches(config, 0)), options.output, options.seconds)
    weights = str(options.output / f"{config.variant}.keras")
    write_weights(model, weights, make_card(config, start, steps, data))
    calibrate_weights(weights, data, [name for name, _ in config.alterations])
    card = read_card(weights)
    best = card.rules[0].fusion
    return f"{weights}: step {steps}, validation MAE {card.fusions[best]['val_mae']:.3f} with the fusion {best!r}"


def run(argv: list[str]) -> int:
    """Train as the command line says; returns the exit status."""
    try:
        print(train(make_parser().parse_args(argv)))
    except (ConfigError, WeightsError) as error:
        print(f"finetune: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
