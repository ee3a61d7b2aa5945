"""Table 3: each weights file in the row it belongs to, the classifier in two, and rows without weights that say so."""

from collections.abc import Callable
from pathlib import Path

import keras
import pyarrow.parquet as pq
import pytest
from evaluations import run_study

from pipelines.evaluation.studies.ablations import ROWS, SCHEMA, settings_of
from q1net_core.network.variants import VARIANTS
from q1net_core.network.weights import Card, read_weights, write_weights
from q1net_core.settings import EstimatorSettings


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    def write(variant: str, confidence_weight: float = 0.5) -> str:
        keras.utils.set_random_seed(1)
        uri = str(tmp_path / f"{variant}-{confidence_weight}.keras")
        rules = {"trimmed": {"threshold": 1, "calibration": []}, "paper": {"threshold": 0.5, "calibration": []}}
        card = Card(variant, fusions=rules, trained={"confidence_weight": confidence_weight})
        write_weights(VARIANTS[variant].architecture.build(), uri, card)
        return uri

    return write


def test_weights_stand_in_their_rows(
    lossless: Path, weights_uri: str, tmp_path: Path, write: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    given = [write("q1net-classifier"), write("q1net-k8", 0.25), write("q1net-k8", 0.3)]
    flags = [flag for uri in given for flag in ("--weights", uri)]
    arguments = ("--study", "table3", "--levels", "20,80", "--patches", "16", *flags)
    output = run_study(lossless, weights_uri, tmp_path / "out", *arguments)
    table = pq.read_table(output / "table3.parquet")
    assert table.schema == SCHEMA
    rows = table.to_pylist()
    # A training that is in no row of the paper.
    assert (rows[0]["method"], rows[0]["source"]) == ("q1net-k8", "measured")
    pairs = list(zip(rows[1::2], rows[2::2], strict=True))
    assert [row["method"] for pair in pairs for row in pair] == [row[0] for row in ROWS for _ in range(2)]
    assert {published["source"] for _, published in pairs} == {"published"}
    sources = {ours["method"]: ours["source"] for ours, _ in pairs}
    measured = {"Q1-Classifier", "Q1-Softmax", "Q1-LambdaQ", "Q1-No-BB"}
    assert {method for method, source in sources.items() if source == "measured"} == measured
    assert sources["Q1-Sobel"] == "q1net train --ablation sobel"
    assert sources["Baseline"] == "no weights"
    by_method = {ours["method"]: ours for ours, _ in pairs}
    for method in measured:
        assert by_method[method]["milliseconds"] > 0
        assert by_method[method]["images"] > 0
    # All patches count in the one, and in the other those of a probability above 0.5 %.
    assert by_method["Q1-Classifier"]["missing"] == 0
    assert by_method["Q1-Classifier"]["weights_sha256"] == by_method["Q1-Softmax"]["weights_sha256"]
    assert "Q1-Light" in capsys.readouterr().out


def test_the_papers_rule_is_used_whatever_is_best(write: Callable[..., str]) -> None:
    classifier, regressor = (read_weights(write(name)) for name in ("q1net-classifier", "q1net-regressor"))
    assert [(made.fusion, made.threshold) for made in settings_of(EstimatorSettings(), classifier)] == [
        ("paper", 0.0),
        ("paper", None),
    ]
    assert [made.fusion for made in settings_of(EstimatorSettings(), regressor)] == ["paper"]


def test_published_figures_are_the_papers() -> None:
    totals = [round(sum(column), 2) for column in list(zip(*(row[1:5] for row in ROWS), strict=True))]
    assert totals == [6.66, 17.43, 104, 1_275_000]
