"""`q1net export`: a variant as TFLite, ONNX or SavedModel, checked in its own runtime before it is written.

All formats take what the variant sees, such as patches uint8 RGB [N, 16, 16, 3], any N, and give its outputs: of a
Q1Net quality and confidence, float32 [N, 2], 0-100. `--beside` gives weights the ONNX file that CPUs run them by.
"""

import argparse
import posixpath
import sys
import tempfile
from collections.abc import Callable
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipelines.runtime.quiet import keep_quiet, start_quietly
from q1net_core import storage
from q1net_core.errors import ConfigError, Q1NetError, WeightsError
from q1net_core.network.predictor import load_model
from q1net_core.network.weights import find_weights, onnx_uri, read_weights, write_onnx
from q1net_core.patches import PATCH
from q1net_core.records import Float32Array, UInt8Array
from q1net_core.sampling import PATCHES, InputKind

# Levels by which an exported model may differ, on any patch: a hundredth of what could ever be seen in an estimate.
TOLERANCE = 0.01
# So many samples a call when an export is checked, so that it is seen to take any number.
CHECKED_PATCHES = (1, 63, 128)
CHECKED_IMAGES = (1, 2)
# Height and width of the images that networks of whole images are checked with.
CHECKED_SIDE = 160

Predict = Callable[[UInt8Array], Float32Array]


