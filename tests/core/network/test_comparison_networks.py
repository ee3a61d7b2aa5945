"""The networks that the paper compares with: their parameter counts, what they take, and what they give."""

from pathlib import Path

import keras
import numpy as np
import pytest

from q1net_core.network.variants import VARIANTS, read_maps

DOCUMENT = Path(__file__).parents[3] / "docs" / "networks.md"
# All parameters, and the trainable ones.
PARAMETERS = {
    "mobilenet-v2": (2_259_265, 2_225_153),
    "efficientnet-b0": (4_050_852, 4_008_829),
    "shufflenet": (1_824_073, 1_771_081),
    "lcnn": (1_473_009, 1_472_337),
    "jqe": (187_586, 187_586),
    "jqe-like": (217_409, 217_409),
    "q-est": (213_345, 213_345),
}


def test_every_network_of_windows_is_counted_here() -> None:
    assert set(PARAMETERS) == {name for name, variant in VARIANTS.items() if variant.input.sampler == "centre crop"}


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_documents_have_its_parameters(name: str) -> None:
    rows = [line.split("|") for line in DOCUMENT.read_text().splitlines() if line.startswith(f"| `{name}` |")]
    assert [row[3].strip() for row in rows] == [f"{PARAMETERS[name][0]:,}"]


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_network_has_its_parameters_and_answers_within_the_scale_after_a_safe_reload(
    name: str, tmp_path: Path
) -> None:
    keras.utils.set_random_seed(1)
    variant = VARIANTS[name]
    model = variant.architecture.build()
    trainable = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    assert (model.count_params(), trainable) == PARAMETERS[name]
    assert model.inputs[0].dtype == "uint8"
    size = 40 if name == "jqe" else variant.input.size
    assert size is not None
    assert model.inputs[0].shape == ((None, None, None, 3) if name == "jqe" else (None, size, size, 3))
    windows = np.random.default_rng(1).integers(0, 256, (1, size, size, 3), np.uint8)
    outputs = np.asarray(model(windows, training=False))
    assert outputs.dtype == np.float32
    quality, confidence = variant.read_outputs(outputs)
    assert (quality.shape, quality.dtype) == ((1,), np.float32)
    assert confidence.tolist() == [100]
    assert 0 <= quality[0] <= 100
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", compile=False, safe_mode=True)
    assert np.asarray(again(windows, training=False)) == pytest.approx(outputs, abs=1e-3)


def test_jqe_is_read_as_the_mean_of_its_map_clipped() -> None:
    maps = np.zeros((2, 2, 2, 2), np.float32)
    maps[0, :, :, 0] = [[0.25, 0.75], [-1, 3]]
    maps[:, :, :, 1] = 9
    quality, confidence = read_maps(maps)
    assert quality == pytest.approx([100 * (1 - (0.25 + 0.75 + 0 + 1) / 4), 100])
    assert confidence.tolist() == [100, 100]
