"""Training: runs that leave usable weights, resume to the same ones, stop early, and read shards as well as images."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from pictures import make_picture
from PIL import Image

from pipelines.shards import command as shards
from q1net_core.errors import ConfigError
from q1net_core.network.predictor import Predictor, load_model
from q1net_core.network.weights import Card, read_card, read_weights, write_weights
from q1net_core.records import FusionRule
from training import __main__ as command
from training import progress, validation
from training.calibration import ChosenRule
from training.config import PRESETS, TrainConfig, preset
from training.data.images import image_data
from training.trainer import CALIBRATION_LEVELS, TrainResult, new_model, train
from training.validation import averaged, mae_of, read_history, stops_early

# All that a resumed training has to bring along: momenta, averages, the step for growth and schedule.
SMOKE = preset(
    "smoke",
    variant="q1net-no-bottleneck",
    optimizer="muon",
    steps=6,
    validation_every=3,
    batch_size=16,
    batch_growth=((2, 32), (4, 48)),
    ema_momentum=0.7,
)
# Quicker to build.
PLAIN = replace(SMOKE, optimizer="adam", steps=3, batch_growth=(), ema_momentum=None)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six small lossless training images in train/, two in valid/."""
    folder = tmp_path_factory.mktemp("images")
    for name, seeds in {"train": range(6), "valid": range(6, 8)}.items():
        (folder / name).mkdir()
        for seed in seeds:
            Image.fromarray(make_picture(seed, 64, 64)).save(folder / name / f"{seed}.png")
    return folder


def run(config: TrainConfig, images: Path, folder: Path, time_limit: float | None = None) -> TrainResult:
    return train(config, image_data(str(images / "train"), str(images / "valid")), folder, time_limit)


@pytest.fixture(scope="module")
def uninterrupted(images: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainResult]:
    folder = tmp_path_factory.mktemp("uninterrupted")
    return folder, run(SMOKE, images, folder)


def test_smoke_run_leaves_checkpoint_history_and_usable_weights(uninterrupted: tuple[Path, TrainResult]) -> None:
    folder, result = uninterrupted
    assert (result.steps, result.finished) == (6, True)
    lines = (folder / "history.jsonl").read_text().splitlines()
    rows = [json.loads(line, parse_constant=pytest.fail) for line in lines]
    assert [row["step"] for row in rows] == [3, 6]
    assert {"loss", "quality_error", "confidence_error", "val_mae", "val_patch_mae", "threshold"} <= set(rows[0])
    assert all(row["loss"] > 0 and row["val_patch_mae"] > 0 for row in rows)
    # So young a model is confident of nothing, and yet there are weights to go on with.
    assert (rows[0]["val_mae"], rows[0]["val_answered"]) == (None, 0.0)
    with Image.open(folder / "history.png") as plot:
        assert plot.format == "PNG"
        assert len(set(plot.convert("RGB").tobytes())) > 10
    weights = read_weights(str(folder / "q1net-no-bottleneck.keras"))
    assert (weights.variant, weights.rule()) == ("q1net-no-bottleneck", result.best_rule)
    quality, _ = Predictor(weights).predict(np.zeros((1, 16, 16, 3), np.uint8))
    assert 0 <= quality[0] <= 100
    assert int(keras.saving.load_model(folder / "checkpoint.keras").optimizer.iterations) == 6


def test_card_tells_how_the_weights_were_made(uninterrupted: tuple[Path, TrainResult]) -> None:
    folder, result = uninterrupted
    card = json.loads((folder / "q1net-no-bottleneck.json").read_text(), parse_constant=pytest.fail)
    assert card["trained"] == json.loads(json.dumps(asdict(SMOKE))) | {
        "step": card["trained"]["step"],
        "patches": {3: 64, 6: 192}[card["trained"]["step"]],
    }
    best = next(row for row in read_history(folder) if row["step"] == card["trained"]["step"])
    assert card["validation"] == {name: best[name] for name in ("val_mae", "val_answered", "val_patch_mae")}
    assert card["fusions"][result.best_rule.fusion]["threshold"] == result.best_rule.threshold
    assert card["made_with"]["backend"] == keras.backend.backend()
    assert (card["codec"], set(card["codec_versions"])) == ("jpeg", {"pillow", "libjpeg_turbo"})
    assert card["calibration"] == {"patches": 36, "positions": "uniform", "levels": list(CALIBRATION_LEVELS)}
    assert "start_sha256" not in card


def hash_by_hand(folder: Path) -> dict[str, Any]:
    digests = sorted(sha256(path.read_bytes()).hexdigest() for path in folder.iterdir())
    return {"files": len(digests), "sha256": sha256("\n".join(digests).encode()).hexdigest()}


