"""The rows of the paper's ablation table: each trains and is evaluated at smoke size, by one command."""

from pathlib import Path

import keras
import numpy as np
import pyarrow.parquet as pq
import pytest
from pictures import make_picture
from PIL import Image

from q1net_core.metrics import QualityErrors
from q1net_core.network.variants import VARIANTS
from training import __main__ as command
from training.config import PRESETS
from training.studies import ablations
from training.studies.ablations import ABLATIONS, COLUMNS, SELECTIONS, evaluate, measure_gradient, render_rows


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few small lossless images in train/, valid/ and test/."""
    folder = tmp_path_factory.mktemp("images")
    for name, seeds in {"train": range(3), "valid": range(3, 5), "test": range(5, 6)}.items():
        (folder / name).mkdir()
        for seed in seeds:
            Image.fromarray(make_picture(seed, 64, 64)).save(folder / name / f"{seed}.png")
    return folder


@pytest.mark.parametrize(
    "names",
    [
        ("no-bottleneck",),
        pytest.param(("regressor", "sobel"), marks=pytest.mark.slow),
        pytest.param(("classifier", "softmax"), marks=pytest.mark.slow),
        pytest.param(("lambda-quarter", "lambda-one", "light", "heavy", "baseline"), marks=pytest.mark.slow),
    ],
    ids=lambda names: names[0],
)
def test_row_is_trained_and_evaluated_by_one_command(
    names: tuple[str, ...], images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in names:
        arguments = ["--images", str(images / "train"), "--validation-images", str(images / "valid")]
        arguments += ["--test-images", str(images / "test"), "--output", str(tmp_path), "--preset", "smoke"]
        assert command.run([*arguments, "--ablation", name]) == 0
    table = "| row " + capsys.readouterr().out.split("| row ")[-1]
    assert (tmp_path / "table3.md").read_text() == table
    rows = {row["row"]: row for row in pq.read_table(tmp_path / "table3.parquet").to_pylist()}
    assert list(rows) == [name for name in ABLATIONS if name in names]
    for name, row in rows.items():
        assert f"| {name} " in table
        assert (row["images"], row["steps"]) == (100, 12)
        assert (row["paper_mae"], row["paper_sde"]) == ABLATIONS[name].paper
        # So young a network is off, yet answers.
        assert 5 < row["mae"] < 60
        assert row["sde"] > 0
        assert 0 < row["answered"] <= 1
        variant = ABLATIONS[name].changes.get("variant", "q1net-k8")
        assert row["alpha"] == VARIANTS[variant].architecture.parameters["alpha"]
    if "sobel" in names:
        assert rows["sobel"]["threshold"] != rows["regressor"]["threshold"]
        assert len(list(tmp_path.glob("*/checkpoint.keras"))) == 1


def test_every_row_of_the_papers_table_is_there() -> None:
    assert len(ABLATIONS) == 10
    assert {ablation.selection for ablation in ABLATIONS.values()} == set(SELECTIONS)
    settings = {(tuple(ablation.changes.items()), ablation.selection) for ablation in ABLATIONS.values()}
    assert len(settings) == 10
    for ablation in ABLATIONS.values():
        baseline = PRESETS["smoke"]
        assert all(getattr(baseline, name) != value for name, value in ablation.changes.items())


def test_gradient_of_a_ramp_by_hand() -> None:
    ramp = np.broadcast_to(np.arange(16, dtype=np.uint8)[:, None] * 5, (16, 16))
    patches = np.stack(
        [np.stack([ramp] * 3, axis=-1), np.stack([ramp.T] * 3, axis=-1), np.zeros((16, 16, 3), np.uint8)]
    )
    # Sobel's kernel sums to 4 on each side, two pixels apart.
    assert measure_gradient(patches) == pytest.approx([40, 40, 0], abs=1e-3)


class Reader(keras.Model):
    """Stands for a regressor: reads the quality that is written into a patch's first pixel."""

    def call(self, patches: keras.KerasTensor) -> keras.KerasTensor:
        return keras.ops.cast(patches[:, 0, 0, :1], "float32")


def test_patches_with_little_gradient_are_left_out_only_where_the_row_says_so() -> None:
    rng = np.random.default_rng(1)
    truth = np.float32([20, 50, 80])
    stacks = np.zeros((3, 9, 16, 16, 3), np.uint8)
    stacks[:, :4, 4:] = rng.integers(0, 256, (3, 4, 12, 16, 3))
    stacks[:, :4, 0, 0] = truth[:, None, None].astype(np.uint8)
    # The flat majority is wrong.
    stacks[:, 4:, 0, 0] = 99
    labelled = (stacks, truth)
    selected = evaluate(Reader(), "q1net-regressor", "gradient", labelled, labelled)
    right = sum((QualityErrors.of(level, level) for level in (20, 50, 80)), QualityErrors()).band(1, 100)
    assert selected == right | {"answered": 1.0, "threshold": selected["threshold"]}
    everything = evaluate(Reader(), "q1net-regressor", "all", labelled, labelled)
    wrong = sum((QualityErrors.of(level, 99) for level in (20, 50, 80)), QualityErrors()).band(1, 100)
    assert everything == wrong | {"answered": 1.0, "threshold": -1.0}
    assert everything["mae"] == pytest.approx(np.mean(99 - truth))


def test_table_shows_missing_values_as_dashes() -> None:
    text = render_rows([{"row": "regressor", "mae": 1.234, "bottlenecks": False, "k": 8}])
    header, _, row = ([cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines())
    assert header == list(COLUMNS.values())
    assert row[:9] == ["regressor", "-", "-", "8", "no", "-", "-", "1.23", "-"]
    assert ablations.show(True) == "yes"


def test_a_time_limit_before_the_first_validation_leaves_nothing_to_evaluate(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--images", str(images / "train"), "--validation-images", str(images / "valid")]
    arguments += ["--test-images", str(images / "test"), "--output", str(tmp_path), "--preset", "smoke"]
    assert command.run([*arguments, "--ablation", "no-bottleneck", "--time-limit", "0"]) == 2
    assert "at step 1, before its first validation after step 4: no weights to evaluate" in capsys.readouterr().err
