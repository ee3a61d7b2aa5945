"""A dataset is committed only when all of its rows are there."""

from pathlib import Path

import pytest

from pipelines.files import Part
from pipelines.shards.config import ShardsConfig
from pipelines.shards.dataset import Shard, commit_dataset


def test_missing_rows_are_not_committed(tmp_path: Path) -> None:
    config = ShardsConfig("i", str(tmp_path), levels=(5, 6), patches_per_image=3)
    shard = Shard(Part("n", 5, 1, ""), "train", {5: 3, 6: 2})
    with pytest.raises(RuntimeError, match="split train has 2 rows of level 6 instead of 3; nothing is committed"):
        commit_dataset(None, [shard], {"train": 1}, [], config)
    assert not list(tmp_path.iterdir())
