"""Costs are those of the weights and the number of patches that were evaluated."""

from collections.abc import Callable

import pytest

from pipelines.evaluation import costs
from pipelines.evaluation.costs import count_multiply_adds, time_in_turns
from pipelines.evaluation.study import Candidate
from q1net_core.network.weights import WeightsFile, read_weights
from q1net_core.settings import EstimatorSettings

# In thousand million, for one image; the facts of each network's source, at the sizes of the paper.
MULTIPLY_ADDS = {
    "mobilenet-v2": 0.30, "efficientnet-b0": 0.50, "shufflenet": 0.27, "lcnn": 1.11, "jqe": 12.3, "jqe-like": 3.55,
    "q-est": 0.97, "q1net-k8": 1.94, "q1net-k6": 1.10, "q1net-k12": 4.37,
}  # fmt: skip


def test_every_evaluation_is_timed_with_its_own_weights_and_patches(
    weights_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed: list[tuple[str, int]] = []

    def prepare(weights: WeightsFile, settings: EstimatorSettings) -> Callable[[], object]:
        timed.append((weights.variant, settings.patches))
        return lambda: None

    monkeypatch.setattr(costs, "prepare_estimate", prepare)
    files = [read_weights(source) for source in ("q1net-k8", weights_uri)]
    candidates = [Candidate(EstimatorSettings(patches=16), file) for file in files]
    evaluations = [
        {"weights_sha256": file.sha256, "threshold": file.rules[0].threshold, "patches": patches, "mae": 1.0}
        for patches in (16, 64)
        for file in files
    ]
    statistics = {"images": 1, "evaluations": evaluations, "arguments": {"patches": 64}}
    found = costs.add_costs(statistics, candidates, ("q1net-k8", "q1net-k6"))
    assert timed == [("q1net-k8", 16), ("q1net-no-bottleneck", 16), ("q1net-k8", 64), ("q1net-no-bottleneck", 64)]
    assert [evaluation["parameters"] for evaluation in found["evaluations"]] == [125_234, 49_298] * 2
    adds = [evaluation["multiply_adds"] for evaluation in found["evaluations"]]
    assert adds[2:] == [4 * count for count in adds[:2]]
    assert [evaluation["runtime"] for evaluation in found["evaluations"]] == ["onnx", "keras"] * 2
    untrained = {"variant": "q1net-k6", "parameters": 70_994, "multiply_adds": count_multiply_adds("q1net-k6", 64)}
    assert found["untrained"] == [untrained]
    assert found["images"] == found["evaluations"][0]["mae"] == 1
    assert "milliseconds" not in evaluations[0]


@pytest.mark.parametrize("variant", MULTIPLY_ADDS)
def test_multiply_adds_are_those_of_the_layers(variant: str) -> None:
    assert count_multiply_adds(variant, 256) / 1e9 == pytest.approx(MULTIPLY_ADDS[variant], abs=0.008, rel=0.004)


def test_a_time_is_measured() -> None:
    call = costs.prepare_estimate(read_weights("q1net-k8"), EstimatorSettings(patches=16))
    assert time_in_turns([call])[0] > 0


def test_calls_take_turns_and_slow_ones_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    now, called = [0.0], []

    def spend(name: str, seconds: float) -> None:
        called.append(name)
        now[0] += seconds

    monkeypatch.setattr(costs.time, "perf_counter", lambda: now[0])
    times = time_in_turns([lambda: spend("slow", 8.0), lambda: spend("fast", 0.5)])
    assert times == [8000, 500]
    assert called[:6] == ["slow", "fast"] * 3
    assert (called.count("slow"), called.count("fast")) == (3, 21)
