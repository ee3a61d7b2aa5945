"""Checked weights -> a loaded model that predicts: by ONNX Runtime on a CPU, by Keras on an accelerator.

Layer: keras and onnxruntime, imported with the first model and not with this module; no beam, no pyarrow.
"""

import logging
import tempfile
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from q1net_core.errors import WeightsError
from q1net_core.network.variants import VARIANTS
from q1net_core.network.weights import WeightsFile
from q1net_core.records import Float32Array, UInt8Array

if TYPE_CHECKING:
    import keras

# Keras's compilers prepare each shape that they meet: a call's number of samples is rounded up to a multiple of a
# sixteenth of the largest call, so that they meet sixteen at most. ONNX Runtime takes calls of any size.
SHAPES = 16

# How TensorFlow, JAX and CUDA word it.
OUT_OF_MEMORY = ("resourceexhausted", "resource_exhausted", "out of memory")
LOGGER = logging.getLogger(__name__)

# A batch of samples uint8 [N, h, w, 3] -> the model's outputs, anything that numpy reads.
Call = Callable[[UInt8Array], Any]


def needs_keras(weights: WeightsFile, accelerator: bool = False) -> bool:
    """Whether predicting with these weights imports Keras: on accelerators, and where there is no ONNX file."""
    return accelerator or weights.onnx is None


class Predictor:
    """A loaded network: ``predict`` maps what it sees of one image to qualities. Safe to share between threads.

    Predictions depend on the samples of their call alone, and on the processor: the same samples in the same order are
    the same call. Beside other samples, or in another order, the last bits of a prediction may differ.

    Args:
        weights: verified weights.
        images_per_call: of so many images the samples fit into one call. On a CPU one is best: larger calls leave the
            cache. Accelerators want more.
        with_keras: whether Keras runs the network, and not ONNX Runtime; None: where it must, see needs_keras.

    Raises:
        WeightsError: the file is not a model of its variant.
    """

    def __init__(self, weights: WeightsFile, images_per_call: int = 1, with_keras: bool | None = None) -> None:
        self.weights = weights
        self.largest_call = images_per_call * weights.network.input.most()
        if with_keras is None:
            with_keras = needs_keras(weights, accelerator=images_per_call > 1)
        self.with_keras = with_keras
        self._call = compile_keras(load_model(weights)) if with_keras else compile_onnx(weights)

    def predict(self, samples: UInt8Array) -> tuple[Float32Array, Float32Array]:
        """Samples uint8 [N, h, w, 3] -> quality and confidence, float32 [N] each, 0-100.

        A call that the device has no memory for is made again in halves, and later calls are no larger than these.
        """
        outputs: list[Float32Array] = []
        start = 0
        while start < len(samples):
            largest = self.largest_call
            part = samples[start : start + largest]
            try:
                outputs.append(self._predict_call(part, largest))
            except Exception as error:
                if not is_out_of_memory(error) or largest < 2:
                    raise
                self.largest_call = largest // 2
                LOGGER.warning("the device has no memory for %d samples a call; now %d", largest, self.largest_call)
            else:
                start += len(part)
        return self.weights.network.read_outputs(np.concatenate(outputs))

    def _predict_call(self, samples: UInt8Array, largest: int) -> Float32Array:
        missing = -len(samples) % max(1, largest // SHAPES) if self.with_keras else 0
        padded = np.pad(samples, ((0, missing), (0, 0), (0, 0), (0, 0))) if missing else samples
        return np.asarray(self._call(padded))[: len(samples)]


def is_out_of_memory(error: Exception) -> bool:
    """Whether a backend says that the device's memory is used up; each has an error class of its own."""
    return any(word in f"{type(error).__name__} {error}".lower() for word in OUT_OF_MEMORY)


def compile_onnx(weights: WeightsFile) -> Call:
    """The ONNX file of these weights as a function of one batch of any length, callable from several threads at once.

    Raises:
        WeightsError: there is none, or it is not an ONNX model.
    """
    import onnxruntime

    if weights.onnx is None:
        raise WeightsError(f"weights of {weights.variant} have no ONNX file: q1net export --format onnx --beside")
    options = onnxruntime.SessionOptions()
    # Images are predicted side by side, one by each worker; threads inside a call gain little.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    # Errors only: it warns of devices that it does not find.
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(weights.onnx, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises whatever the broken file provokes
        raise WeightsError(f"ONNX file of {weights.variant} cannot be loaded: {error}") from error
    (source,) = session.get_inputs()
    return lambda samples: session.run(None, {source.name: samples})[0]


def compile_keras(model: "keras.Model") -> Call:
    """The model as a compiled function of one batch of any length, callable from several threads at once."""
    import keras

    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        signature = [tf.TensorSpec(model.inputs[0].shape, model.inputs[0].dtype)]
        call = tf.function(lambda samples: model(samples, training=False), input_signature=signature)
        # Traced here, once, so that no two threads do it at the same time later.
        call.get_concrete_function()
        return cast(Call, call)
    if backend == "jax":
        import jax

        trainable = [variable.value for variable in model.trainable_variables]
        fixed = [variable.value for variable in model.non_trainable_variables]
        compiled = jax.jit(lambda samples: model.stateless_call(trainable, fixed, samples, training=False)[0])

        def call_exactly(samples: UInt8Array) -> Any:
            # Accelerators would round the factors of products to ten bits.
            with jax.default_matmul_precision("float32"):
                return compiled(samples)

        return call_exactly
    raise WeightsError(f"Keras backend is {backend!r}; expected tensorflow or jax (environment variable KERAS_BACKEND)")


def load_model(weights: WeightsFile) -> "keras.Model":
    """The Keras model of a weights file, in Keras's safe mode, compared with the architecture its card names.

    Raises:
        WeightsError: the file is not a Keras model, or is not this variant's.
    """
    import keras

    with tempfile.NamedTemporaryFile(suffix=".keras") as file:
        file.write(weights.content)
        file.flush()
        try:
            model = keras.saving.load_model(file.name, compile=False, safe_mode=True)
        except Exception as error:  # Keras raises whatever the broken file provokes
            raise WeightsError(f"weights of {weights.variant} are not a Keras model: {error}") from error
    expected = VARIANTS[weights.variant].architecture.build()
    if [array.shape for array in model.get_weights()] != [array.shape for array in expected.get_weights()]:
        raise WeightsError(
            f"weights file holds a model of {model.count_params()} parameters that is not the variant "
            f"{weights.variant!r} which its card names"
        )
    return model
