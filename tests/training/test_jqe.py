"""The file that JQE's authors published becomes weights like any others: kernels turned, a card beside them."""

from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from pictures import make_picture

from q1net_core.errors import WeightsError
from q1net_core.network.jqe import build_jqe
from q1net_core.network.predictor import Predictor, load_model
from q1net_core.network.weights import read_weights
from training import jqe
from training.jqe import load_published


def turn(array: np.ndarray) -> np.ndarray:
    return array[::-1, ::-1] if array.ndim == 4 else array


def write_keras2(path: Path, arrays: list[np.ndarray], backend: str | None) -> bytes:
    """A file as Keras 2 wrote models: names of layers and weights as attributes, arrays below them."""
    with h5py.File(path, "w") as file:
        if backend:
            file.attrs["backend"] = np.bytes_(backend)
        group = file.create_group("model_weights")
        layers = [f"conv2d_{number}" for number in range(1, len(arrays) // 2 + 1)]
        group.attrs["layer_names"] = [np.bytes_(name) for name in ["input_1", *layers]]
        group.create_group("input_1").attrs["weight_names"] = np.array([], "S1")
        for number, layer in enumerate(layers):
            names = [f"{layer}/kernel:0", f"{layer}/bias:0"]
            below = group.create_group(layer)
            below.attrs["weight_names"] = [np.bytes_(name) for name in names]
            for name, array in zip(names, arrays[2 * number :], strict=False):
                below[name] = array
    return path.read_bytes()


@pytest.mark.parametrize(("backend", "turned"), [("theano", True), (None, True), ("tensorflow", False)])
def test_jqes_published_weights_are_turned_where_theano_made_them(
    backend: str | None, turned: bool, tmp_path: Path
) -> None:
    keras.utils.set_random_seed(2)
    arrays = build_jqe().get_weights()
    loaded = load_published(write_keras2(tmp_path / "trained.hdf5", arrays, backend)).get_weights()
    for array, found in zip(arrays, loaded, strict=True):
        assert np.array_equal(found, turn(array) if turned else array)


def test_another_file_is_refused(tmp_path: Path) -> None:
    arrays = build_jqe().get_weights()[:-2]
    with pytest.raises(WeightsError, match=r"12 arrays of .* expected JQE's 14 of 187586"):
        load_published(write_keras2(tmp_path / "other.hdf5", arrays, "theano"))
    with pytest.raises(WeightsError, match=r"cannot be read: .* expected HDF5"):
        load_published(b"no such file")


def test_the_authors_file_becomes_weights_of_jqe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keras.utils.set_random_seed(4)
    model = build_jqe()
    write_keras2(tmp_path / "trained.hdf5", [turn(array) for array in model.get_weights()], "theano")
    output = tmp_path / "jqe.keras"
    assert jqe.run([str(tmp_path / "trained.hdf5"), "--output", str(output)]) == 0
    weights = read_weights(str(output))
    for found, expected in zip(load_model(weights).get_weights(), model.get_weights(), strict=True):
        assert np.array_equal(found, expected)
    pixels = make_picture(1, 64, 64)[None]
    quality, confidence = Predictor(weights).predict(pixels)
    expected = 100 * (1 - np.clip(np.asarray(model(pixels))[..., 0], 0, 1).mean())
    assert (quality[0], confidence[0]) == (pytest.approx(expected, abs=1e-3), 100)
    assert jqe.run([str(output), "--output", str(output)]) == 2
    assert "cannot be read" in capsys.readouterr().err
