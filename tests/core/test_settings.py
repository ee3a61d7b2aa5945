"""Settings: what is impossible is refused, and which weights they mean for which image."""

from dataclasses import asdict, replace
from typing import Any

import pytest

from q1net_core.errors import ConfigError
from q1net_core.network.weights import Card, WeightsFile
from q1net_core.records import FusionRule, IntervalTable
from q1net_core.sampling import PATCHES
from q1net_core.settings import CLEAN_WEIGHTS, ROBUST_WEIGHTS, EstimatorSettings, PinnedWeights

TABLE = IntervalTable(4, (), ((),), ((-5.0,),), ((7.0,),))
CARD = Card(
    "q1net-k8",
    "abc",
    fusions={"trimmed": {"threshold": 93, "calibration": []}, "paper": {"threshold": 89, "calibration": []}},
    intervals={"trimmed": [asdict(TABLE)]},
)


@pytest.mark.parametrize(
    ("changes", "clean", "altered", "read"),
    [
        ({}, CLEAN_WEIGHTS, ROBUST_WEIGHTS, (CLEAN_WEIGHTS, ROBUST_WEIGHTS)),
        ({"cascade": True}, None, ROBUST_WEIGHTS, (ROBUST_WEIGHTS,)),
        ({"weights": "w.keras"}, "w.keras", "w.keras", ("w.keras",)),
        ({"weights": "w.keras", "cascade": True}, None, "w.keras", ("w.keras",)),
        ({"estimators": ["q1net"]}, CLEAN_WEIGHTS, CLEAN_WEIGHTS, (CLEAN_WEIGHTS,)),
        ({"estimators": ["lattice"]}, None, None, ()),
        ({"estimators": ["lattice"], "weights": "w.keras"}, None, None, ()),
    ],
)
def test_the_lattice_decides_which_weights_judge(
    changes: dict[str, Any], clean: str | None, altered: str | None, read: tuple[str, ...]
) -> None:
    settings = EstimatorSettings(**changes)
    assert (settings.weights_for(accepted=True), settings.weights_for(accepted=False)) == (clean, altered)
    assert settings.all_weights == read


def test_weights_are_pinned_with_the_rule_of_the_settings() -> None:
    pinned = EstimatorSettings(weights="w.keras").pin_all({"w.keras": WeightsFile(b"", CARD)})
    rule = FusionRule("trimmed", 93.0, (), (TABLE,))
    assert pinned == {"w.keras": PinnedWeights("w.keras", "q1net-k8", "abc", PATCHES, rule)}
    assert isinstance(hash(pinned["w.keras"]), int)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, FusionRule("trimmed", 93.0, (), (TABLE,))),
        ({"threshold": 93}, FusionRule("trimmed", 93.0, (), (TABLE,))),
        # Intervals are those of the threshold they were learnt with.
        ({"threshold": 50}, FusionRule("trimmed", 50, (), ())),
        ({"fusion": "paper"}, FusionRule("paper", 89.0, (), ())),
    ],
)
def test_the_rule_is_the_wanted_one_or_the_best(changes: dict[str, Any], expected: FusionRule) -> None:
    assert EstimatorSettings(**changes).rule_of(WeightsFile(b"", CARD)) == expected


def test_a_rule_that_was_not_chosen_for_the_weights_is_refused() -> None:
    card = replace(CARD, fusions={"paper": CARD.fusions["paper"]})
    with pytest.raises(ConfigError, match="fusion is 'trimmed'; these weights have paper"):
        EstimatorSettings(fusion="trimmed").rule_of(WeightsFile(b"", card))


def test_lists_of_json_are_tuples() -> None:
    assert EstimatorSettings(estimators=["lattice"]).estimators == ("lattice",)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patches": 17}, "patches per image is 17"),
        ({"patches": "all"}, "patches per image is 'all'; expected 'auto' or a square number"),
        ({"threshold": 100.0}, r"threshold is 100\.0"),
        ({"threshold": -1.0}, r"threshold is -1\.0"),
        ({"threshold": float("nan")}, "threshold is nan"),
        ({"estimators": ()}, "estimators are none; expected some of lattice, q1net"),
        ({"estimators": ("lattice", "exif")}, "estimators are lattice, exif; expected some of"),
        ({"estimators": ("lattice",), "cascade": True}, "cascade needs both estimators, lattice and q1net"),
        ({"fusion": "mean"}, "fusion is 'mean'; expected one of trimmed, weighted, paper"),
    ],
)
def test_impossible_configuration_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        EstimatorSettings(**changes)
