"""Q1Net: the paper's parameter counts, uint8 in, 0-100 out, and models that reload in safe mode."""

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from q1net_core.errors import ConfigError
from q1net_core.network.q1net import build_q1net
from q1net_core.network.variants import VARIANTS

PARAMETERS = {
    "q1net-k8": 125_234,
    "q1net-k8-robust": 125_234,
    "q1net-k6": 70_994,
    "q1net-k12": 279_578,
    "q1net-no-bottleneck": 49_298,
    "q1net-regressor": 125_225,
    "q1net-classifier-2": 125_234,
    "q1net-classifier-10": 125_306,
    "q1net-classifier": 126_116,
}


@pytest.fixture(scope="module")
def models() -> dict[str, keras.Model]:
    keras.utils.set_random_seed(1)
    return {name: VARIANTS[name].architecture.build() for name in PARAMETERS}


@pytest.fixture(scope="module")
def patches() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)


every_kind = pytest.mark.parametrize(
    "variant", ["q1net-k8", "q1net-no-bottleneck", "q1net-regressor", "q1net-classifier"]
)
every_variant = pytest.mark.parametrize("variant", PARAMETERS)


@every_variant
def test_parameter_count_is_the_papers(variant: str, models: dict[str, keras.Model]) -> None:
    assert models[variant].count_params() == PARAMETERS[variant]


def test_trainable_parameters_leave_out_the_running_statistics(models: dict[str, keras.Model]) -> None:
    trainable = sum(int(np.prod(weight.shape)) for weight in models["q1net-k8"].trainable_weights)
    assert trainable == 123_890


@every_variant
def test_uint8_patches_give_float32_within_0_to_100(
    variant: str, models: dict[str, keras.Model], patches: np.ndarray
) -> None:
    model = models[variant]
    outputs = np.asarray(model(patches, training=False))
    assert model.inputs[0].dtype == "uint8"
    assert model.inputs[0].shape == (None, 16, 16, 3)
    assert outputs.shape == (len(patches), VARIANTS[variant].architecture.parameters["alpha"])
    assert outputs.dtype == np.float32
    assert outputs.min() >= 0
    assert outputs.max() <= 100
    if "classifier" in variant:
        assert outputs.sum(axis=1) == pytest.approx(1.0, abs=1e-5)
    else:
        # An untrained sigmoid is near one half, so the scale shows.
        assert 25 < outputs.mean() < 75


def test_pixels_are_scaled_to_one_inside_the_graph(models: dict[str, keras.Model]) -> None:
    model = models["q1net-k8"]
    scaled = keras.Model(model.inputs[0], model.layers[1].output)
    extremes = np.zeros((1, 16, 16, 3), np.uint8)
    extremes[0, 0, 0] = (0, 255, 51)
    assert np.asarray(scaled(extremes))[0, 0, 0] == pytest.approx([-1.0, 1.0, -0.6], abs=1e-6)


@every_kind
def test_model_reloads_in_safe_mode_to_the_same_output(
    variant: str, models: dict[str, keras.Model], patches: np.ndarray, tmp_path: Path
) -> None:
    path = tmp_path / "model.keras"
    models[variant].save(path)
    reloaded = keras.saving.load_model(path, compile=False, safe_mode=True)
    expected = np.asarray(models[variant](patches, training=False))
    for array, original in zip(reloaded.get_weights(), models[variant].get_weights(), strict=True):
        assert np.array_equal(array, original)
    assert np.asarray(reloaded(patches, training=False)) == pytest.approx(expected, abs=1e-3)


@every_variant
def test_no_layer_hides_code(variant: str, models: dict[str, keras.Model]) -> None:
    kinds = {type(layer) for layer in models[variant].layers}
    assert layers.Lambda not in kinds
    assert {kind.__module__.split(".")[0] for kind in kinds} == {"keras"}


def test_output_stays_float32_under_mixed_precision(patches: np.ndarray) -> None:
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        model = build_q1net(k=1)
    finally:
        keras.mixed_precision.set_global_policy(before)
    assert model.layers[2].compute_dtype == "bfloat16"
    assert model.output.dtype == "float32"


@pytest.mark.parametrize(("k", "alpha"), [(0, 2), (8, 3), (8, 0), (-1, 1)])
def test_impossible_shapes_are_refused(k: int, alpha: int) -> None:
    with pytest.raises(ConfigError, match=f"k is {k} and alpha is {alpha}"):
        build_q1net(k=k, alpha=alpha)
