"""What an evaluation's estimators cost: time, parameters, multiply-adds, found out where the command runs."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pipelines.evaluation.render import Row
from pipelines.evaluation.study import Candidate
from q1net_core.estimator import fuse_predictions, predict_patches
from q1net_core.network.predictor import Predictor, needs_keras
from q1net_core.network.variants import VARIANTS
from q1net_core.network.weights import WeightsFile
from q1net_core.records import ImageInfo, ImagePatches, LatticeEstimate, ListedImage
from q1net_core.settings import EstimatorSettings

if TYPE_CHECKING:
    import keras

# Calls of each estimator, the estimators taking turns. After so many seconds of one there are no more, once it has had
# the least number.
TIMED_CALLS = 30
TIMED_SECONDS = 10.0
LEAST_CALLS = 3
# Height and width of the image that networks of whole images are timed with.
TIMED_SIDE = 256


def prepare_estimate(weights: WeightsFile, settings: EstimatorSettings) -> Callable[[], object]:
    """One image through network and fusion, ready to be timed."""
    model, pinned, kind = Predictor(weights), settings.pin("timed", weights), weights.network.input
    side = kind.size or TIMED_SIDE
    shape = (kind.most(settings.most_patches), side, side, 3)
    patches = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    batch = [ImagePatches(ListedImage("timed"), ImageInfo(), LatticeEstimate(), patches)]
    return lambda: fuse_predictions(predict_patches(model, batch)[0], pinned)


def time_in_turns(calls: Sequence[Callable[[], object]]) -> list[float]:
    """Milliseconds of each call, the fastest of many: the others say how busy the machine is.

    The calls take turns, so that a busy minute hits them all.
    """
    seconds: list[list[float]] = [[] for _ in calls]
    for _ in range(TIMED_CALLS):
        for call, spent in zip(calls, seconds, strict=True):
            if len(spent) >= LEAST_CALLS and sum(spent) > TIMED_SECONDS:
                continue
            start = time.perf_counter()
            call()
            spent.append(time.perf_counter() - start)
    return [1000 * min(spent) for spent in seconds]


def count_parameters(variant: str) -> int:
    """Parameters of a variant's network."""
    return int(VARIANTS[variant].architecture.build().count_params())


def count_layer(layer: "keras.Layer") -> int:
    """Multiply-adds of one layer for one sample: its kernel, at every position of its output."""
    kernel = getattr(layer, "kernel", None)
    if kernel is None:
        return 0
    positions = layer.output.shape[1:3] if len(layer.output.shape) > 2 else ()
    return int(np.prod(kernel.shape) * np.prod(positions))


def count_multiply_adds(variant: str, patches: int) -> int:
    """Multiply-adds of convolutions and dense layers for one image, of which up to ``patches`` patches are seen."""
    import keras

    kind, model = VARIANTS[variant].input, VARIANTS[variant].architecture.build()
    if model.inputs[0].shape[1] is None:
        side = kind.size or TIMED_SIDE
        model = keras.models.clone_model(model, input_tensors=keras.Input((side, side, 3), dtype="uint8"))
    return kind.most(patches) * sum(map(count_layer, model.layers))


def costs_of(variant: str, patches: int) -> Row:
    """What a variant costs whatever its weights: ``parameters`` and ``multiply_adds``."""
    return {"parameters": count_parameters(variant), "multiply_adds": count_multiply_adds(variant, patches)}


def add_costs(statistics: Row, candidates: Sequence[Candidate], expected: Sequence[str] = ()) -> Row:
    """The statistics with what each of their ``evaluations`` costs: also ``milliseconds`` and the ``runtime``.

    ``untrained`` are the variants that are ``expected``, but of which no weights were given, and what they would cost.
    """
    known = {
        (made.weights.sha256, made.settings.rule_of(made.weights).threshold): (made.weights, made.settings)
        for made in candidates
        if made.weights
    }
    evaluated = [
        (evaluation, *known[evaluation["weights_sha256"], evaluation["threshold"]])
        for evaluation in statistics["evaluations"]
    ]
    milliseconds = time_in_turns(
        [prepare_estimate(weights, replace(settings, patches=row["patches"])) for row, weights, settings in evaluated]
    )
    evaluations = [
        row
        | costs_of(weights.variant, row["patches"])
        | {"milliseconds": spent, "runtime": "keras" if needs_keras(weights) else "onnx"}
        for (row, weights, _), spent in zip(evaluated, milliseconds, strict=True)
    ]
    patches = statistics["arguments"]["patches"]
    missing = [name for name in expected if name not in {weights.variant for _, weights, _ in evaluated}]
    untrained = [{"variant": name} | costs_of(name, patches) for name in missing]
    return statistics | {"evaluations": evaluations, "untrained": untrained}
