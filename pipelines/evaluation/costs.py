"""What an evaluation's estimators cost: time and parameters, measured where the command runs."""

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pipelines.evaluation.render import Row
from pipelines.evaluation.study import Candidate
from q1net_core.estimator import fuse_predictions, predict_patches
from q1net_core.network.predictor import Predictor
from q1net_core.network.variants import VARIANTS
from q1net_core.network.weights import WeightsFile
from q1net_core.records import ImageInfo, ImagePatches, LatticeEstimate, ListedImage
from q1net_core.settings import EstimatorSettings

TIMED_CALLS = 30
# Height and width of the image that networks of whole images are timed with.
TIMED_SIDE = 256


def time_estimate(weights: WeightsFile, settings: EstimatorSettings) -> float:
    """Milliseconds that one image takes through network and fusion: of 30 calls the fastest.

    The others say how busy the machine is.
    """
    model, pinned, kind = Predictor(weights), settings.pin("timed", weights), weights.network.input
    side = kind.size or TIMED_SIDE
    shape = (kind.most(settings.most_patches), side, side, 3)
    patches = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    batch = [ImagePatches(ListedImage("timed"), ImageInfo(), LatticeEstimate(), patches)]
    seconds = []
    for _ in range(TIMED_CALLS):
        start = time.perf_counter()
        fuse_predictions(predict_patches(model, batch)[0], pinned)
        seconds.append(time.perf_counter() - start)
    return 1000 * min(seconds)


def count_parameters(variant: str) -> int:
    """Parameters of a variant's network."""
    return int(VARIANTS[variant].architecture.build().count_params())


def add_costs(statistics: Row, candidates: Sequence[Candidate]) -> Row:
    """The statistics with ``milliseconds`` and ``parameters`` in each of their ``evaluations``."""
    known = {made.weights.sha256: (made.weights, made.settings) for made in candidates if made.weights}
    evaluations = []
    for evaluation in statistics["evaluations"]:
        weights, settings = known[evaluation["weights_sha256"]]
        milliseconds = time_estimate(weights, replace(settings, patches=evaluation["patches"]))
        costs = {"milliseconds": milliseconds, "parameters": count_parameters(weights.variant)}
        evaluations.append(evaluation | costs)
    return statistics | {"evaluations": evaluations}
