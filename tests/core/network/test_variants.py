"""Variants are data: built by name without Keras, outputs read as each means them, weights that are there."""

import pickle
import subprocess
import sys
from dataclasses import replace

import keras
import numpy as np
import pytest

from q1net_core.codecs.table import CODECS
from q1net_core.network.variants import (
    VARIANTS,
    Architecture,
    Variant,
    read_confidence,
    read_crf,
    read_levels,
    read_quality,
)
from q1net_core.network.weights import PACKAGED, packaged_file
from q1net_core.sampling import PATCHES, macroblocks
from training.losses import LOSSES


@pytest.mark.parametrize(
    ("read", "outputs", "quality", "confidence"),
    [
        (read_confidence, [[40, 90], [20, 80]], [40, 20], [90, 80]),
        (read_quality, [[40], [20]], [40, 20], [100, 100]),
        (read_levels, [[0.25, 0.75], [0.75, 0.25]], [75.5, 25.5], [75, 75]),
        (read_levels, [[0.25] + [0.75] + [0] * 98, [0.1] * 9 + [0] * 90 + [0.1]], [2, 1], [75, 10]),
    ],
)
def test_outputs_are_quality_and_confidence(read, outputs, quality, confidence) -> None:
    found = read(np.float32(outputs))
    assert [values.dtype for values in found] == [np.float32, np.float32]
    assert found[0].tolist() == quality
    assert found[1] == pytest.approx(confidence)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_is_plain_data(name: str) -> None:
    variant = VARIANTS[name]
    assert pickle.loads(pickle.dumps(variant)) == variant
    assert variant.loss in LOSSES
    assert variant.training_size == (variant.trained_on or variant.input.size)
    assert CODECS[variant.codec].levels
    if variant.codec != "jpeg":
        assert (variant.largest, variant.read_outputs) == (max(CODECS[variant.codec].levels), read_crf)
        assert variant.input == macroblocks(variant.architecture.parameters["patch"])
    elif name.startswith("q1net"):
        assert variant.input == PATCHES
        parameters = variant.architecture.parameters
        reader = (
            read_levels if parameters.get("classes") else {1: read_quality, 2: read_confidence}[parameters["alpha"]]
        )
        assert variant.read_outputs is reader


def test_the_robust_variant_has_other_weights_of_the_same_network() -> None:
    plain, robust = VARIANTS["q1net-k8"], VARIANTS["q1net-k8-robust"]
    assert robust.weights != plain.weights
    assert replace(robust, weights=plain.weights) == plain


def test_all_packaged_weights_are_some_variants_and_all_that_are_named_are_there() -> None:
    named = {packaged_file(variant) for variant in VARIANTS.values() if variant.weights}
    assert named == set(PACKAGED.glob("*.keras"))


def test_an_architecture_is_built_by_name() -> None:
    model = Architecture("q1net_core.network.q1net:build_q1net", {"k": 1, "alpha": 1}).build()
    assert isinstance(model, keras.Model)
    assert model.output_shape == (None, 1)
    assert Variant(Architecture("a:b")).read_outputs is read_confidence


def test_variants_are_known_without_keras() -> None:
    code = (
        "import sys\nimport q1net_core.network.variants, q1net_core.network.weights, q1net_core.network.predictor\n"
        "import q1net_core.sampling\nprint(sorted({'tensorflow', 'keras', 'jax'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "[]"
