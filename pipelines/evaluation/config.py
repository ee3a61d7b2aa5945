"""What one evaluation is: the study, the estimator that is judged, levels, and what goes together."""

from dataclasses import dataclass

from pipelines.evaluation import photoshop, stress
from q1net_core.codecs.table import CODECS
from q1net_core.errors import ConfigError
from q1net_core.patches import DEFAULT_PATCHES, PATCHES_PER_SIDE

LEVELS = CODECS["jpeg"].levels
# What is evaluated, and the name of the JSON file with its statistics.
STUDIES = {
    "levels": "metrics.json",
    "table2": "table2.json",
    "table4": "table4.json",
    "photoshop": "photoshop.json",
    "stress": "stress.json",
}
# Which answer is judged, and what runs for it: Q1Net only where the lattice abstains, if both.
ESTIMATORS = {"q1net": ("q1net",), "lattice": ("lattice",), "combined": ("lattice", "q1net")}
# Those that compare weights or numbers of patches.
Q1NET_STUDIES = ("table2", "table4")
DEFAULT_WEIGHTS = "q1net-k8"
STRESS_LEVELS = tuple(range(5, 101, 5))
# Table 4 of the paper: 4 x 4, 8 x 8, ... 24 x 24 patches.
SIZES = tuple(side**2 for side in PATCHES_PER_SIDE if side % 4 == 0)


@dataclass(frozen=True, slots=True)
class EvaluateConfig:
    """One evaluation: lossless ``images`` x ``levels``, judged by an estimator; results go to the folder ``output``.

    ``weights``, ``fusion``, ``threshold`` and ``patches`` are Q1Net's, ``conditions`` those of the study ``stress``.
    """

    images: str
    output: str
    levels: tuple[int, ...] = tuple(LEVELS)
    weights: tuple[str, ...] = (DEFAULT_WEIGHTS,)
    fusion: str | None = None
    threshold: float | None = None
    patches: int = DEFAULT_PATCHES
    study: str = "levels"
    estimator: str = "q1net"
    conditions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.study not in STUDIES:
            raise ConfigError(f"study is {self.study!r}; expected one of {', '.join(STUDIES)}")
        if self.estimator not in ESTIMATORS:
            raise ConfigError(f"estimator is {self.estimator!r}; expected one of {', '.join(ESTIMATORS)}")
        if self.estimator != "q1net" and self.study in Q1NET_STUDIES:
            raise ConfigError(f"estimator is {self.estimator}; {self.study} is about Q1Net: leave --estimator out")
        self._check_conditions()
        known = levels_of(self.study)
        if not self.levels or not set(self.levels) <= set(known):
            raise ConfigError(f"levels are {list(self.levels)}; expected some of {known[0]}..{known[-1]}")
        if self.estimator == "lattice":
            given = (self.weights, self.fusion, self.threshold, self.patches)
            if given != ((), None, None, DEFAULT_PATCHES):
                raise ConfigError(
                    f"variants are {', '.join(self.weights) or 'none'}, fusion {self.fusion}, threshold "
                    f"{self.threshold}, patches {self.patches}; the lattice has no such thing: leave --variant, "
                    "--fusion, --threshold and --patches out"
                )
        elif not self.weights or (len(self.weights) > 1 and self.study != "table2"):
            raise ConfigError(f"variants are {', '.join(self.weights)}; expected one, or --study table2")
        if self.study == "table4" and self.patches != DEFAULT_PATCHES:
            raise ConfigError(f"patches per image is {self.patches}; table4 takes {SIZES}: leave --patches out")

    def _check_conditions(self) -> None:
        wrong = [name for name in self.conditions if name not in stress.CONDITIONS]
        if wrong or bool(self.conditions) != (self.study == "stress"):
            raise ConfigError(
                f"conditions are {', '.join(self.conditions) or 'none'}; expected --study stress with some of "
                f"{', '.join(stress.CONDITIONS)}"
            )

    @property
    def sizes(self) -> tuple[int, ...]:
        """The numbers of patches per image that are evaluated."""
        return SIZES if self.study == "table4" else (self.patches,)


def levels_of(study: str) -> tuple[int, ...]:
    """All levels of what a study compresses with: libjpeg's 1-100, or Photoshop's 0-12."""
    return photoshop.LEVELS if study == "photoshop" else tuple(LEVELS)
