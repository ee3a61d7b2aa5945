"""The model's handler: pinned weights, whole images in and out, and no TensorFlow where nothing is predicted."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.inference import ACCELERATOR_IMAGES_PER_BATCH, IMAGES_PER_BATCH, Q1NetHandler
from pipelines.runtime.counters import tally
from q1net_core.errors import WeightsError
from q1net_core.estimator import PatchModel
from q1net_core.network.weights import PATCHES_PER_CALL, Q1Net, read_weights
from q1net_core.records import Float32Array, ImageInfo, ImagePatches, LatticeEstimate, ListedImage, UInt8Array

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
            ListedImage(f"{place}.jpg"),
            ImageInfo(width=place),
            LatticeEstimate(),
            generator.integers(0, 256, (size, 16, 16, 3), np.uint8),
        )
        for place, size in enumerate(SIZES)
    ]


def test_the_handler_loads_the_pinned_weights_only(weights_uri: str, model: PatchModel) -> None:
    assert isinstance(model, Q1Net)
    assert model.weights == read_weights(weights_uri)
    assert model.patches_per_call == PATCHES_PER_CALL
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
    assert large.batch_elements_kwargs()["max_batch_size"] == ACCELERATOR_IMAGES_PER_BATCH > IMAGES_PER_BATCH


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


@settings(max_examples=4, deadline=None)
@given(order=st.permutations(range(len(SIZES))), cut=st.integers(0, len(SIZES)))
def test_predictions_do_not_depend_on_the_batch(
    handler: Q1NetHandler, model: PatchModel, images: list[ImagePatches], order: list[int], cut: int
) -> None:
    alone = [next(iter(handler.run_inference([item], model))) for item in images]
    for batch in (order[:cut], order[cut:]):
        for place, found in zip(batch, handler.run_inference([images[place] for place in batch], model), strict=True):
            assert found.image == images[place].image
            np.testing.assert_array_equal(found.quality, alone[place].quality)
            np.testing.assert_array_equal(found.confidence, alone[place].confidence)


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


def test_processes_that_only_decode_or_submit_load_no_tensorflow() -> None:
    code = (
        "import sys, pipelines, pipelines.audit.command, pipelines.evaluation.command\n"
        "import pipelines.predict, pipelines.cli\n"
        "from q1net_core import estimator; from q1net_core.network import weights; import q1net_core.codecs.table\n"
        "print(sorted({'tensorflow', 'keras', 'jax'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "[]"
