"""Weights files: written with a card, verified before use; cards of any age are read and lose nothing."""

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import keras
import numpy as np
import pytest

from q1net_core.errors import ConfigError, WeightsError
from q1net_core.network import weights as weights_module
from q1net_core.network.predictor import load_model
from q1net_core.network.variants import VARIANTS
from q1net_core.network.weights import (
    LIBJPEG_CODECS,
    PACKAGED,
    Card,
    packaged_variants,
    read_card,
    read_weights,
    write_card,
    write_onnx,
    write_weights,
)
from q1net_core.records import FusionRule

VARIANT = "q1net-no-bottleneck"
FUSIONS = {
    "weighted": {"threshold": 88, "calibration": [[1.5, 1], [97, 100]], "val_mae": 0.4},
    "paper": {"threshold": 91.5, "calibration": []},
}
RULES = (FusionRule("weighted", 88.0, ((1.5, 1.0), (97.0, 100.0))), FusionRule("paper", 91.5))


# All that a card can tell, and a key of some later version.
FULL = Card(
    VARIANT,
    codec="jpeg-444",
    codec_versions={"pillow": "12.3.0", "libjpeg_turbo": "3.1.4.1"},
    pictures={"training": {"files": 2, "sha256": "aa"}, "validation": {"files": 1, "sha256": "bb"}},
    start_sha256="cc",
    validation={"val_mae": 0.4},
    trained={"steps": 12, "alterations": [["noise", 0.1]]},
    made_with={"q1net": "0.1.0"},
    calibration={"patches": 256, "positions": "uniform", "levels": [1, 50, 100]},
    fusions=FUSIONS,
    intervals={"clean": [[50, 1.5]]},
    onnx_sha256="dd",
    more={"licence": "Apache-2.0"},
)


@pytest.fixture(scope="module")
def model() -> keras.Model:
    keras.utils.set_random_seed(7)
    return VARIANTS[VARIANT].architecture.build()


@pytest.fixture(scope="module")
def written(model: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, dict[str, object]]:
    """Content and card of one weights file; tests that spoil a file start from these."""
    path = tmp_path_factory.mktemp("weights") / "tiny.keras"
    write_weights(model, str(path), Card(VARIANT, fusions=FUSIONS))
    return path.read_bytes(), json.loads(path.with_suffix(".json").read_text())


@pytest.fixture
def folder(written: tuple[bytes, dict[str, object]], tmp_path: Path) -> Path:
    content, card = written
    (tmp_path / "tiny.keras").write_bytes(content)
    (tmp_path / "tiny.json").write_text(json.dumps(card))
    return tmp_path


def rewrite_card(folder: Path, **changes: object) -> str:
    card = json.loads((folder / "tiny.json").read_text()) | changes
    kept = {name: value for name, value in card.items() if value is not None}
    (folder / "tiny.json").write_text(json.dumps(kept))
    return str(folder / "tiny.keras")


def test_written_weights_are_read_back(folder: Path, model: keras.Model) -> None:
    weights = read_weights(str(folder / "tiny.keras"))
    assert (weights.variant, weights.rules) == (VARIANT, RULES)
    assert weights.network is VARIANTS[VARIANT]
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
    assert set(card) == {"variant", "codec", "fusions", "sha256"}


def test_unknown_name_lists_what_there_is(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr(weights_module, "PACKAGED", folder)
    monkeypatch.setitem(VARIANTS, "other", replace(VARIANTS[VARIANT], weights="tiny"))
    assert packaged_variants() == ["other"]
    with pytest.raises(WeightsError, match=r"'q1net-k9'; expected .*\.keras file or one of: other"):
        read_weights("q1net-k9")
    with pytest.raises(WeightsError, match=r"'q1net-k6' \(a variant, but none are packaged for it\); expected"):
        read_weights("q1net-k6")
    assert read_weights("other").variant == VARIANT


def test_changed_file_is_refused(folder: Path) -> None:
    path = folder / "tiny.keras"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(WeightsError, match=r"its card says .* damaged"):
        read_weights(str(path))


def test_the_onnx_file_that_a_card_names_is_read_and_verified(folder: Path, model: keras.Model) -> None:
    uri = str(folder / "tiny.keras")
    assert read_weights(uri).onnx is None
    write_onnx(b"an onnx file", uri)
    weights = read_weights(uri)
    assert weights.onnx == b"an onnx file"
    assert weights.card == replace(read_card(uri), onnx_sha256=sha256(b"an onnx file").hexdigest())
    (folder / "tiny.onnx").write_bytes(b"of other weights")
    with pytest.raises(WeightsError, match=r"tiny\.onnx have sha256 .* its card says .* damaged"):
        read_weights(uri)
    (folder / "tiny.onnx").unlink()
    with pytest.raises(WeightsError, match=r"nothing at .*tiny\.onnx .* the \.onnx file"):
        read_weights(uri)
    # New weights: the ONNX file that lies there is not theirs.
    write_weights(model, uri, replace(weights.card, start_sha256=weights.sha256))
    assert read_weights(uri).onnx is None


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"nothing at .*none\.keras"):
        read_weights(str(tmp_path / "none.keras"))


