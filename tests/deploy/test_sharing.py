"""Processes of one machine share the model of an accelerator: one loads it, the others never start TensorFlow."""

import json
import subprocess
import sys
from pathlib import Path

from apache_beam.utils.multi_process_shared import MultiProcessShared

from pipelines.inference import Q1NetHandler
from q1net_core.settings import EstimatorSettings

# What RunInference does in a process that finds the model loaded by another one.
CLIENT = """
import json, sys
import numpy as np
from apache_beam.utils.multi_process_shared import MultiProcessShared
from pipelines.inference import Q1NetHandler
from q1net_core.records import ImageInfo, ImagePatches, LatticeEstimate, ListedImage

source, sha256, folder = sys.argv[1:]
handler = Q1NetHandler(source, sha256, accelerator=True)
def load():
    raise RuntimeError("loaded a second time")
model = MultiProcessShared(load, "model", path=folder, always_proxy=True).acquire()
patches = np.random.default_rng(1).integers(0, 256, (2, 16, 16, 16, 3), np.uint8)
batch = [ImagePatches(ListedImage(str(n)), ImageInfo(), LatticeEstimate(), p, source) for n, p in enumerate(patches)]
predictions = list(handler.run_inference(batch, model))
started = sorted({"tensorflow", "keras", "jax", "onnxruntime"} & set(sys.modules))
kinds = sorted({type(p.quality).__name__ for p in predictions})
print(json.dumps([started, kinds, [p.quality.tolist() for p in predictions]]))
"""


def test_a_second_process_predicts_with_the_first_ones_model(tmp_path: Path) -> None:
    (weights,) = (
        EstimatorSettings(weights="q1net-k8").pin_all(EstimatorSettings(weights="q1net-k8").read_weights()).values()
    )
    handler = Q1NetHandler(weights.source, weights.sha256, accelerator=True)
    shared = MultiProcessShared(handler.load_model, "model", path=str(tmp_path), always_proxy=True)
    model = shared.acquire()
    command = [sys.executable, "-c", CLIENT, weights.source, weights.sha256, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    started, kinds, qualities = json.loads(done.stdout.splitlines()[-1])
    assert (started, kinds) == ([], ["ndarray"])
    assert [len(quality) for quality in qualities] == [16, 16]
    assert all(0 <= value <= 100 for quality in qualities for value in quality)
    shared.release(model)


def test_models_are_shared_on_accelerators_alone() -> None:
    shared, own = Q1NetHandler("a", "b", accelerator=True), Q1NetHandler("a", "b")
    assert (shared.share_model_across_processes(), shared.model_copies()) == (True, 1)
    assert own.share_model_across_processes() is False