def test_card_names_pictures_by_their_content(uninterrupted: tuple[Path, TrainResult], images: Path) -> None:
    card = read_card(str(uninterrupted[0] / "q1net-no-bottleneck.keras"))
    assert card.pictures == {"training": hash_by_hand(images / "train"), "validation": hash_by_hand(images / "valid")}


def test_training_does_not_go_on_with_other_pictures(images: Path, tmp_path: Path) -> None:
    shutil.copytree(images, tmp_path / "images")
    assert not run(SMOKE, tmp_path / "images", tmp_path / "out", time_limit=0).finished
    Image.fromarray(make_picture(9, 64, 64)).save(tmp_path / "images" / "train" / "0.png")
    with pytest.raises(ConfigError, match=r"training on other pictures or of another codec .*origin\.json"):
        run(SMOKE, tmp_path / "images", tmp_path / "out")


def test_resumed_run_equals_an_uninterrupted_one(
    uninterrupted: tuple[Path, TrainResult], images: Path, tmp_path: Path
) -> None:
    folder, expected = uninterrupted
    first = run(SMOKE, images, tmp_path, time_limit=0)
    # Within an epoch, before anything was validated.
    assert first == TrainResult(1, finished=False, best_mae=float("inf"), best_rule=None)
    assert not read_history(tmp_path)
    resumed = run(SMOKE, images, tmp_path, time_limit=600)
    assert (resumed.steps, resumed.finished) == (expected.steps, expected.finished)
    # The same but for what the order of adding may change, which some processors do not keep from run to run.
    for row, other in zip(read_history(tmp_path), read_history(folder), strict=True):
        assert row.keys() == other.keys()
        # The loss is that of the steps of one call.
        names = ("step", "val_patch_mae") if row["step"] == 3 else ("step", "val_patch_mae", "loss")
        assert {name: row[name] for name in names} == pytest.approx({name: other[name] for name in names}, rel=1e-2)
    models = [keras.saving.load_model(path / "checkpoint.keras") for path in (folder, tmp_path)]
    states = [model.get_weights() + [np.array(v) for v in model.optimizer.variables] for model in models]
    for one, other in zip(*states, strict=True):
        assert np.linalg.norm(one - other) <= 1e-2 * np.linalg.norm(one) + 1e-6


