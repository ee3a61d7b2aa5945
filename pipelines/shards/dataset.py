"""The commit of a dataset: every row is accounted for before dataset.json is written."""

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import apache_beam as beam
import numpy as np
import PIL
import pyarrow as pa

from pipelines.files import write_json
from pipelines.shards.config import ShardsConfig
from pipelines.shards.splits import SPLIT_SHARES
from q1net_core import __version__, storage
from q1net_core.codecs.table import CODECS

# Of dataset.json and of where rows lie. In version 1, which has no number, the rows of all splits were shuffled.
DATASET_VERSION = 2


@dataclass(frozen=True, slots=True)
class Shard:
    """One written file: its name below the output, its split, and how many rows it has of each level."""

    name: str
    split: str
    rows: int
    bytes: int
    sha256: str
    levels: dict[int, int]


def versions_of(config: ShardsConfig) -> dict[str, str]:
    """The libraries that pixels and files depend on, where this runs."""
    return {
        "q1net": __version__,
        "pillow": PIL.__version__,
        **CODECS[config.codec].versions(),
        "numpy": np.__version__,
        "pyarrow": pa.__version__,
        "beam": beam.__version__,
    }


def commit(
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
    files = [
        {"name": shard.name, "rows": shard.rows, "bytes": shard.bytes, "sha256": shard.sha256}
        for shard in sorted(shards, key=lambda shard: shard.name)
    ]
    about = {
        "version": DATASET_VERSION,
        "seed": config.seed,
        "arguments": asdict(config),
        "versions": versions_of(config),
        "splits": splits,
        "screened": screened,
        "files": files,
    }
    uri = storage.join(config.output, "dataset.json")
    write_json(uri, about)
    return uri
