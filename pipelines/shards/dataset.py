"""The commit of a dataset: every row is accounted for before dataset.json is written."""

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from pipelines import files
from pipelines.files import Part
from pipelines.runtime.versions import find_versions
from pipelines.shards.config import ShardsConfig
from pipelines.shards.splits import SPLIT_SHARES
from q1net_core import storage
from q1net_core.codecs.base import CODECS

# Of dataset.json and of where rows lie. In version 1, which has no number, the rows of all splits were shuffled.
DATASET_VERSION = 2


@dataclass(frozen=True, slots=True)
class Shard:
    """One written file, its split, and how many rows it has of each level."""

    part: Part
    split: str
    levels: dict[int, int]


def commit_dataset(
    _: None, shards: list[Shard], images: dict[str, int], screened: list[dict[str, Any]], config: ShardsConfig
) -> str:
    """Check that every row is there, then write dataset.json, last; returns its uri.

    Raises:
        RuntimeError: rows are missing or doubled; nothing is committed.
    """
    counts = {split: Counter[int]() for split in SPLIT_SHARES}
    for shard in shards:
        counts[shard.split].update(shard.levels)
    for split, levels in counts.items():
        expected = images.get(split, 0) * config.patches_per_image
        wrong = {level: levels[level] for level in config.levels if levels[level] != expected}
        if wrong:
            level, rows = next(iter(wrong.items()))
            raise RuntimeError(
                f"split {split} has {rows} rows of level {level} instead of {expected}; nothing is committed, "
                "start again"
            )
    splits = {
        split: {
            "images": images.get(split, 0),
            "rows": levels.total(),
            "rows_by_level": {str(level): levels[level] for level in config.levels},
        }
        for split, levels in counts.items()
    }
    about = {
        "version": DATASET_VERSION,
        "seed": config.seed,
        "arguments": asdict(config),
        "versions": find_versions() | CODECS[config.codec].versions(),
        "splits": splits,
        "screened": screened,
    }
    return files.commit(storage.join(config.output, "dataset.json"), about, [shard.part for shard in shards])
