"""What one dataset of shards is made of."""

from dataclasses import dataclass

from pipelines.shards.parquet import encode_parquet
from pipelines.shards.tfrecord import encode_tfrecord
from q1net_core.codecs.positions import PHASES
from q1net_core.codecs.table import CODECS
from q1net_core.errors import ConfigError

# A table of rows -> the bytes of one file.
ENCODERS = {"parquet": encode_parquet, "tfrecord": encode_tfrecord}
# What happens to "lossless" images whose pixels lie on the lattice of an earlier JPEG compression.
SCREENS = ("report", "drop")
# With fewer rows in a shard on average, hashing might leave one empty.
LEAST_ROWS_PER_SHARD = 100


@dataclass(frozen=True, slots=True)
class ShardsConfig:
    """One dataset: places of the lossless ``images`` x ``levels`` of a ``codec``, written to the folder ``output``.

    No levels given means all levels of the codec.

    Raises:
        ConfigError: a value is not one of those known, or too small.
    """

    images: str
    output: str
    codec: str = "jpeg"
    levels: tuple[int, ...] = ()
    patches_per_image: int = 64
    phases: str = "aligned"
    seed: int = 0
    format: str = "parquet"
    screen: str = "report"
    rows_per_shard: int = 1 << 16

    def __post_init__(self) -> None:
        for name, known in (("codec", CODECS), ("phases", PHASES), ("format", ENCODERS), ("screen", SCREENS)):
            if getattr(self, name) not in known:
                raise ConfigError(f"{name} is {getattr(self, name)!r}; expected one of {', '.join(known)}")
        if not self.levels:
            object.__setattr__(self, "levels", tuple(CODECS[self.codec].levels))
        CODECS[self.codec].check_levels(self.levels)
        for name, least in (("patches_per_image", 1), ("seed", 0), ("rows_per_shard", LEAST_ROWS_PER_SHARD)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected at least {least}")

    @property
    def rows_per_image(self) -> int:
        """Every place at every level."""
        return self.patches_per_image * len(self.levels)
