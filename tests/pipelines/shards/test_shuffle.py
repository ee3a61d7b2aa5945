"""The shuffle on disk: every row comes out at its shard."""

from pathlib import Path

import pytest
from pictures import make_picture
from PIL import Image

from pipelines.shards.config import ShardsConfig
from pipelines.shards.dataset import to_table
from pipelines.shards.images import Source, fingerprint_of
from pipelines.shards.rows import Key, ShardRows, count_shards, cut_rows
from pipelines.shards.shuffle import gather_rows, read_rows, rows_path, spill_rows

IMAGES = {"train": 4, "valid": 3}


@pytest.fixture
def sources(tmp_path: Path) -> list[Source]:
    made = []
    for split, count in IMAGES.items():
        for position in range(count):
            path, pixels = tmp_path / f"{split}{position}.png", make_picture(len(made))
            Image.fromarray(pixels).save(path)
            made.append(Source(str(path), path.name, fingerprint_of(pixels), split, position))
    return made


def test_rows_are_gathered_as_they_were_cut(sources: list[Source], tmp_path: Path) -> None:
    config = ShardsConfig("i", "o", "webp", levels=(5, 40, 95), patches_per_image=20, rows_per_shard=130)
    work = str(tmp_path)
    expected: dict[Key, list[ShardRows]] = {}
    for source in sources:
        assert spill_rows(source, work, IMAGES, config) == 1
        for key, rows in cut_rows(source, work, IMAGES, config):
            expected.setdefault(key, []).append(rows)
    keys = [(split, number) for split, n in IMAGES.items() for number in range(count_shards(split, n, config))]
    assert sorted(expected) == sorted(keys)
    assert len(keys) == 4
    for key in keys:
        gathered = gather_rows(key, len(sources), work, IMAGES, config)
        assert gathered[0] == key
        assert to_table(gathered[1]) == to_table(expected[key])
    assert read_rows(rows_path(work, "valid", 2), 0) is None
    assert len(list((tmp_path / "rows").iterdir())) == len(sources)
