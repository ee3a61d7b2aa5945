"""How images are judged: what a user chooses, and the weights that this means.

Layer: all of q1net_core but the estimator; no keras, no beam, no pyarrow.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from q1net_core import fusion
from q1net_core.errors import ConfigError
from q1net_core.images.decode import Limits
from q1net_core.network.weights import WeightsFile, read_weights
from q1net_core.patches import DEFAULT_PATCHES, side_of
from q1net_core.records import FusionRule
from q1net_core.sampling import InputKind

ESTIMATORS = ("lattice", "q1net")
# Instead of a number of patches: as many as it takes.
AUTO = "auto"
# For pixels that are as a decoder left them, and for pixels that were changed since.
CLEAN_WEIGHTS = "q1net-k8"
ROBUST_WEIGHTS = "q1net-k8-robust"


@dataclass(frozen=True, slots=True)
class PinnedWeights:
    """Weights as the steps of a run know them: whose they are, what they see, how their predictions are fused.

    ``source`` is the variant name or URI that they are asked for by; their file must have this ``sha256``.
    """

    source: str
    variant: str
    sha256: str
    input: InputKind
    rule: FusionRule


@dataclass(frozen=True, slots=True)
class EstimatorSettings:
    """How images are judged, in JSON types: what a user chooses, with the defaults of all commands.

    Args:
        weights: variant name, or URI of a .keras file, for all images; None chooses for each image: CLEAN_WEIGHTS
            where the lattice accepts, ROBUST_WEIGHTS where it abstains.
        fusion: rule of FUSIONS; None takes the best one of the weights.
        threshold: confidence that a patch must exceed, 0-100; None takes the one chosen for the weights.
        patches: patches per image, a square number from 16 to 576; AUTO looks at some of 256, until q1net_core.stopping
            finds them enough.
        max_bytes, max_pixels: larger images get the status ``too_large``.
        estimators: which run, of ESTIMATORS.
        cascade: ask the network only where the lattice abstains.

    Raises:
        ConfigError: a value is out of range, or two do not go together.
    """

    weights: str | None = None
    fusion: str | None = None
    threshold: float | None = None
    patches: int | str = AUTO
    max_bytes: int = Limits().max_bytes
    max_pixels: int = Limits().max_pixels
    estimators: tuple[str, ...] = ESTIMATORS
    cascade: bool = False

    def __post_init__(self) -> None:
        # JSON has lists only.
        object.__setattr__(self, "estimators", tuple(self.estimators))
        if isinstance(self.patches, str) and self.patches != AUTO:
            raise ConfigError(f"patches per image is {self.patches!r}; expected {AUTO!r} or a square number")
        side_of(self.most_patches)
        Limits(self.max_bytes, self.max_pixels)
        if self.threshold is not None and not 0 <= self.threshold < 100:
            raise ConfigError(f"confidence threshold is {self.threshold}; expected 0 <= threshold < 100")
        if self.fusion is not None and self.fusion not in fusion.FUSIONS:
            raise ConfigError(f"fusion is {self.fusion!r}; expected one of {', '.join(fusion.FUSIONS)}")
        if not self.estimators or not set(self.estimators) <= set(ESTIMATORS):
            raise ConfigError(
                f"estimators are {', '.join(self.estimators) or 'none'}; expected some of {', '.join(ESTIMATORS)}"
            )
        if self.cascade and set(self.estimators) != set(ESTIMATORS):
            raise ConfigError(f"cascade needs both estimators, {' and '.join(ESTIMATORS)}")

    @property
    def limits(self) -> Limits:
        """The limits of decoding."""
        return Limits(self.max_bytes, self.max_pixels)

    @property
    def most_patches(self) -> int:
        """The largest number of patches that an image is judged by."""
        return DEFAULT_PATCHES if isinstance(self.patches, str) else self.patches

    def weights_for(self, accepted: bool) -> str | None:
        """Which weights judge an image whose lattice was ``accepted`` or not; None where the network is not asked."""
        if "q1net" not in self.estimators or (self.cascade and accepted):
            return None
        if self.weights is not None:
            return self.weights
        # Where the lattice is not asked nobody knows, and most pictures of an archive are clean decodes.
        return CLEAN_WEIGHTS if accepted or "lattice" not in self.estimators else ROBUST_WEIGHTS

    @property
    def all_weights(self) -> tuple[str, ...]:
        """All weights that may judge some image, each once."""
        accepted = (True, False) if "lattice" in self.estimators else (False,)
        return tuple(dict.fromkeys(source for answer in accepted if (source := self.weights_for(answer)) is not None))

    def rule_of(self, weights: WeightsFile) -> FusionRule:
        """The fusion rule for weights; raises ConfigError if the wanted one was not chosen for them.

        Another threshold than the one chosen takes the intervals away: they hold for that one only.
        """
        rule = weights.rule(self.fusion)
        if self.threshold is None or self.threshold == rule.threshold:
            return rule
        return replace(rule, threshold=self.threshold, intervals=())

    def pin(self, source: str, file: WeightsFile) -> PinnedWeights:
        """Weights that were read, as the steps of a run know them; raises ConfigError as rule_of."""
        return PinnedWeights(source, file.variant, file.sha256, file.network.input, self.rule_of(file))

    def pin_all(self, files: Mapping[str, WeightsFile]) -> dict[str, PinnedWeights]:
        """The same for weights by their source."""
        return {source: self.pin(source, file) for source, file in files.items()}

    def read_weights(self) -> dict[str, WeightsFile]:
        """All weights that may judge some image, by name or URI; raises WeightsError if they cannot be used."""
        return {source: read_weights(source) for source in self.all_weights}