def test_a_training_whose_time_is_over_says_what_is_kept(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    monkeypatch.setattr(os, "isatty", lambda _: False)
    where = ["--images", f"{images}/train", "--validation-images", f"{images}/valid", "--output", f"{tmp_path}/out"]
    assert command.run([*where, "--preset", "smoke", "--time-limit", "0"]) == 0
    told = capsys.readouterr().out
    assert re.search(r"^step 1 of 12: [\d.]+ patches/s, about \d+:\d\d:\d\d left$", told, re.MULTILINE)
    assert told.endswith(
        "time limit reached, call again to go on: step 1 of 12 is kept; no weights yet, the first validation is after "
        "step 4\n"
    )
    assert int(keras.saving.load_model(tmp_path / "out" / "checkpoint.keras").optimizer.iterations) == 1


def test_finished_run_does_nothing_more(uninterrupted: tuple[Path, TrainResult], images: Path) -> None:
    folder, expected = uninterrupted
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert run(SMOKE, images, folder) == expected
    assert {path: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_folder_of_another_configuration_is_refused(uninterrupted: tuple[Path, TrainResult], images: Path) -> None:
    changed = preset("smoke", variant="q1net-no-bottleneck", seed=2)
    with pytest.raises(ConfigError, match="another configuration"):
        run(changed, images, uninterrupted[0])


def test_folder_of_a_training_from_before_a_setting_existed_is_gone_on_with(images: Path, tmp_path: Path) -> None:
    config = PLAIN
    run(config, images, tmp_path)
    stored = json.loads((tmp_path / "config.json").read_text())
    del stored["alterations"]
    (tmp_path / "config.json").write_text(json.dumps(stored))
    assert run(config, images, tmp_path).finished
    with pytest.raises(ConfigError, match="another configuration"):
        run(replace(config, alterations=(("noise", 0.5),)), images, tmp_path)


def test_training_on_altered_places_starts_from_other_weights_and_reports_each_alteration(
    uninterrupted: tuple[Path, TrainResult], images: Path, tmp_path: Path
) -> None:
    start = str(uninterrupted[0] / "q1net-no-bottleneck.keras")
    alterations = PRESETS["robust"].alterations
    config = replace(PLAIN, start_from=start, alterations=alterations)
    assert np.array_equal(new_model(config).get_weights()[0], load_model(read_weights(start)).get_weights()[0])
    assert run(config, images, tmp_path).finished
    card = read_card(str(tmp_path / "q1net-no-bottleneck.keras"))
    assert card.start_sha256 == read_weights(start).sha256
    (row,) = read_history(tmp_path)
    names = {f"val_{name}_mae" for name, _ in alterations}
    assert {name for name in row if name.startswith("val_")} == names | {"val_mae", "val_answered", "val_patch_mae"}
    assert all(0 < row[name] < 100 for name in names)


def test_weights_of_another_architecture_are_no_start() -> None:
    with pytest.raises(ConfigError, match="weights of q1net-k8; expected the architecture of q1net-k6"):
        new_model(preset("robust", variant="q1net-k6"))


def test_a_classifier_grows_from_one_of_fewer_classes(tmp_path: Path) -> None:
    small = new_model(preset("smoke", variant="q1net-classifier-2"))
    uri = str(tmp_path / "two.keras")
    write_weights(small, uri, Card("q1net-classifier-2", fusions={"paper": {"threshold": 0, "calibration": []}}))
    patches = np.random.default_rng(1).integers(0, 256, (3, 16, 16, 3), np.uint8)
    two = np.asarray(small(patches))
    for name, classes in {"q1net-classifier-10": 10, "q1net-classifier": 100}.items():
        grown = new_model(preset("smoke", variant=name, start_from=uri))
        body = zip(grown.get_weights()[:-2], small.get_weights()[:-2], strict=True)
        assert all(np.array_equal(a, b) for a, b in body)
        many = np.asarray(grown(patches))
        assert many.shape == (3, classes)
        assert many.reshape(3, 2, -1).sum(axis=2) == pytest.approx(two, abs=1e-5)
    with pytest.raises(ConfigError, match="weights of q1net-classifier-2; expected the architecture of q1net-k8"):
        new_model(preset("smoke", variant="q1net-k8", start_from=uri))


def test_error_counts_only_with_answers_for_nearly_all_images() -> None:
    assert mae_of({"val_mae": None, "val_answered": 0.0}) == float("inf")
    assert mae_of({"val_mae": 0.1, "val_answered": 0.25}) == float("inf")
    assert mae_of({"val_mae": 2.5, "val_answered": 1.0}) == 2.5


def test_command_line_reports_what_is_wrong(images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--images", str(tmp_path / "none"), "--validation-images", str(images / "valid")]
    output = ["--output", str(tmp_path / "out"), "--preset", "smoke"]
    assert command.run([*arguments, *output, "--variant", "q1net-k9"]) == 2
    assert "variant is 'q1net-k9'; expected one of q1net-k8" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        command.run([*arguments, *output[:-1], "none"])


def test_new_model_is_seeded() -> None:
    one, same, other = (new_model(preset("smoke", variant="q1net-no-bottleneck", seed=seed)) for seed in (1, 1, 2))
    assert np.array_equal(one.get_weights()[0], same.get_weights()[0])
    assert not np.array_equal(one.get_weights()[0], other.get_weights()[0])


def test_the_weights_kept_are_the_averaged_ones(uninterrupted: tuple[Path, TrainResult]) -> None:
    folder, _ = uninterrupted
    checkpoint = keras.saving.load_model(folder / "checkpoint.keras")
    kept = load_model(read_weights(str(folder / "q1net-no-bottleneck.keras"))).get_weights()
    assert json.loads((folder / "q1net-no-bottleneck.json").read_text())["trained"]["step"] == 6
    before = checkpoint.get_weights()
    checkpoint.optimizer.finalize_variable_values(checkpoint.trainable_variables)
    for index, variable in enumerate(checkpoint.variables):
        if variable.trainable:
            assert np.array_equal(kept[index], np.array(variable))
            assert not np.array_equal(kept[index], before[index])


def test_averaged_weights_get_statistics_of_their_own_and_the_model_its_weights_back(images: Path) -> None:
    model = new_model(SMOKE)
    data = image_data(str(images / "train"), str(images / "valid"))
    batches = list(islice(data.batches(SMOKE, 0), 3))
    for batch in batches:
        model.train_on_batch(*batch)
    before = model.get_weights()
    patches = [patches for patches, _ in batches]
    with averaged(model, patches):
        once = model.get_weights()
    with averaged(model, patches * 20):
        settled = model.get_weights()
    for value, again in zip(before, model.get_weights(), strict=True):
        assert np.array_equal(value, again)
    statistics = [index for index, variable in enumerate(model.variables) if not variable.trainable]
    for index, variable in enumerate(model.variables):
        assert np.array_equal(once[index], settled[index]) == variable.trainable
    assert statistics
    plain = new_model(PLAIN)
    with averaged(plain, patches):
        assert all(
            np.array_equal(a, b) for a, b in zip(plain.get_weights(), new_model(PLAIN).get_weights(), strict=True)
        )


def history(*errors: float | None) -> list[dict[str, Any]]:
    return [
        {"step": step, "val_mae": error, "val_answered": float(error is not None)} for step, error in enumerate(errors)
    ]


def test_training_stops_when_the_best_validation_is_long_ago() -> None:
    assert stops_early(history(5, 4, 4.5, 4), 2)
    assert not stops_early(history(5, 4, 4.5), 2)
    assert not stops_early(history(5, 4, 4.5, 3.9), 2)
    assert not stops_early(history(5, 6, 7, 8), None)
    assert not stops_early(history(None, None, None), 1)
    assert not stops_early([], 1)


def test_training_that_stopped_early_stays_ended(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    errors = iter([5.0, 4.0, 6.0, 7.0])
    monkeypatch.setattr(
        validation, "choose_rules", lambda *_: [ChosenRule(FusionRule("paper", 90.0), next(errors), 1.0)]
    )
    config = replace(PLAIN, steps=5, validation_every=1, warmup_steps=0, patience=2)
    result = run(config, images, tmp_path)
    assert (result.finished, result.steps) == (True, 4)
    before = (tmp_path / "checkpoint.keras").read_bytes()
    assert run(config, images, tmp_path) == result
    assert (tmp_path / "checkpoint.keras").read_bytes() == before
    assert json.loads((tmp_path / "q1net-no-bottleneck.json").read_text())["trained"]["step"] == 2


def test_training_from_shards_by_one_command(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for seed in range(12):
        Image.fromarray(make_picture(seed, 96, 128)).save(folder / f"{seed:02d}.png")
    arguments = ["--images", str(folder), "--output", str(tmp_path / "shards"), "--levels", "20,40,60,80"]
    assert shards.run([*arguments, "--patches-per-image", "9", "--rows-per-shard", "100"]) == 0
    small = ["--preset", "smoke", "--variant", "q1net-no-bottleneck", "--shards", str(tmp_path / "shards")]
    assert command.run([*small, "--output", str(tmp_path / "out")]) == 0
    assert [row["step"] for row in read_history(tmp_path / "out")] == [4, 8, 12]
    card = read_weights(str(tmp_path / "out" / "q1net-no-bottleneck.keras")).card
    assert (card.variant, card.codec) == ("q1net-no-bottleneck", "jpeg")
    assert card.codec_versions["pillow"]
    # As many patches as inference takes of such pictures, not the nine random ones of the shards.
    assert card.calibration == {"patches": 140, "positions": "uniform", "levels": [20, 40, 60, 80]}
    files = json.loads((tmp_path / "shards" / "dataset.json").read_text())["files"]
    digests = sorted(file["sha256"] for file in files if "split=train" in file["name"])
    assert card.pictures["training"]["sha256"] == sha256("\n".join(digests).encode()).hexdigest()
    assert 0 < card.pictures["validation"]["files"] < 12


def test_command_line_wants_shards_or_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for flags in ([], ["--images", "a"], ["--shards", "a", "--images", "b"], ["--validation-images", "c"]):
        assert command.run(["--output", str(tmp_path / "out"), *flags]) == 2
        assert "expected either --shards, or --images together with --validation-images" in capsys.readouterr().err
    flags = ["--images", "a", "--validation-images", "b", "--ablation", "light"]
    assert command.run(["--output", str(tmp_path / "out"), *flags]) == 2
    assert "--ablation needs --test-images" in capsys.readouterr().err


# As on a machine where it is not installed.
WITHOUT_TENSORFLOW = """
from importlib.machinery import PathFinder
find = PathFinder.find_spec
PathFinder.find_spec = lambda name, *more: None if name.split(".")[0] == "tensorflow" else find(name, *more)
"""


@pytest.mark.slow
def test_training_runs_on_jax_without_tensorflow(images: Path, tmp_path: Path) -> None:
    code = WITHOUT_TENSORFLOW + "import sys; from dataclasses import replace; from training import __main__, config; "
    code += "config.PRESETS['smoke'] = replace(config.PRESETS['smoke'], batch_growth=((4, 64),), ema_momentum=0.9); "
    code += "status = __main__.run(sys.argv[1:]); assert 'tensorflow' not in sys.modules; sys.exit(status)"
    arguments = [sys.executable, "-c", code, "--preset", "smoke", "--variant", "q1net-no-bottleneck"]
    folders = ["--images", images / "train", "--validation-images", images / "valid", "--output", tmp_path]
    environment = os.environ | {"KERAS_BACKEND": "jax"}
    result = subprocess.run([*arguments, *folders], env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "finished: step 12 of 12" in result.stdout
    assert json.loads((tmp_path / "q1net-no-bottleneck.json").read_text())["made_with"]["backend"] == "jax"
