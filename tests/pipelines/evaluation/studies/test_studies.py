"""Every study of the table, run without Beam: what it makes is judged, added up in any order, and shown."""

import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from pictures import make_picture

from pipelines.evaluation.pipeline import describe
from pipelines.evaluation.steps import Truth, add_up
from pipelines.evaluation.studies import STUDIES
from pipelines.evaluation.study import EVALUATED, Candidate, Study
from q1net_core.arrays import Float32Array, UInt8Array
from q1net_core.estimator import fuse_predictions, predict_patches
from q1net_core.network.weights import read_weights
from q1net_core.records import FusionRule, ImageRecord, ListedImage
from q1net_core.sampling import PATCHES
from q1net_core.settings import EstimatorSettings, PinnedWeights

WEIGHTS = PinnedWeights("w", "q1net-k8", "abc", PATCHES, FusionRule("paper", 60))
studies = pytest.mark.parametrize("study", STUDIES.values(), ids=STUDIES)


class Constant:
    """Stands for a network that takes every patch for 50."""

    def predict(self, patches: UInt8Array) -> tuple[Float32Array, Float32Array]:
        return np.full(len(patches), 50, np.float32), np.full(len(patches), 90, np.float32)


def judge(study: Study, settings: EstimatorSettings) -> Iterable[tuple[Truth, ImageRecord]]:
    """Two pictures at two levels, under two conditions where there are some."""
    cases = study.cases(study.levels[6:8], study.conditions[:2])
    for seed in (1, 2):
        for truth, encoded in study.make(make_picture(seed, 120, 136), cases):
            for known, item in study.sample(truth, (ListedImage(f"{seed}.png"), encoded), settings, PATCHES):
                if isinstance(item, ImageRecord):
                    yield known, item
                else:
                    yield known, fuse_predictions(predict_patches(Constant(), [item])[0], WEIGHTS)


@studies
def test_defaults_are_among_what_may_be_asked_for(study: Study) -> None:
    assert STUDIES[study.name] is study
    assert set(study.default_levels) <= set(study.levels)
    assert set(study.estimators) <= set(EVALUATED)
    assert [other for other in STUDIES.values() if other.file == study.file] == [study]


@studies
def test_every_case_is_made_once_with_its_level(study: Study) -> None:
    cases = study.cases(study.levels[6:8], study.conditions[:2])
    made = list(study.make(make_picture(1, 120, 136), cases))
    assert len(made) == len(cases) >= 2
    assert {truth.level for truth, _ in made} == set(study.levels[6:8])
    assert all(isinstance(encoded, bytes) for _, encoded in made)


@studies
def test_statistics_do_not_depend_on_the_order_and_are_shown(study: Study) -> None:
    settings = EstimatorSettings(patches=16, estimators=EVALUATED[study.estimators[0]])
    measured = [study.measure(truth, record) for truth, record in judge(study, settings)]

    def summarise(pairs: Iterable[tuple[Any, Any]]) -> dict[str, Any]:
        by_key: dict[Any, list[Any]] = {}
        for key, statistic in pairs:
            by_key.setdefault((0, key), []).append(statistic)
        sums = {key: add_up(statistics) for key, statistics in by_key.items()}
        return study.summarise(sums, [describe(Candidate(settings, read_weights("q1net-k8")))])

    summary = summarise(measured)
    assert summary == summarise(reversed(measured)) == json.loads(json.dumps(summary))

    for evaluation in summary.get("evaluations", []):
        evaluation.update(milliseconds=1.5, parameters=1000, multiply_adds=2_000_000, runtime="onnx")
    summary["untrained"] = [{"variant": name, "parameters": 7, "multiply_adds": 8} for name in study.expected]
    arguments = {"estimator": study.estimators[0], "levels": study.levels[6:8], "patches": 16}
    rendered = study.render(summary | {"arguments": arguments, "images": 2, "versions": {"q1net": "0"}})
    assert len(rendered.screen.splitlines()) >= 3
    assert rendered.files
    assert study.file not in rendered.files
    assert all(rendered.files.values())
