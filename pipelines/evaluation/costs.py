"""What an evaluation's estimators cost: time and parameters, measured where the command runs."""

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pipelines.evaluation.render import Row
from pipelines.evaluation.study import Candidate
from q1net_core.estimator import EstimatorSettings, fuse_predictions, predict_patches
from q1net_core.network.weights import Q1Net, WeightsFile
from q1net_core.patches import PATCH
from q1net_core.records import ImageInfo, ImagePatches, LatticeEstimate, ListedImage

TIMED_CALLS = 30


def time_estimate(weights: WeightsFile, settings: EstimatorSettings) -> float:
    """Milliseconds that one image's patches take through network and fusion: of 30 calls the fastest.

    The others say how busy the machine is. The network is called with exactly these patches, unpadded.
    """
    model, rule = Q1Net(weights, settings.patches), settings.rule_of(weights)
    shape = (settings.patches, PATCH, PATCH, 3)
    patches = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    batch = [ImagePatches(ListedImage("timed"), ImageInfo(), LatticeEstimate(), patches)]
    seconds = []
    for _ in range(TIMED_CALLS):
        start = time.perf_counter()
        fuse_predictions(predict_patches(model, batch)[0], rule)
        seconds.append(time.perf_counter() - start)
    return 1000 * min(seconds)


def count_parameters(variant: str) -> int:
    """Parameters of a variant's network."""
    from q1net_core.network.q1net import VARIANTS, build_model

    return int(build_model(VARIANTS[variant]).count_params())


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
