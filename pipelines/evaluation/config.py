"""What one evaluation is: the study, the estimator that is judged, levels, and what goes together."""

from dataclasses import dataclass

from pipelines.evaluation.studies import STUDIES
from pipelines.evaluation.study import EVALUATED, Study
from q1net_core.errors import ConfigError
from q1net_core.patches import DEFAULT_PATCHES
from q1net_core.settings import CLEAN_WEIGHTS


@dataclass(frozen=True, slots=True)
class EvaluateConfig:
    """One evaluation: lossless ``images`` x ``levels``, judged by an estimator; results go to the folder ``output``.

    ``weights``, ``fusion``, ``threshold`` and ``patches`` are Q1Net's, ``conditions`` those of studies that have some.
    """

    images: str
    output: str
    levels: tuple[int, ...]
    weights: tuple[str, ...] = (CLEAN_WEIGHTS,)
    fusion: str | None = None
    threshold: float | None = None
    patches: int = DEFAULT_PATCHES
    study: str = next(iter(STUDIES))
    estimator: str = "q1net"
    conditions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.study not in STUDIES:
            raise ConfigError(f"study is {self.study!r}; expected one of {', '.join(STUDIES)}")
        study = STUDIES[self.study]
        if self.estimator not in EVALUATED:
            raise ConfigError(f"estimator is {self.estimator!r}; expected one of {', '.join(EVALUATED)}")
        if self.estimator not in study.estimators:
            raise ConfigError(f"estimator is {self.estimator}; {study.name} is about Q1Net: leave --estimator out")
        self._check_conditions(study)
        if not self.levels or not set(self.levels) <= set(study.levels):
            raise ConfigError(f"levels are {list(self.levels)}; expected some of {study.levels[0]}..{study.levels[-1]}")
        self._check_weights(study)
        if study.sizes and self.patches != DEFAULT_PATCHES:
            raise ConfigError(
                f"patches per image is {self.patches}; {study.name} takes {study.sizes}: leave --patches out"
            )

    def _check_conditions(self, study: Study) -> None:
        wrong = [name for name in self.conditions if name not in study.conditions]
        if wrong or bool(self.conditions) != bool(study.conditions):
            expected = (
                f"--study {other.name} with some of {', '.join(other.conditions)}"
                for other in STUDIES.values()
                if other.conditions
            )
            raise ConfigError(
                f"conditions are {', '.join(self.conditions) or 'none'}; expected {' or '.join(expected)}"
            )

    def _check_weights(self, study: Study) -> None:
        if self.estimator == "lattice":
            given = (self.weights, self.fusion, self.threshold, self.patches)
            if given != ((), None, None, DEFAULT_PATCHES):
                raise ConfigError(
                    f"variants are {', '.join(self.weights) or 'none'}, fusion {self.fusion}, threshold "
                    f"{self.threshold}, patches {self.patches}; the lattice has no such thing: leave --variant, "
                    "--fusion, --threshold and --patches out"
                )
        elif not self.weights or (len(self.weights) > 1 and not study.compares_weights):
            several = (f"--study {other.name}" for other in STUDIES.values() if other.compares_weights)
            raise ConfigError(f"variants are {', '.join(self.weights)}; expected one, or {' or '.join(several)}")
