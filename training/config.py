"""What a training run is: one frozen dataclass, and named presets of it."""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from q1net_core.errors import ConfigError
from q1net_core.network.variants import VARIANTS
from q1net_core.sampling import PATCHES
from training.alterations import ALTERATIONS
from training.variations import VARIATIONS


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """One training run, everything that decides its outcome.

    ``confidence_weight`` is the paper's lambda. ``locations_per_level`` patches of a batch share one JPEG
    mosaic, windows of a network that sees more have one each. Each location is seen at ``levels_per_location`` levels
    of the batch.
    ``start_from`` names weights to go on from (fine-tuning), a variant's or a .keras file's; None starts untrained.
    ``batch_growth`` are (step, batch size from there on): small batches first find the way, large ones later keep it.
    ``ema_momentum`` averages the weights over about 1 / (1 - momentum) steps; the averages are validated and kept.
    ``patience`` ends the training after so many validations without a better one; None goes on to the last step.
    ``alterations`` are (name in ALTERATIONS, share of the places); the rest of the places is not altered.
    ``variations`` are (name in VARIATIONS, probability that a picture meets it before its compression).
    ``validation_every`` counts steps; ``validation_levels`` JPEG levels of each validation image are looked at.
    """

    variant: str = "q1net-k8"
    steps: int = 40_000
    batch_size: int = 256
    locations_per_level: int = 4
    levels_per_location: int = 4
    learning_rate: float = 2e-3
    warmup_steps: int = 300
    optimizer: str = "adam"
    confidence_weight: float = 0.5
    validation_every: int = 1_000
    validation_levels: tuple[int, ...] = tuple(range(5, 101, 10))
    validation_patches: int = 64
    seed: int = 1
    start_from: str | None = None
    alterations: tuple[tuple[str, float], ...] = ()
    variations: tuple[tuple[str, float], ...] = ()
    batch_growth: tuple[tuple[int, int], ...] = ()
    ema_momentum: float | None = None
    patience: int | None = None

    def __post_init__(self) -> None:
        if self.variant not in VARIANTS:
            raise ConfigError(f"variant is {self.variant!r}; expected one of {', '.join(VARIANTS)}")
        kind = VARIANTS[self.variant].input
        if kind != PATCHES and (self.alterations or self.variations or self.batch_growth):
            raise ConfigError(
                f"variant {self.variant!r} sees a {kind.sampler}; expected no alterations, variations or batch_growth, "
                f"which are for patches of JPEG: use --preset {default_preset(self.variant)}"
            )
        if self.optimizer not in ("adam", "muon"):
            raise ConfigError(f"optimizer is {self.optimizer!r}; expected adam or muon")
        group = self.locations_per_level * self.levels_per_location
        for size in (self.batch_size, *(size for _, size in self.batch_growth)):
            if min(group, size) < 1 or size % group:
                raise ConfigError(
                    f"batch_size is {size}; expected a positive multiple of {group}, the "
                    f"{self.locations_per_level} locations per level x {self.levels_per_location} levels per location"
                )
        growth = [0, *(step for step, _ in self.batch_growth)]
        if any(later <= earlier for earlier, later in pairwise(growth)):
            raise ConfigError(f"batch_growth is at the steps {growth[1:]}; expected ascending steps above 0")
        if self.ema_momentum is not None and not 0 < self.ema_momentum < 1:
            raise ConfigError(f"ema_momentum is {self.ema_momentum}; expected a number between 0 and 1, or None")
        if self.patience is not None and self.patience < 1:
            raise ConfigError(f"patience is {self.patience}; expected at least 1 validation, or None")
        unknown = [name for name, _ in self.alterations if name not in ALTERATIONS]
        if unknown:
            raise ConfigError(f"alterations name {unknown[0]!r}; expected some of {', '.join(ALTERATIONS)}")
        shares = [share for _, share in self.alterations]
        if min(shares, default=0) < 0 or sum(shares) > 1:
            raise ConfigError(f"alterations have the shares {shares}; expected none below 0 and a sum of at most 1")
        for name, share in self.variations:
            if name not in VARIATIONS:
                raise ConfigError(f"variations name {name!r}; expected some of {', '.join(VARIATIONS)}")
            if not 0 <= share <= 1:
                raise ConfigError(f"variation {name!r} has the probability {share}; expected 0 to 1")
        if not 0 <= self.warmup_steps < self.steps:
            raise ConfigError(f"steps is {self.steps}; expected more than the {self.warmup_steps} warm-up steps")
        if self.validation_every < 1 or self.steps % self.validation_every:
            raise ConfigError(
                f"validation_every is {self.validation_every} and steps is {self.steps}; expected a multiple"
            )

    def batch_size_at(self, step: int) -> int:
        """How many patches the batch of a step has."""
        return [self.batch_size, *(size for start, size in self.batch_growth if start <= step)][-1]

    def patches_until(self, step: int) -> int:
        """How many patches the batches before a step have, all together."""
        starts = [0, *(start for start, _ in self.batch_growth if start < step), step]
        return sum((end - start) * self.batch_size_at(start) for start, end in pairwise(starts))


