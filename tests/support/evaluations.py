"""Evaluations without Beam, and short ways to run those with it."""

from pathlib import Path

import numpy as np
from apache_beam.options.pipeline_options import PipelineOptions
from PIL import Image

from pipelines.cli import main
from pipelines.evaluation.config import EvaluateConfig
from pipelines.evaluation.pipeline import evaluate, read_candidates
from pipelines.evaluation.render import Row
from q1net_core.codecs.jpeg import encode_jpeg
from q1net_core.estimator import fuse_predictions, predict_patches, sample_image
from q1net_core.metrics import QualityErrors
from q1net_core.network.predictor import Predictor
from q1net_core.network.weights import read_weights
from q1net_core.records import ImagePatches, ListedImage
from q1net_core.settings import EstimatorSettings

LEVELS = (8, 50, 93)
ONE_THREAD = PipelineOptions(["--runner=FnApiRunner"])
TWO_THREADS = PipelineOptions(
    ["--runner=FnApiRunner", "--direct_num_workers=2", "--direct_running_mode=multi_threading"]
)


def run(config: EvaluateConfig, options: PipelineOptions = ONE_THREAD) -> Row:
    return evaluate(config, read_candidates(config), options)


def run_study(lossless: Path, weights_uri: str, output: Path, *arguments: str) -> Path:
    defaults = ["--images", str(lossless), "--output", str(output), "--variant", weights_uri]
    assert main(["evaluate", *defaults, *arguments]) == 0
    return output


def errors_by_hand(folder: Path, weights_uri: str, threshold: float, patches: int) -> QualityErrors:
    file = read_weights(weights_uri)
    settings = EstimatorSettings(weights_uri, "paper", threshold, patches)
    model, weights = Predictor(file), settings.pin(weights_uri, file)
    total = QualityErrors()
    for path in sorted(folder.iterdir()):
        pixels = np.asarray(Image.open(path).convert("RGB"))
        for level in LEVELS:
            sampled = sample_image(ListedImage("x"), encode_jpeg(pixels, level), settings)
            assert isinstance(sampled, ImagePatches)
            estimate = fuse_predictions(predict_patches(model, [sampled])[0], weights).network
            assert estimate is not None
            total = total + QualityErrors.of(level, estimate.quality)
    return total
