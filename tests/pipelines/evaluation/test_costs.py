"""Costs are those of the weights and the number of patches that were evaluated."""

import pytest

from pipelines.evaluation import costs
from pipelines.evaluation.study import Candidate
from q1net_core.network.weights import WeightsFile, read_weights
from q1net_core.settings import EstimatorSettings


def test_every_evaluation_is_timed_with_its_own_weights_and_patches(
    weights_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def time_estimate(weights: WeightsFile, settings: EstimatorSettings) -> float:
        return settings.patches / (1 if weights.variant == "q1net-k8" else 10)

    monkeypatch.setattr(costs, "time_estimate", time_estimate)
    files = [read_weights(source) for source in ("q1net-k8", weights_uri)]
    candidates = [Candidate(EstimatorSettings(patches=16), file) for file in files]
    evaluations = [
        {"weights_sha256": file.sha256, "patches": patches, "mae": 1.0} for patches in (16, 64) for file in files
    ]
    found = costs.add_costs({"images": 1, "evaluations": evaluations}, candidates)
    assert [evaluation["milliseconds"] for evaluation in found["evaluations"]] == [16, 1.6, 64, 6.4]
    assert [evaluation["parameters"] for evaluation in found["evaluations"]] == [125_234, 49_298] * 2
    assert found["images"] == found["evaluations"][0]["mae"] == 1
    assert "milliseconds" not in evaluations[0]


def test_a_time_is_measured() -> None:
    assert costs.time_estimate(read_weights("q1net-k8"), EstimatorSettings(patches=16)) > 0
