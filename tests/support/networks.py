"""A small network that is no Q1Net, as a new architecture would be added: one function, one line in VARIANTS."""

from pathlib import Path

import keras
import pytest
from keras import layers

from q1net_core.network.variants import VARIANTS, Architecture, Variant, read_quality
from q1net_core.network.weights import Card, write_weights
from q1net_core.sampling import WHOLE_IMAGE, centre_crop

CROP = 48


def build_tiny(size: int | None) -> keras.Model:
    """Untrained regressor: uint8 RGB [N, size, size, 3], or of any size, -> float32 [N, 1], 0-100."""
    pixels = keras.Input((size, size, 3), dtype="uint8")
    x = layers.Rescaling(1 / 127.5, offset=-1.0)(pixels)
    x = layers.Conv2D(4, 3, strides=2, activation="relu")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(pixels, layers.Rescaling(100.0)(layers.Dense(1, activation="sigmoid")(x)))


def tiny(size: int | None) -> Architecture:
    return Architecture("networks:build_tiny", {"size": size})


TINY = {
    "tiny-crop": Variant(tiny(CROP), centre_crop(CROP), read_quality, "absolute error"),
    "tiny-whole": Variant(tiny(None), WHOLE_IMAGE, read_quality, "absolute error"),
}


def write_tiny(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Make a variant of TINY known, and write untrained weights of it; returns their uri."""
    monkeypatch.setitem(VARIANTS, name, TINY[name])
    keras.utils.set_random_seed(3)
    uri = str(folder / f"{name}.keras")
    card = Card(name, fusions={"paper": {"threshold": 0, "calibration": []}})
    write_weights(VARIANTS[name].architecture.build(), uri, card)
    return uri
