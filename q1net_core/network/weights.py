"""Variant name or weights file -> checked file -> loaded model.

Layer: fsspec through storage; no beam, no pyarrow. Keras is imported with the first model, not with this module, so
that whoever only starts a run on other machines needs no TensorFlow.

Beside a weights file NAME.keras lies its card NAME.json: sha256, variant, fusion rules, and how it was trained.
"""

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from q1net_core import storage
from q1net_core.errors import ConfigError, ImageError, WeightsError
from q1net_core.patches import PATCH
from q1net_core.records import Float32Array, FusionRule, UInt8Array

if TYPE_CHECKING:
    import keras

PACKAGED = Path(__file__).parents[1] / "weights"
MAX_WEIGHTS_BYTES = 64 << 20
# One image's worth: on a CPU larger calls are slower, for they leave the cache; accelerators want more.
PATCHES_PER_CALL = 256


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """Verified weights: the file's ``content``, its sha256 and variant, and its fusion rules, the best first."""

    variant: str
    content: bytes
    sha256: str
    rules: tuple[FusionRule, ...]

    def rule(self, fusion: str | None = None) -> FusionRule:
        """The best fusion rule, or the one of that name; raises ConfigError if none was chosen for these weights."""
        for rule in self.rules:
            if fusion in (None, rule.fusion):
                return rule
        names = ", ".join(rule.fusion for rule in self.rules)
        raise ConfigError(f"fusion is {fusion!r}; these weights have {names}")


def packaged_variants() -> list[str]:
    """Names of the variants whose weights come with the package."""
    return sorted(path.stem for path in PACKAGED.glob("*.keras"))


def read_weights(source: str) -> WeightsFile:
    """Weights by variant name, or by the URI of a .keras file with its card beside it.

    Raises:
        WeightsError: no such file or card, or the content does not have the sha256 that the card names.
    """
    if source in packaged_variants():
        source = str(PACKAGED / f"{source}.keras")
    elif not source.endswith(".keras"):
        raise WeightsError(
            f"weights are {source!r}; expected the URI of a .keras file or one of: {', '.join(packaged_variants())}"
        )
    card_uri = source.removesuffix(".keras") + ".json"
    try:
        content = storage.read_bytes(source, MAX_WEIGHTS_BYTES)
        card = json.loads(storage.read_bytes(card_uri, MAX_WEIGHTS_BYTES))
        variant, digest = str(card["variant"]), str(card["sha256"])
        rules = tuple(
            FusionRule(str(name), float(rule["threshold"]), tuple((float(a), float(b)) for a, b in rule["calibration"]))
            for name, rule in card["fusions"].items()
        )
    except ImageError as error:
        raise WeightsError(
            f"weights {source} cannot be used: {error}; expected a .keras file and {card_uri}"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(
            f"weights card {card_uri} is not usable ({error!r}); expected JSON with variant, sha256 and fusions, "
            "as the trainer writes it"
        ) from error
    actual = sha256(content).hexdigest()
    if actual != digest:
        raise WeightsError(
            f"weights {source} have sha256 {actual}; its card says {digest}. The file is damaged or from another "
            "training: fetch both files again"
        )
    return WeightsFile(variant, content, digest, rules)


class Q1Net:
    """A loaded model: ``predict`` maps patches to qualities and confidences. Safe to share between threads.

    Every call of the model has ``patches_per_call`` patches, the last one padded: one traced graph, and predictions
    that do not depend on which images share a batch.
    """

    def __init__(self, weights: WeightsFile, patches_per_call: int = PATCHES_PER_CALL) -> None:
        self.weights = weights
        self.patches_per_call = patches_per_call
        self._call = compile_inference(load_model(weights))
        # Traces here, once, so that no two threads do it at the same time later.
        self._call(np.zeros((patches_per_call, PATCH, PATCH, 3), np.uint8))

    def predict(self, patches: UInt8Array) -> tuple[Float32Array, Float32Array]:
        """Patches uint8 [N, 16, 16, 3] -> quality and confidence, float32 [N] each, 0-100."""
        size = self.patches_per_call
        padded = np.pad(patches, ((0, -len(patches) % size), (0, 0), (0, 0), (0, 0)))
        calls = [self._call(padded[start : start + size]) for start in range(0, len(padded), size)]
        outputs = np.concatenate([np.asarray(call) for call in calls])[: len(patches)]
        return outputs[:, 0], outputs[:, 1]


def compile_inference(model: "keras.Model") -> Callable[[UInt8Array], Any]:
    """The model as a compiled function of one batch, callable from several threads at once."""
    import keras

    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return cast(Callable[[UInt8Array], Any], tf.function(lambda patches: model(patches, training=False)))
    if backend == "jax":
        import jax

        trainable = [variable.value for variable in model.trainable_variables]
        fixed = [variable.value for variable in model.non_trainable_variables]
        compiled = jax.jit(lambda patches: model.stateless_call(trainable, fixed, patches, training=False)[0])
        return cast(Callable[[UInt8Array], Any], compiled)
    raise WeightsError(f"Keras backend is {backend!r}; expected tensorflow or jax (environment variable KERAS_BACKEND)")


def load_model(weights: WeightsFile) -> "keras.Model":
    """The Keras model of a weights file, in Keras's safe mode, compared with the architecture its card names.

    Raises:
        WeightsError: the file is not a Keras model, or is not this variant's, or nobody knows the variant.
    """
    import keras

    from q1net_core.network.q1net import VARIANTS, build_model

    if weights.variant not in VARIANTS:
        raise WeightsError(f"weights card names variant {weights.variant!r}; expected one of {', '.join(VARIANTS)}")
    if VARIANTS[weights.variant].alpha != 2:
        raise WeightsError(f"variant {weights.variant!r} has no confidence output; expected one with alpha 2")
    with tempfile.NamedTemporaryFile(suffix=".keras") as file:
        file.write(weights.content)
        file.flush()
        try:
            model = keras.saving.load_model(file.name, compile=False, safe_mode=True)
        except Exception as error:  # Keras raises whatever the broken file provokes
            raise WeightsError(f"weights of {weights.variant} are not a Keras model: {error}") from error
    expected = [tuple(array.shape) for array in build_model(VARIANTS[weights.variant]).get_weights()]
    if [tuple(array.shape) for array in model.get_weights()] != expected:
        raise WeightsError(
            f"weights file holds a model of {model.count_params()} parameters that is not the variant "
            f"{weights.variant!r} which its card names"
        )
    return model


def write_weights(model: "keras.Model", uri: str, card: dict[str, object]) -> None:
    """Save a model without its optimizer as ``uri`` (.keras), and beside it its card, completed by the sha256."""
    from q1net_core.network.q1net import VARIANTS, build_model

    bare = build_model(VARIANTS[str(card["variant"])])
    bare.set_weights(model.get_weights())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        bare.save(path)
        content = path.read_bytes()
    storage.write_bytes(uri, content)
    text = json.dumps(card | {"sha256": sha256(content).hexdigest()}, indent=2) + "\n"
    storage.write_bytes(uri.removesuffix(".keras") + ".json", text.encode())