def read_patches() -> UInt8Array:
    """The packaged patches of photographs that exports are checked with: uint8 [192, 16, 16, 3], from a mosaic."""
    mosaic = np.asarray(Image.open(str(files("q1net_core") / "data" / "patches.png")))
    height, width = mosaic.shape[:2]
    tiles = mosaic.reshape(height // PATCH, PATCH, width // PATCH, PATCH, 3)
    return np.ascontiguousarray(tiles.swapaxes(1, 2).reshape(-1, PATCH, PATCH, 3))


def read_samples(kind: InputKind) -> list[UInt8Array]:
    """What exports of a network with this kind of input are checked with, call by call: uint8 [N, h, w, 3] each."""
    patches = read_patches()
    if kind == PATCHES:
        return np.split(patches, np.cumsum(CHECKED_PATCHES)[:-1])
    side, count = kind.size or CHECKED_SIDE, sum(CHECKED_IMAGES)
    row = patches[: -(-side // PATCH) + count].swapaxes(0, 1).reshape(PATCH, -1, 3)
    strips = [np.tile(row[:, start * PATCH :][:, :side], (-(-side // PATCH), 1, 1))[:side] for start in range(count)]
    return np.split(np.stack(strips), np.cumsum(CHECKED_IMAGES)[:-1])


def convert_tflite(model: Any, path: Path) -> None:
    """A Keras model -> a TFLite file of float32 operations."""
    import tensorflow as tf

    # Not from_keras_model, which prints hundreds of lines to stdout.
    with tempfile.TemporaryDirectory() as folder:
        convert_savedmodel(model, Path(folder))
        path.write_bytes(tf.lite.TFLiteConverter.from_saved_model(folder).convert())


def load_tflite(path: Path) -> Predict:
    """A TFLite file as TensorFlow's own interpreter runs it, resized for every call."""
    import tensorflow as tf

    interpreter = tf.lite.Interpreter(model_path=str(path))
    source, target = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

    def predict(patches: UInt8Array) -> Float32Array:
        interpreter.resize_tensor_input(source, patches.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(source, patches)
        interpreter.invoke()
        return np.asarray(interpreter.get_tensor(target))

    return predict


def convert_savedmodel(model: Any, path: Path) -> None:
    """A Keras model -> a SavedModel folder with the signature ``serving_default``."""
    model.export(path, format="tf_saved_model", verbose=False)


def load_savedmodel(path: Path) -> Predict:
    """A SavedModel folder as TensorFlow runs it."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    serve = loaded.signatures["serving_default"]

    def predict(patches: UInt8Array) -> Float32Array:
        # The module is kept alive with its function, else its variables are gone.
        assert loaded is not None
        (outputs,) = serve(tf.constant(patches)).values()
        return np.asarray(outputs)

    return predict


def convert_onnx(model: Any, path: Path) -> None:
    """A Keras model -> an ONNX file."""
    model.export(path, format="onnx", verbose=False)


def load_onnx(path: Path) -> Predict:
    """An ONNX file as ONNX Runtime runs it on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (source,) = session.get_inputs()
    return lambda patches: np.asarray(session.run(None, {source.name: patches})[0])


# Name -> how to write it to a path, and how to load it again in its own runtime.
FORMATS: dict[str, tuple[Callable[[Any, Path], None], Callable[[Path], Predict]]] = {
    "tflite": (convert_tflite, load_tflite),
    "onnx": (convert_onnx, load_onnx),
    "savedmodel": (convert_savedmodel, load_savedmodel),
}


# Packages that a format needs besides TensorFlow.
REQUIREMENTS = {"onnx": ("onnx", "tf2onnx")}


class ExportError(Q1NetError):
    """A converted model does not give the predictions of its original."""


def check_requirements(name: str) -> None:
    """Raise ConfigError, before any work, if this process cannot export the format."""
    import keras

    if keras.backend.backend() != "tensorflow":
        raise ConfigError(f"Keras backend is {keras.backend.backend()!r}; export needs KERAS_BACKEND=tensorflow")
    missing = [package for package in REQUIREMENTS.get(name, ()) if find_spec(package) is None]
    if missing:
        raise ConfigError(f"format {name} needs {', '.join(missing)}: pip install 'q1net[{name}]'")


def largest_difference(expected: list[Float32Array], predict: Predict, calls: list[UInt8Array]) -> float:
    """Largest difference, in levels, from the expected answers of each call."""
    # Not Python's max, which passes over what is not a number.
    return float(np.max([np.abs(predict(call) - answers).max() for call, answers in zip(calls, expected, strict=True)]))


def write_output(path: Path, uri: str) -> int:
    """Copy what was converted, a file or a folder, to ``uri``; returns its bytes."""
    parts = sorted(part for part in path.rglob("*") if part.is_file()) if path.is_dir() else [path]
    total = 0
    for part in parts:
        content = part.read_bytes()
        name = part.relative_to(path).as_posix()
        storage.write_bytes(uri if path.is_file() else storage.join(uri, name), content)
        total += len(content)
    return total


def export(weights: str, name: str, output: str | None) -> tuple[float, str, int]:
    """Convert, check and write a model: to ``output``, or where that is None beside its weights, named in their card.

    Returns:
        The largest difference, in levels; what it was looked for in, in words; the bytes written.

    Raises:
        ConfigError, WeightsError: before any work starts.
        ExportError: the converted model differs; nothing is written.
    """
    file = read_weights(weights, codecs=None)
    calls = read_samples(file.network.input)
    check_requirements(name)
    target = output or onnx_uri(find_weights(weights))
    storage.ensure_writable(target if name == "savedmodel" else posixpath.dirname(target) or ".")
    convert, load = FORMATS[name]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"model.{name}"
        with keep_quiet():
            model = load_model(file)
            # Before the conversion: Keras exports to ONNX only what was called.
            expected = [np.asarray(model(call)) for call in calls]
            convert(model, path)
            difference = largest_difference(expected, load(path), calls)
        if not difference <= TOLERANCE:
            raise ExportError(
                f"the {name} model differs by {difference:.6f} levels from the Keras model; expected at most "
                f"{TOLERANCE}. Nothing is written: compare the installed packages with those of setup.py"
            )
        checked = f"{sum(map(len, calls))} {'patches' if file.network.input == PATCHES else 'images'}"
        if output is None:
            content = path.read_bytes()
            write_onnx(content, find_weights(weights))
            return difference, checked, len(content)
        return difference, checked, write_output(path, output)


def make_parser() -> argparse.ArgumentParser:
    """The command's flags."""
    parser = argparse.ArgumentParser(
        prog="q1net export", description="Write a variant as a deployable model.", allow_abbrev=False
    )
    parser.add_argument(
        "--variant",
        "--weights",
        dest="weights",
        default="q1net-k8",
        metavar="NAME",
        help="variant, or a .keras file (%(default)s)",
    )
    parser.add_argument("--format", required=True, choices=list(FORMATS), help="what to write")
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--output", metavar="URI", help="file; for savedmodel a folder")
    target.add_argument(
        "--beside",
        action="store_true",
        help="onnx only: write NAME.onnx beside the weights and name it in their card; CPUs then need no TensorFlow",
    )
    return parser


def run(argv: list[str]) -> int:
    """The command; exit status 0 only if the export gives the same predictions and is written."""
    options = make_parser().parse_args(argv)
    try:
        if options.beside and options.format != "onnx":
            raise ConfigError(f"--format is {options.format}; --beside writes onnx only")
        start_quietly()
        difference, checked, size = export(options.weights, options.format, options.output)
    except (ConfigError, WeightsError) as error:
        print(f"q1net export: {error}", file=sys.stderr)
        return 2
    except ExportError as error:
        print(f"q1net export: {error}", file=sys.stderr)
        return 1
    target = options.output or onnx_uri(find_weights(options.weights))
    print(
        f"{target}: {options.format}, {size:,} bytes; largest difference {difference:.6f} levels over "
        f"{checked}, at most {TOLERANCE} allowed"
    )
    return 0
