"""Predictions: the model's own, by calls that hold one image's samples and nothing else, from several threads."""

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from networks import CROP, TINY, write_tiny

from q1net_core.errors import WeightsError
from q1net_core.images.decode import decode
from q1net_core.network import predictor
from q1net_core.network.predictor import SHAPES, Predictor, load_model, needs_keras
from q1net_core.network.weights import WeightsFile, packaged_variants, read_weights
from q1net_core.patches import sample_patches
from q1net_core.records import UInt8Array

# Levels by which a prediction may depend on the others in its call, and on the processor.
TOLERANCE = 1e-3
# Levels by which ONNX Runtime, TensorFlow and JAX may differ.
ENGINES_TOLERANCE = 0.01
PHOTOGRAPHS = sorted(path for path in (Path(__file__).parents[2] / "photographs").glob("*/*") if path.suffix != ".csv")


@pytest.fixture(scope="module")
def net(weights_uri: str) -> Predictor:
    return Predictor(read_weights(weights_uri))


@pytest.fixture(scope="module")
def patches() -> UInt8Array:
    rng = np.random.default_rng(3)
    return rng.integers(0, rng.integers(2, 256, (600, 1, 1, 3)), (600, 16, 16, 3)).astype(np.uint8)


def spy(net: Predictor, monkeypatch: pytest.MonkeyPatch) -> list[UInt8Array]:
    """What the model is called with from now on."""
    calls: list[UInt8Array] = []

    def call(samples: UInt8Array) -> object:
        calls.append(samples)
        return compiled(samples)

    compiled = net._call
    monkeypatch.setattr(net, "_call", call)
    return calls


def test_prediction_is_the_models_for_any_number_of_patches(net: Predictor, patches: UInt8Array) -> None:
    expected = np.asarray(load_model(net.weights)(patches, training=False))
    assert np.ptp(expected[:, 0]) > 0.5
    for count in (1, 7, 16, 255, 256, 257, 600):
        quality, confidence = net.predict(patches[:count])
        assert (quality.shape, confidence.shape) == ((count,), (count,))
        assert (quality.dtype, confidence.dtype) == (np.float32, np.float32)
        assert np.stack([quality, confidence], axis=-1) == pytest.approx(expected[:count], abs=TOLERANCE)


def test_predictions_hardly_depend_on_the_order_of_patches_or_on_their_company(
    net: Predictor, patches: UInt8Array
) -> None:
    together = np.stack(net.predict(patches))
    order = np.random.default_rng(1).permutation(len(patches))
    np.testing.assert_allclose(np.stack(net.predict(patches[order])), together[:, order], rtol=0, atol=TOLERANCE)
    alone = np.concatenate([np.stack(net.predict(patch[None])) for patch in patches[:50]], axis=1)
    np.testing.assert_allclose(alone, together[:, :50], rtol=0, atol=TOLERANCE)


