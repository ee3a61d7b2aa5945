"""Weights files: written with a card, verified before use, and predictions that do not depend on the batch."""

import json
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import keras
import numpy as np
import pytest

from q1net_core.errors import ConfigError, WeightsError
from q1net_core.network import weights as weights_module
from q1net_core.network.q1net import VARIANTS, build_model
from q1net_core.network.weights import Q1Net, load_model, packaged_variants, read_weights, write_weights
from q1net_core.records import FusionRule, UInt8Array

# Keras hands TensorFlow variables to numpy in a way that numpy 2 deprecates.
VARIANT = "q1net-no-bottleneck"
FUSIONS = {
    "weighted": {"threshold": 88, "calibration": [[1.5, 1], [97, 100]], "val_mae": 0.4},
    "paper": {"threshold": 91.5, "calibration": []},
}
RULES = (FusionRule("weighted", 88.0, ((1.5, 1.0), (97.0, 100.0))), FusionRule("paper", 91.5))


def make_model() -> keras.Model:
    """Untrained, with kernels large enough that different patches get different answers."""
    keras.utils.set_random_seed(7)
    model = build_model(VARIANTS[VARIANT])
    model.set_weights([array * 1.5 if array.ndim > 1 else array for array in model.get_weights()])
    return model


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return make_model()


@pytest.fixture(scope="module")
def written(model: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, dict[str, object]]:
    """Content and card of one weights file; tests that spoil a file start from these."""
    path = tmp_path_factory.mktemp("weights") / "tiny.keras"
    write_weights(model, str(path), {"variant": VARIANT, "fusions": FUSIONS})
    return path.read_bytes(), json.loads(path.with_suffix(".json").read_text())


@pytest.fixture
def folder(written: tuple[bytes, dict[str, object]], tmp_path: Path) -> Path:
    content, card = written
    (tmp_path / "tiny.keras").write_bytes(content)
    (tmp_path / "tiny.json").write_text(json.dumps(card))
    return tmp_path


@pytest.fixture(scope="module")
def net(written: tuple[bytes, dict[str, object]], tmp_path_factory: pytest.TempPathFactory) -> Q1Net:
    path = tmp_path_factory.mktemp("net") / "tiny.keras"
    path.write_bytes(written[0])
    path.with_suffix(".json").write_text(json.dumps(written[1]))
    return Q1Net(read_weights(str(path)), patches_per_call=8)


@pytest.fixture(scope="module")
def patches() -> UInt8Array:
    rng = np.random.default_rng(3)
    return rng.integers(0, rng.integers(2, 256, (61, 1, 1, 3)), (61, 16, 16, 3)).astype(np.uint8)


def rewrite_card(folder: Path, **changes: object) -> str:
    card = json.loads((folder / "tiny.json").read_text()) | changes
    kept = {name: value for name, value in card.items() if value is not None}
    (folder / "tiny.json").write_text(json.dumps(kept))
    return str(folder / "tiny.keras")


def test_written_weights_are_read_back(folder: Path, model: keras.Model, patches: UInt8Array) -> None:
    weights = read_weights(str(folder / "tiny.keras"))
    assert (weights.variant, weights.rules) == (VARIANT, RULES)
    assert weights.sha256 == sha256((folder / "tiny.keras").read_bytes()).hexdigest()
    reloaded = load_model(weights)
    assert not reloaded.compiled
    for array, original in zip(reloaded.get_weights(), model.get_weights(), strict=True):
        assert np.array_equal(array, original)


def test_fusion_rules_are_found_by_name_and_the_first_is_the_best(folder: Path) -> None:
    weights = read_weights(str(folder / "tiny.keras"))
    assert weights.rule() == weights.rule("weighted") == RULES[0]
    assert weights.rule("paper") == RULES[1]
    with pytest.raises(ConfigError, match="fusion is 'mean'; these weights have weighted, paper"):
        weights.rule("mean")


def test_written_file_has_no_optimizer(model: keras.Model, written: tuple[bytes, dict[str, object]]) -> None:
    content, card = written
    assert len(content) < 4 * model.count_params() + 100_000
    assert set(card) == {"variant", "fusions", "sha256"}


