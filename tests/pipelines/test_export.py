"""Every format gives the predictions of the original, in its own runtime, and is refused where it does not."""

import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from make_photographs import make_mosaic

from pipelines import export
from pipelines.cli import main
from pipelines.runtime.quiet import keep_quiet
from q1net_core import storage
from q1net_core.errors import ConfigError
from q1net_core.network.predictor import Predictor, load_model, needs_keras
from q1net_core.network.variants import VARIANTS
from q1net_core.network.weights import read_weights


@pytest.mark.parametrize("name", export.FORMATS)
def test_an_export_predicts_like_its_original(
    name: str, weights_uri: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / f"model.{name}"
    assert main(["export", "--variant", weights_uri, "--format", name, "--output", str(output)]) == 0
    printed = capfd.readouterr()
    assert printed.err == ""
    pattern = (
        rf"{output}: {name}, [\d,]+ bytes; largest difference (0\.\d+) levels over 192 patches, at most 0.01 allowed\n"
    )
    found = re.fullmatch(pattern, printed.out)
    assert found is not None, printed.out
    with keep_quiet():
        predict = export.FORMATS[name][1](output)
    patches = np.random.default_rng(1).integers(0, 256, (5, 16, 16, 3), np.uint8)
    quality, confidence = Predictor(read_weights(weights_uri)).predict(patches)
    answers = predict(patches)
    assert answers.shape == (5, 2)
    assert answers == pytest.approx(np.stack([quality, confidence], 1), abs=export.TOLERANCE)
    assert np.ptp(quality) > 10 * export.TOLERANCE
    assert float(found[1]) <= export.TOLERANCE


def test_features_are_what_the_dense_layer_sees(weights_uri: str, tmp_path: Path) -> None:
    output = tmp_path / "features.tflite"
    arguments = ["export", "--variant", weights_uri, "--format", "tflite", "--output", str(output), "--features"]
    assert main(arguments) == 0
    with keep_quiet():
        predict = export.FORMATS["tflite"][1](output)
    patches = export.read_patches()[:5]
    features = predict(patches)
    assert features.shape == (5, 8)
    model = load_model(read_weights(weights_uri))
    kernel, bias = model.layers[-2].get_weights()
    answers = 100 / (1 + np.exp(-(features @ kernel + bias)))
    assert answers == pytest.approx(np.asarray(model(patches)), abs=0.02)


def test_networks_without_a_dense_layer_have_no_features() -> None:
    with pytest.raises(ConfigError, match="--features is all before the dense layer; jqe has none"):
        export.take_features(VARIANTS["jqe"].architecture.build())


def test_a_fixed_batch_takes_calls_of_that_size(
    weights_uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "model.tflite"
    arguments = ["export", "--variant", weights_uri, "--format", "tflite", "--output", str(output)]
    assert main([*arguments, "--batch", "256"]) == 0
    with keep_quiet():
        import tensorflow as tf

        details = tf.lite.Interpreter(model_path=str(output)).get_input_details()[0]
    assert details["shape"].tolist() == details["shape_signature"].tolist() == [256, 16, 16, 3]
    assert main([*arguments, "--batch", "0"]) == 2
    assert "--batch is 0; expected at least 1" in capsys.readouterr().err


def test_exports_are_checked_with_patches_of_the_photographs() -> None:
    patches = export.read_patches()
    assert len(patches) == sum(export.CHECKED_PATCHES) == 192
    mosaic = patches.reshape(12, 16, 16, 16, 3).swapaxes(1, 2).reshape(12 * 16, 16 * 16, 3)
    np.testing.assert_array_equal(mosaic, make_mosaic())


def replace_format(monkeypatch: pytest.MonkeyPatch, change: Callable[[Any], Any]) -> None:
    """A format whose runtime answers a little differently."""

    def convert(model: Any, path: Path) -> None:
        models.append(model)
        path.write_bytes(b"model")

    models: list[Any] = []
    load = lambda path: lambda patches: change(np.asarray(models[0](patches)))  # noqa: E731
    monkeypatch.setitem(export.FORMATS, "tflite", (convert, load))


@pytest.mark.parametrize(("difference", "status"), [(0.009, 0), (0.011, 1), (-0.011, 1), (np.nan, 1)])
def test_an_export_that_differs_is_not_written(
    difference: float,
    status: int,
    weights_uri: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def change(answers: Any) -> Any:
        answers = answers.copy()
        answers[-1, 1] += difference
        return answers

    replace_format(monkeypatch, change)
    output = tmp_path / "out" / "model.tflite"
    arguments = ["--weights", weights_uri, "--format", "tflite", "--output", str(output)]
    assert main(["export", *arguments]) == status
    assert output.exists() == (status == 0)
    if status:
        printed = capsys.readouterr().err
        assert re.match(r"q1net export: the tflite model differs by (0\.011\d+|nan) levels .* at most 0\.01\.", printed)


def test_folders_are_written_to_any_store(weights_uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    uri = "memory://exported/model"
    assert main(["export", "--variant", weights_uri, "--format", "savedmodel", "--output", uri]) == 0
    size = int(re.findall(r"([\d,]+) bytes", capsys.readouterr().out)[0].replace(",", ""))
    names = ("saved_model.pb", "fingerprint.pb", "variables/variables.index", "variables/variables.data-00000-of-00001")
    assert sum(len(storage.read_bytes(f"{uri}/{name}", size)) for name in names) == size


def test_weights_get_their_onnx_file_beside_them(
    weights_uri: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for suffix in (".keras", ".json"):
        shutil.copy(Path(weights_uri).with_suffix(suffix), tmp_path / f"mine{suffix}")
    uri = str(tmp_path / "mine.keras")
    assert needs_keras(read_weights(uri))
    assert main(["export", "--weights", uri, "--format", "tflite", "--beside"]) == 2
    assert (
        capfd.readouterr().err
        == "q1net export: --format is tflite; --beside writes onnx only, of the whole network, any batch\n"
    )
    assert main(["export", "--weights", uri, "--format", "onnx", "--beside"]) == 0
    assert capfd.readouterr().out.startswith(f"{tmp_path / 'mine.onnx'}: onnx, ")
    weights = read_weights(uri)
    assert not needs_keras(weights)
    patches = export.read_patches()
    by_onnx, by_keras = Predictor(weights).predict(patches), Predictor(weights, with_keras=True).predict(patches)
    np.testing.assert_allclose(by_onnx, by_keras, rtol=0, atol=export.TOLERANCE)


@pytest.mark.parametrize("package", ["onnx", "tf2onnx"])
def test_a_missing_package_is_named(
    package: str, weights_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    output = tmp_path / "model.onnx"
    assert main(["export", "--variant", weights_uri, "--format", "onnx", "--output", str(output)]) == 2
    assert capsys.readouterr().err == f"q1net export: format onnx needs {package}: pip install 'q1net[onnx]'\n"
    assert not output.exists()


def test_another_backend_unknown_weights_and_places_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--format", "tflite", "--output", str(tmp_path / "model.tflite")]
    (tmp_path / "file").touch()
    assert main(["export", "--format", "tflite", "--output", str(tmp_path / "file/model.tflite")]) == 2
    assert capsys.readouterr().err.startswith("q1net export: cannot write to output ")
    assert main(["export", "--variant", "nonsense", *arguments]) == 2
    assert capsys.readouterr().err.startswith("q1net export: weights are 'nonsense'; expected")
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    assert main(["export", *arguments]) == 2
    assert capsys.readouterr().err == "q1net export: Keras backend is 'jax'; export needs KERAS_BACKEND=tensorflow\n"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
