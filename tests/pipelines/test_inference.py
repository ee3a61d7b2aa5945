"""The model's handler: pinned weights, whole images in and out, and no TensorFlow where nothing is predicted."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipelines.inference import ACCELERATOR_IMAGES_PER_BATCH, IMAGES_PER_BATCH, Q1NetHandler
from pipelines.runtime.counters import tally
from q1net_core.errors import WeightsError
from q1net_core.estimator import PatchModel
from q1net_core.network.predictor import Predictor
from q1net_core.network.weights import read_weights
from q1net_core.records import (
    Float32Array,
    FusionRule,
    ImageInfo,
    ImagePatches,
    LatticeEstimate,
    ListedImage,
    Stop,
    UInt8Array,
)

SIZES = (1, 16, 256, 100, 300, 9)


@pytest.fixture(scope="module")
def handler(weights_uri: str) -> Q1NetHandler:
    return Q1NetHandler(weights_uri, read_weights(weights_uri).sha256)


@pytest.fixture(scope="module")
def model(handler: Q1NetHandler) -> PatchModel:
    return handler.load_model()


@pytest.fixture(scope="module")
def images() -> list[ImagePatches]:
    generator = np.random.default_rng(1)
    return [
        ImagePatches(
            ListedImage(f"{number}.jpg"),
            ImageInfo(width=number),
            LatticeEstimate(),
            generator.integers(0, 256, (size, 16, 16, 3), np.uint8),
        )
        for number, size in enumerate(SIZES)
    ]


def test_the_handler_loads_the_pinned_weights_only(weights_uri: str, model: PatchModel) -> None:
    assert isinstance(model, Predictor)
    assert model.weights == read_weights(weights_uri)
    assert model.largest_call == 256
    with pytest.raises(WeightsError, match=f"{model.weights.sha256} on this worker; the run was started with 0000"):
        Q1NetHandler(weights_uri, "0000").load_model()


def test_the_handler_is_small_and_survives_pickling(handler: Q1NetHandler, model: PatchModel) -> None:
    pickled = pickle.dumps(handler)
    assert len(pickled) < 4096
    again = pickle.loads(pickled)
    assert (again.weights, again.sha256, again.accelerator) == (handler.weights, handler.sha256, False)


def test_batches_are_small_on_cpus_and_large_on_accelerators(handler: Q1NetHandler) -> None:
    assert handler.batch_elements_kwargs()["max_batch_size"] == IMAGES_PER_BATCH
    large = Q1NetHandler(handler.weights, handler.sha256, accelerator=True)
    assert large.load_model().largest_call == 256 * ACCELERATOR_IMAGES_PER_BATCH
    assert large.batch_elements_kwargs()["max_batch_size"] == ACCELERATOR_IMAGES_PER_BATCH > IMAGES_PER_BATCH


def test_accelerators_compute_in_float32(handler: Q1NetHandler) -> None:
    import tensorflow as tf

    tf.config.experimental.enable_tensor_float_32_execution(True)
    Q1NetHandler(handler.weights, handler.sha256, accelerator=True).load_model()
    assert tf.config.experimental.tensor_float_32_execution_enabled() is False


def test_an_empty_batch_gives_nothing(handler: Q1NetHandler, model: PatchModel) -> None:
    assert list(handler.run_inference([], model)) == []
    assert handler.get_num_bytes([]) == 0


def test_the_size_of_a_batch_is_found_without_pickling(handler: Q1NetHandler) -> None:
    class Unpicklable(np.ndarray):
        def __reduce__(self) -> str | tuple[object, ...]:
            raise AssertionError("pickled")

    batch = [
        ImagePatches(
            ListedImage("a"), ImageInfo(), LatticeEstimate(), np.zeros((n, 16, 16, 3), np.uint8).view(Unpicklable)
        )
        for n in (3, 4)
    ]
    assert handler.get_num_bytes(batch) == 7 * 16 * 16 * 3


def test_images_come_back_in_order_with_one_prediction_per_patch(
    handler: Q1NetHandler, model: PatchModel, images: list[ImagePatches]
) -> None:
    predictions = list(handler.run_inference(images, model))
    assert [(item.image, item.info) for item in predictions] == [(item.image, item.info) for item in images]
    assert [len(item.quality) for item in predictions] == [len(item.confidence) for item in predictions] == list(SIZES)
    assert len({float(value) for item in predictions for value in item.quality}) > sum(SIZES) / 2


class Recorder:
    """A model that keeps what it is called with."""

    def __init__(self) -> None:
        self.calls: list[UInt8Array] = []

    def predict(self, patches: UInt8Array) -> tuple[Float32Array, Float32Array]:
        self.calls.append(patches)
        return np.zeros(len(patches), np.float32), np.zeros(len(patches), np.float32)


ORDERS = [[0, 1, 2, 3, 4, 5], [5, 3, 1, 0, 2, 4], [2], [4, 4]]


@pytest.mark.parametrize("order", ORDERS)
def test_on_a_cpu_each_image_is_a_call_whatever_its_batch(
    handler: Q1NetHandler, images: list[ImagePatches], order: list[int]
) -> None:
    recorder = Recorder()
    list(handler.run_inference([images[number] for number in order], recorder))
    assert len(recorder.calls) == len(order)
    for number, call in zip(order, recorder.calls, strict=True):
        assert np.array_equal(call, images[number].patches)


def test_auto_looks_at_as_many_patches_as_it_takes_but_not_on_an_accelerator(handler: Q1NetHandler) -> None:
    patches = np.zeros((256, 16, 16, 3), np.uint8)
    item = ImagePatches(ListedImage("a"), ImageInfo(), LatticeEstimate(quality=1.0), patches)
    rule = FusionRule("paper", -1.0)
    for accelerator, looked, stop in ((False, 16, Stop.AGREES), (True, 256, Stop.ALL)):
        recorder, before = Recorder(), tally().get("patches", 0)
        (found,) = Q1NetHandler(handler.weights, handler.sha256, accelerator, rule).run_inference([item], recorder)
        assert (len(found.quality), found.stop) == (looked, stop)
        assert sum(map(len, recorder.calls)) == tally()["patches"] - before == looked


def test_on_an_accelerator_a_batch_is_one_call(handler: Q1NetHandler, images: list[ImagePatches]) -> None:
    recorder = Recorder()
    large = Q1NetHandler(handler.weights, handler.sha256, accelerator=True)
    found = list(large.run_inference(images, recorder))
    assert [len(item.quality) for item in found] == list(SIZES)
    assert [len(call) for call in recorder.calls] == [sum(SIZES)]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("accelerator", [False, True])
def test_predictions_hardly_depend_on_the_batch(
    accelerator: bool, order: list[int], handler: Q1NetHandler, model: PatchModel, images: list[ImagePatches]
) -> None:
    any_handler = Q1NetHandler(handler.weights, handler.sha256, accelerator)
    for number, found in zip(order, any_handler.run_inference([images[n] for n in order], model), strict=True):
        (alone,) = handler.run_inference([images[number]], model)
        assert found.image == images[number].image
        np.testing.assert_allclose(found.quality, alone.quality, rtol=0, atol=1e-3)
        np.testing.assert_allclose(found.confidence, alone.confidence, rtol=0, atol=1e-3)


def test_patches_and_time_are_counted(handler: Q1NetHandler, images: list[ImagePatches]) -> None:
    class Zeros:
        def predict(self, patches: UInt8Array) -> tuple[Float32Array, Float32Array]:
            zeros = np.zeros(len(patches), np.float32)
            return zeros, zeros

    before = tally()
    list(handler.run_inference(images, Zeros()))
    after = tally()
    assert after["patches"] - before.get("patches", 0) == sum(SIZES)
    assert after["predict_usec"] > before.get("predict_usec", 0)


def test_a_failing_model_stops_the_job(handler: Q1NetHandler, images: list[ImagePatches]) -> None:
    class Broken:
        def predict(self, patches: UInt8Array) -> tuple[Float32Array, Float32Array]:
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        list(handler.run_inference(images, Broken()))


@pytest.mark.parametrize("flags", [(), ("--weights", "q1net-k8")])
def test_audit_and_predict_on_a_cpu_load_no_tensorflow(flags: tuple[str, ...], tmp_path: Path) -> None:
    folder = Path(__file__).parents[1] / "photographs" / "messenger"
    images = [str(folder / "sailing.jpg"), str(folder / "chalet.png")]
    code = (
        "import sys\nfrom pipelines.cli import main\n"
        f"assert main(['predict', *{images}, *{flags}]) == 0\n"
        f"assert main(['audit', *{images}, *{flags}, '--output', 'runs', '--workers', '2']) == 0\n"
        "print(sorted({'tensorflow', 'keras', 'jax'} & set(sys.modules)), 'onnxruntime' in sys.modules)\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, check=True, cwd=tmp_path, env=environment
    )
    assert done.stdout.splitlines()[-1] == "[] True"


def test_processes_that_only_decode_or_submit_load_no_tensorflow() -> None:
    code = (
        "import sys, pipelines, pipelines.audit.command, pipelines.evaluation.command\n"
        "import pipelines.predict, pipelines.cli\n"
        "from q1net_core import estimator; from q1net_core.network import weights; import q1net_core.codecs.table\n"
        "print(sorted({'tensorflow', 'keras', 'jax'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "[]"
