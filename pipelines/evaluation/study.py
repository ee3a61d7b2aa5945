"""What a study is, as data: each module of pipelines.evaluation.studies holds one, and STUDIES lists them all."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.evaluation.render import Rendered, Row
from pipelines.evaluation.steps import Make, Measure, Sample, sample_as_audit
from q1net_core.network.weights import LIBJPEG_CODECS, WeightsFile
from q1net_core.sampling import PATCHES, InputKind
from q1net_core.settings import EstimatorSettings, PinnedWeights

# --estimator: whose answer is evaluated, and what runs for it. If both run, Q1Net does where the lattice abstains.
EVALUATED = {"q1net": ("q1net",), "lattice": ("lattice",), "combined": ("lattice", "q1net")}
# (candidate's number, key of the study) -> summed statistic, and what each candidate was made with -> JSON values.
Summarise = Callable[[Mapping[tuple[int, Any], Any], Sequence[Row]], Row]


@dataclass(frozen=True, slots=True)
class Candidate:
    """One estimator that is evaluated: its settings, and its weights, which the lattice alone does not have."""

    settings: EstimatorSettings
    weights: WeightsFile | None = None

    @property
    def pinned(self) -> PinnedWeights | None:
        """The weights as the steps know them; raises ConfigError if they lack the wanted fusion rule."""
        return self.settings.pin(self.settings.weights or "", self.weights) if self.weights else None

    @property
    def kind(self) -> InputKind:
        """What its network sees of an image."""
        return self.weights.network.input if self.weights else PATCHES


def levels_alone(levels: Sequence[int], _conditions: Sequence[str]) -> Sequence[int]:
    """The cases of a study without conditions: its levels."""
    return levels


def as_given(settings: EstimatorSettings, _weights: WeightsFile) -> Sequence[EstimatorSettings]:
    """Weights are evaluated once, as the command line says."""
    return [settings]


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """One study. Its functions are plain ones; pipelines.evaluation.pipeline runs them.

    Args:
        name: the value of --study.
        help: what it looks at, in a few words.
        file: name of the JSON file that gets its statistics.
        levels: all that may be asked for with --levels.
        make: a lossless image -> compressed files, one for each case, with their truth.
        measure: truth and record of one file -> a key, and the statistic that is added up under it.
        summarise: the sums of these statistics -> what the JSON file says beside arguments and versions.
        render: the JSON file's content -> tables and pictures.
        cases: levels and conditions -> what ``make`` makes of each image.
        sample: a compressed file -> what a network gets of it.
        default_levels: where they are not ``levels``.
        conditions: all that may be asked for with --conditions.
        estimators: of EVALUATED, whose answers can be evaluated, the default first.
        sizes: numbers of patches per image that are compared; empty: the one of --patches.
        compares_weights: takes several weights, by default all that are packaged.
        compares_costs: time and parameters of each evaluation are measured where the command runs.
        expected: variants that have a row in its table, with weights or without.
        codecs: names in CODECS; weights that estimate the levels of another are refused.
        settings_of: settings and weights -> those under which these weights are evaluated, once or several times.
    """

    name: str
    help: str
    file: str
    levels: tuple[int, ...]
    make: Make
    measure: Measure
    summarise: Summarise
    render: Callable[[Row], Rendered]
    cases: Callable[[Sequence[int], Sequence[str]], Sequence[Any]] = levels_alone
    sample: Sample = sample_as_audit
    default_levels: tuple[int, ...] = ()
    conditions: tuple[str, ...] = ()
    estimators: tuple[str, ...] = tuple(EVALUATED)
    sizes: tuple[int, ...] = ()
    compares_weights: bool = False
    compares_costs: bool = False
    expected: tuple[str, ...] = ()
    codecs: tuple[str, ...] = LIBJPEG_CODECS
    settings_of: Callable[[EstimatorSettings, WeightsFile], Sequence[EstimatorSettings]] = as_given
