"""`q1net export`: a variant as TFLite, ONNX or SavedModel, checked in its own runtime before it is written.

All formats take what the variant sees, such as patches uint8 RGB [N, 16, 16, 3], any N, and give its outputs: of a
Q1Net quality and confidence, float32 [N, 2], 0-100. `--beside` gives weights the ONNX file that CPUs run them by.
"""

import argparse
import posixpath
import sys
import tempfile
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipelines.formats import FORMATS, Predict
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
    """Largest difference from the expected answers of each call, in levels, or in the unit of features."""
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


def take_features(model: Any) -> Any:
    """Everything before the last dense layer, which makes an answer of the features: -> float32 [N, C].

    Raises:
        ConfigError: the network has no dense layer.
    """
    import keras

    dense = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    if not dense:
        raise ConfigError(f"--features is all before the dense layer; {model.name} has none")
    return keras.Model(model.inputs, dense[-1].input)


def fix_batch(model: Any, batch: int) -> Any:
    """The same model for calls of exactly ``batch`` samples."""
    import keras

    samples = keras.Input(batch_shape=(batch, *model.inputs[0].shape[1:]), dtype="uint8")
    return keras.Model(samples, model(samples))


def fill_call(calls: list[UInt8Array], batch: int) -> list[UInt8Array]:
    """All samples as one call of ``batch``, repeated as often as it takes."""
    samples = np.concatenate(calls)
    return [samples[np.arange(batch) % len(samples)]]


def export(
    weights: str, name: str, output: str | None, features: bool = False, batch: int | None = None
) -> tuple[float, str, int]:
    """Convert, check and write a model: to ``output``, or where that is None beside its weights, named in their card.

    Args:
        weights: variant, or uri of a .keras file.
        name: of FORMATS.
        output: uri; None for ONNX beside the weights.
        features: write all before the dense layer instead of the whole model.
        batch: samples of every call; None takes any number.

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
            if features:
                model = take_features(model)
            if batch is not None:
                model, calls = fix_batch(model, batch), fill_call(calls, batch)
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
    parser.add_argument("--features", action="store_true", help="all before the dense layer: features, not answers")
    parser.add_argument("--batch", type=int, metavar="N", help="samples of every call (any number)")
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
        if options.beside and (options.format != "onnx" or options.features or options.batch):
            raise ConfigError(
                f"--format is {options.format}; --beside writes onnx only, of the whole network, any batch"
            )
        if options.batch is not None and options.batch < 1:
            raise ConfigError(f"--batch is {options.batch}; expected at least 1")
        start_quietly()
        difference, checked, size = export(
            options.weights, options.format, options.output, options.features, options.batch
        )
    except (ConfigError, WeightsError) as error:
        print(f"q1net export: {error}", file=sys.stderr)
        return 2
    except ExportError as error:
        print(f"q1net export: {error}", file=sys.stderr)
        return 1
    target = options.output or onnx_uri(find_weights(options.weights))
    unit = "in features" if options.features else "levels"
    print(
        f"{target}: {options.format}, {size:,} bytes; largest difference {difference:.6f} {unit} over "
        f"{checked}, at most {TOLERANCE} allowed"
    )
    return 0