def test_missing_card_is_refused(folder: Path) -> None:
    (folder / "tiny.json").unlink()
    with pytest.raises(WeightsError, match=r"nothing at .*tiny\.json"):
        read_weights(str(folder / "tiny.keras"))


@pytest.mark.parametrize(
    "card",
    [
        "",
        "[1]",
        '{"variant": "q1net-k8"}',
        '{"variant": "q1net-k8", "fusions": {"paper": {"threshold": 90, "calibration": []}}}',
        '{"variant": "q1net-k8", "sha256": "a", "fusions": {}}',
        '{"variant": "q1net-k8", "sha256": "a", "fusions": {"paper": {"threshold": 90}}}',
        '{"variant": "q1net-k8", "sha256": "a", "fusions": {"paper": {"threshold": "high", "calibration": []}}}',
        '{"variant": 1, "sha256": 2, "fusions": []}',
    ],
)
def test_unusable_card_is_refused(folder: Path, card: str) -> None:
    (folder / "tiny.json").write_text(card)
    with pytest.raises(WeightsError, match=r"card .*tiny\.json is not usable .*variant, sha256 and fusions"):
        read_weights(str(folder / "tiny.keras"))


def test_card_of_no_known_variant_is_refused(folder: Path) -> None:
    with pytest.raises(WeightsError, match=f"'resnet'; expected one of q1net-k8.*{VARIANT}"):
        read_weights(rewrite_card(folder, variant="resnet"))


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


# Cards ----------------------------------------------------------------------------------------------------------------


def test_a_card_loses_nothing_on_its_way(tmp_path: Path) -> None:
    uri = str(tmp_path / "full.keras")
    card = replace(FULL, sha256="ee")
    write_card(card, uri)
    stored = json.loads((tmp_path / "full.json").read_text())
    assert stored.pop("licence") == "Apache-2.0"
    assert set(stored) == {name for name in Card.__dataclass_fields__ if name != "more"}
    assert read_card(uri) == card
    write_card(read_card(uri), uri)
    assert read_card(uri) == card


def test_what_a_card_does_not_tell_is_left_out() -> None:
    assert json.loads(Card(VARIANT, fusions=FUSIONS).to_json()) == {
        "variant": VARIANT, "codec": "jpeg", "fusions": FUSIONS,
    }  # fmt: skip


@pytest.mark.parametrize("variant", packaged_variants())
def test_cards_from_before_a_key_existed_are_read_and_kept(variant: str) -> None:
    text = (PACKAGED / f"{variant}.json").read_text()
    card = Card.from_json(text)
    best = min(card.fusions, key=lambda name: card.fusions[name]["val_mae"])
    assert (card.variant, card.codec, card.rules[0].fusion) == (variant, VARIANTS[variant].codec, best)
    assert json.loads(card.to_json()) == json.loads(text) | {"codec": VARIANTS[variant].codec}


def test_weights_for_levels_of_another_codec_are_no_weights_for_jpeg_quality(folder: Path) -> None:
    for codec in LIBJPEG_CODECS:
        assert read_weights(rewrite_card(folder, codec=codec)).card.codec == codec
    for codec in ("h264", "webp", "jpeg-photoshop"):
        uri = rewrite_card(folder, codec=codec)
        with pytest.raises(WeightsError, match=f"tiny.keras estimate levels of the codec '{codec}'; expected"):
            read_weights(uri)
        assert read_weights(uri, codecs=None).card.codec == codec
