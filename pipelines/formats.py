"""Formats of exported models: how each is written, and how its own runtime loads it again.

Runtimes are imported where they are used.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from q1net_core.arrays import Float32Array, UInt8Array

Predict = Callable[[UInt8Array], Float32Array]


def signature_of(model: Any) -> list[Any]:
    """The model's inputs as they are; Keras's own signature forgets a fixed batch."""
    import keras

    return [keras.InputSpec(dtype=source.dtype, shape=source.shape, name=source.name) for source in model.inputs]


def convert_tflite(model: Any, path: Path) -> None:
    """A Keras model -> a TFLite file of float32 operations."""
    import tensorflow as tf

    # Not from_keras_model, which prints hundreds of lines to stdout.
    with tempfile.TemporaryDirectory() as folder:
        convert_savedmodel(model, Path(folder))
        path.write_bytes(tf.lite.TFLiteConverter.from_saved_model(folder).convert())


def load_tflite(path: Path) -> Predict:
    """A TFLite file as TensorFlow's own interpreter runs it, resized for calls of another length."""
    import tensorflow as tf

    interpreter = tf.lite.Interpreter(model_path=str(path))
    source, target = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

    def predict(patches: UInt8Array) -> Float32Array:
        if tuple(interpreter.get_input_details()[0]["shape"]) != patches.shape:
            interpreter.resize_tensor_input(source, patches.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(source, patches)
        interpreter.invoke()
        return np.asarray(interpreter.get_tensor(target))

    return predict


def convert_savedmodel(model: Any, path: Path) -> None:
    """A Keras model -> a SavedModel folder with the signature ``serving_default``."""
    model.export(path, format="tf_saved_model", verbose=False, input_signature=signature_of(model))


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
    model.export(path, format="onnx", verbose=False, input_signature=signature_of(model))


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