# One photograph in seven stays as it is; the others meet one or some of these before their compression.
VARIED = (
    ("scale", 0.4),
    ("blur", 0.2),
    ("noise", 0.25),
    ("denoise", 0.15),
    ("sharpen", 0.2),
    ("gamma", 0.2),
    ("saturation", 0.15),
    ("grey", 0.05),
)

PRESETS = {
    "cpu": TrainConfig(steps=20_000, warmup_steps=500, optimizer="muon", learning_rate=3e-3, variations=VARIED),
    # From finished weights on: a lower peak, more room for the tail of the cosine.
    "cpu-finetune": TrainConfig(
        steps=16_000, warmup_steps=200, learning_rate=1e-3, start_from="q1net-k8", seed=2, variations=VARIED
    ),
    # For pictures that were altered after their compression, or never compressed; some are neither.
    "robust": TrainConfig(
        variant="q1net-k8-robust",
        steps=16_000,
        warmup_steps=200,
        learning_rate=1e-3,
        seed=3,
        start_from="q1net-k8",
        variations=VARIED,
        alterations=(
            ("off-grid", 0.06),
            ("resize", 0.25),
            ("rotation", 0.04),
            ("noise", 0.10),
            ("filter", 0.16),
            ("tone", 0.06),
            ("recompression", 0.08),
            ("conversion", 0.08),
            ("never", 0.10),
        ),
    ),
    # For a data-centre GPU and `q1net shards --phases all` of a corpus like DIV2K, 5 million rows: 24 epochs.
    "gpu": TrainConfig(
        steps=40_000,
        batch_size=512,
        batch_growth=((2_000, 1024), (5_000, 2048), (14_000, 4096)),
        warmup_steps=1_000,
        optimizer="muon",
        learning_rate=4e-3,
        ema_momentum=0.998,
        patience=15,
    ),
    "paper": TrainConfig(steps=150_000, batch_size=2048, locations_per_level=16, learning_rate=1e-3),
    # For networks that see one large window of an image.
    "window": TrainConfig(
        variant="q-est", steps=20_000, batch_size=32, locations_per_level=1, learning_rate=1e-3, validation_every=500
    ),
    # For frames of video.
    "video": TrainConfig(variant="q1net-h264", steps=10_000, validation_every=500),
    "smoke": TrainConfig(
        steps=12,
        batch_size=32,
        warmup_steps=2,
        validation_every=4,
        validation_levels=(20, 80),
        validation_patches=16,
    ),
}


def default_preset(variant: str | None) -> str:
    """The recipe for a variant, if none is named."""
    if variant not in VARIANTS or VARIANTS[variant].input == PATCHES:
        return "cpu"
    return "window" if VARIANTS[variant].codec == "jpeg" else "video"


def preset(name: str, **changes: Any) -> TrainConfig:
    """A preset by name with some values changed; raises ConfigError for an unknown name or an impossible value."""
    if name not in PRESETS:
        raise ConfigError(f"preset is {name!r}; expected one of {', '.join(PRESETS)}")
    return replace(PRESETS[name], **changes)