def test_calls_are_as_large_as_is_needed_but_of_few_sizes(
    net: Predictor, patches: UInt8Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = spy(net, monkeypatch)
    for count, sizes in ((1, [16]), (16, [16]), (64, [64]), (100, [112]), (256, [256]), (400, [256, 144])):
        calls.clear()
        net.predict(patches[:count])
        assert [len(call) for call in calls] == sizes
        assert np.array_equal(np.concatenate(calls)[:count], patches[:count])
        assert not np.concatenate(calls)[count:].any()
    calls.clear()
    for count in range(1, 300, 3):
        net.predict(patches[:count])
    assert len({len(call) for call in calls}) <= SHAPES


@pytest.fixture(scope="module")
def real_patches() -> UInt8Array:
    """Of every bundled photograph 64, and of its smooth parts, twice as large as it is, 64 more."""
    found = []
    for path in PHOTOGRAPHS:
        pixels = decode(path.read_bytes()).pixels
        large = pixels.repeat(2, axis=0).repeat(2, axis=1)
        candidates = sample_patches(large, 576)
        smooth = np.argsort(candidates.std(axis=(1, 2, 3)))[:64]
        found += [sample_patches(pixels, 64), candidates[smooth]]
    return np.concatenate(found)


def patches_for(weights: WeightsFile, patches: UInt8Array) -> UInt8Array:
    """Patches of the size that the weights see, where it is larger with a border that mirrors them."""
    assert weights.network.input.size is not None
    border = (weights.network.input.size - patches.shape[1]) // 2
    return np.pad(patches, ((0, 0), (border, border), (border, border), (0, 0)), "reflect")


@pytest.mark.parametrize("name", packaged_variants())
def test_every_engine_predicts_the_same_of_real_patches(name: str, real_patches: UInt8Array) -> None:
    weights = read_weights(name, codecs=None)
    seen = patches_for(weights, real_patches)
    assert not needs_keras(weights), f"no ONNX file: q1net export --variant {name} --format onnx --beside"
    by_onnx, by_keras = Predictor(weights), Predictor(weights, with_keras=True)
    expected = np.stack(by_keras.predict(seen))
    assert len(PHOTOGRAPHS) == 12
    assert np.ptp(expected, axis=1).min() > 10
    np.testing.assert_allclose(np.stack(by_onnx.predict(seen)), expected, rtol=0, atol=ENGINES_TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize("name", packaged_variants())
def test_jax_predicts_the_same_of_real_patches(name: str, real_patches: UInt8Array, tmp_path: Path) -> None:
    weights = read_weights(name, codecs=None)
    seen = patches_for(weights, real_patches)
    np.save(tmp_path / "patches.npy", seen)
    code = (
        "import sys, numpy as np\n"
        "from q1net_core.network.predictor import Predictor\n"
        "from q1net_core.network.weights import read_weights\n"
        f"net = Predictor(read_weights({name!r}, codecs=None), with_keras=True)\n"
        "np.save('found.npy', np.stack(net.predict(np.load('patches.npy'))))\n"
        "assert 'jax' in sys.modules and 'tensorflow' not in sys.modules"
    )
    environment = os.environ | {"KERAS_BACKEND": "jax", "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, timeout=300, check=True)
    expected = np.stack(Predictor(weights).predict(seen))
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), expected, rtol=0, atol=ENGINES_TOLERANCE)


def test_onnx_runtime_is_called_with_what_there_is(patches: UInt8Array, monkeypatch: pytest.MonkeyPatch) -> None:
    net = Predictor(read_weights("q1net-k8"))
    calls = spy(net, monkeypatch)
    for count, sizes in ((1, [1]), (16, [16]), (100, [100]), (256, [256]), (400, [256, 144])):
        calls.clear()
        net.predict(patches[:count])
        assert [len(call) for call in calls] == sizes


def test_weights_without_an_onnx_file_and_accelerators_need_keras(weights_uri: str) -> None:
    own = read_weights(weights_uri)
    assert needs_keras(own)
    assert needs_keras(read_weights("q1net-k8"), accelerator=True)
    with pytest.raises(WeightsError, match=r"no ONNX file: q1net export --format onnx --beside"):
        Predictor(own, with_keras=False)
    with pytest.raises(WeightsError, match="ONNX file of q1net-no-bottleneck cannot be loaded"):
        Predictor(replace(own, onnx=b"no model"))


def test_an_accelerators_calls_hold_many_images(weights_uri: str, patches: UInt8Array) -> None:
    large = Predictor(read_weights(weights_uri), images_per_call=64)
    assert large.largest_call == 64 * 256
    expected = Predictor(read_weights(weights_uri)).predict(patches[:40])
    np.testing.assert_allclose(large.predict(patches[:40]), expected, rtol=0, atol=TOLERANCE)


class ResourceExhaustedError(Exception):
    """As TensorFlow's."""


@pytest.mark.parametrize(
    "error", [ResourceExhaustedError("OOM when allocating"), RuntimeError("RESOURCE_EXHAUSTED: Out of memory")]
)
def test_calls_too_large_for_the_devices_memory_are_halved_for_good(
    error: Exception, weights_uri: str, patches: UInt8Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = Predictor(read_weights(weights_uri), images_per_call=4)
    expected = np.stack(net.predict(patches))
    compiled, sizes = net._call, []

    def call(samples: UInt8Array) -> object:
        sizes.append(len(samples))
        if len(samples) > 200:
            raise error
        return compiled(samples)

    monkeypatch.setattr(net, "_call", call)
    np.testing.assert_allclose(np.stack(net.predict(patches)), expected, rtol=0, atol=TOLERANCE)
    assert sizes == [640, 512, 256, 128, 128, 128, 128, 88]
    sizes.clear()
    net.predict(patches[:150])
    assert (sizes, net.largest_call) == ([128, 24], 128)


def test_other_errors_and_a_device_without_any_memory_stop(
    weights_uri: str, patches: UInt8Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = Predictor(read_weights(weights_uri))
    calls: list[int] = []

    def fail(error: Exception) -> Callable[[UInt8Array], object]:
        def call(samples: UInt8Array) -> object:
            calls.append(len(samples))
            raise error

        return call

    monkeypatch.setattr(net, "_call", fail(ValueError("shapes differ")))
    with pytest.raises(ValueError, match="shapes differ"):
        net.predict(patches)
    assert calls == [256]
    monkeypatch.setattr(net, "_call", fail(ResourceExhaustedError("OOM")))
    with pytest.raises(ResourceExhaustedError):
        net.predict(patches)
    assert calls[-1] == 1


def test_samples_travel_to_the_device_as_bytes(weights_uri: str) -> None:
    model = load_model(read_weights(weights_uri))
    call = predictor.compile_keras(model)
    (signature,) = call.input_signature
    assert signature.dtype == "uint8"
    assert isinstance(model.layers[1], keras.layers.Rescaling)


def test_threads_predict_at_once_and_agree(net: Predictor, patches: UInt8Array) -> None:
    expected = np.stack(net.predict(patches[:100]))
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda _: np.stack(net.predict(patches[:100])), range(8)))
    for result in results:
        np.testing.assert_allclose(result, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("name", TINY)
def test_networks_that_see_other_things_predict_one_image_a_call(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = read_weights(write_tiny(name, tmp_path, monkeypatch))
    net, model = Predictor(weights), load_model(weights)
    calls = spy(net, monkeypatch)
    sizes = [(CROP, CROP)] * 3 if name == "tiny-crop" else [(40, 60), (60, 40), (40, 60)]
    rng, found = np.random.default_rng(1), []
    for height, width in sizes:
        image = rng.integers(0, rng.integers(30, 256), (1, height, width, 3)).astype(np.uint8)
        quality, confidence = net.predict(image)
        assert quality == pytest.approx(np.asarray(model(image))[:, 0], abs=TOLERANCE)
        assert confidence.tolist() == [100]
        found.append(float(quality[0]))
    assert len(set(found)) == 3
    assert [call.shape for call in calls] == [(1, *size, 3) for size in sizes]


def test_backend_without_inference_is_named(monkeypatch: pytest.MonkeyPatch, weights_uri: str) -> None:
    model = load_model(read_weights(weights_uri))
    monkeypatch.setattr(keras.backend, "backend", lambda: "numpy")
    with pytest.raises(WeightsError, match="'numpy'; expected tensorflow or jax"):
        predictor.compile_keras(model)