def test_unknown_name_lists_what_there_is(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr(weights_module, "PACKAGED", folder)
    assert packaged_variants() == ["tiny"]
    with pytest.raises(WeightsError, match=r"'q1net-k9'; expected .*\.keras file or one of: tiny"):
        read_weights("q1net-k9")
    assert read_weights("tiny").variant == VARIANT


def test_changed_file_is_refused(folder: Path) -> None:
    path = folder / "tiny.keras"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(WeightsError, match=r"its card says .* damaged"):
        read_weights(str(path))


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"nothing at .*none\.keras"):
        read_weights(str(tmp_path / "none.keras"))


def test_missing_card_is_refused(folder: Path) -> None:
    (folder / "tiny.json").unlink()
    with pytest.raises(WeightsError, match=r"nothing at .*tiny\.json"):
        read_weights(str(folder / "tiny.keras"))


@pytest.mark.parametrize("card", ["", "[1]", '{"variant": "q1net-k8"}', '{"variant": 1, "sha256": 2, "fusions": []}'])
def test_unusable_card_is_refused(folder: Path, card: str) -> None:
    (folder / "tiny.json").write_text(card)
    with pytest.raises(WeightsError, match=r"card .*tiny\.json is not usable .*variant, sha256 and fusions"):
        read_weights(str(folder / "tiny.keras"))


def test_card_of_no_known_variant_is_refused(folder: Path) -> None:
    weights = read_weights(rewrite_card(folder, variant="resnet"))
    with pytest.raises(WeightsError, match=f"'resnet'; expected one of q1net-k8.*{VARIANT}"):
        load_model(weights)


def test_card_of_another_variant_is_refused(folder: Path) -> None:
    weights = read_weights(rewrite_card(folder, variant="q1net-k6"))
    with pytest.raises(WeightsError, match=r"49298 parameters that is not the variant 'q1net-k6'"):
        load_model(weights)


@pytest.mark.parametrize("kept", [0, 1000, -1000])
def test_file_that_was_cut_before_its_card_was_written_is_refused(folder: Path, kept: int) -> None:
    path = folder / "tiny.keras"
    content = path.read_bytes()[:kept]
    path.write_bytes(content)
    weights = read_weights(rewrite_card(folder, sha256=sha256(content).hexdigest()))
    with pytest.raises(WeightsError, match="not a Keras model"):
        load_model(weights)


def test_prediction_is_the_models_for_any_number_of_patches(
    net: Q1Net, model: keras.Model, patches: UInt8Array
) -> None:
    expected = np.asarray(model(patches, training=False))
    assert np.ptp(expected[:, 0]) > 0.5
    for count in (1, 7, 8, 9, 61):
        quality, confidence = net.predict(patches[:count])
        assert (quality.shape, confidence.shape) == ((count,), (count,))
        assert (quality.dtype, confidence.dtype) == (np.float32, np.float32)
        assert np.stack([quality, confidence], axis=-1) == pytest.approx(expected[:count], abs=1e-3)


def test_prediction_of_a_patch_does_not_depend_on_its_batch(net: Q1Net, patches: UInt8Array) -> None:
    together = np.stack(net.predict(patches))
    order = np.random.default_rng(1).permutation(len(patches))
    assert np.array_equal(np.stack(net.predict(patches[order])), together[:, order])
    alone = np.concatenate([np.stack(net.predict(patch[None])) for patch in patches], axis=1)
    assert np.array_equal(alone, together)


def test_threads_predict_at_once_and_agree(net: Q1Net, patches: UInt8Array) -> None:
    expected = np.stack(net.predict(patches))
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda _: np.stack(net.predict(patches)), range(8)))
    assert all(np.array_equal(result, expected) for result in results)


def test_backend_without_inference_is_named(monkeypatch: pytest.MonkeyPatch, model: keras.Model) -> None:
    monkeypatch.setattr(keras.backend, "backend", lambda: "numpy")
    with pytest.raises(WeightsError, match="'numpy'; expected tensorflow or jax"):
        weights_module.compile_inference(model)
