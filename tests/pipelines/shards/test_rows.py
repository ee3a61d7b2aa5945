"""Rows of shards: spread by hash, the same however images arrive, counted before they are committed."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pictures import make_picture
from PIL import Image

from pipelines.shards.config import ShardsConfig
from pipelines.shards.files import ShardRows, to_table
from pipelines.shards.rows import Shard, commit, cut_rows, pack_rows, row_keys
from pipelines.shards.survey import Source, fingerprint_of

LEVELS = (5, 40, 95)


def test_fewer_levels_keep_the_places_and_the_order() -> None:
    config = ShardsConfig("i", "o", levels=(5, 40, 95), patches_per_image=4)
    source = Source("i/a", "a", "00" * 32, "train")
    keys = row_keys(source, config)
    assert np.array_equal(row_keys(source, replace(config, levels=(40,))), keys[1:2])
    assert np.array_equal(row_keys(replace(source, uri="j/a"), config), keys)
    others = [replace(source, name="b"), replace(source, name="a\udce9")]
    assert (
        len(np.unique([keys, row_keys(source, replace(config, seed=1)), *(row_keys(o, config) for o in others)])) == 48
    )


def test_keys_are_spread_evenly() -> None:
    config = ShardsConfig("i", "o", patches_per_image=64)
    keys = np.concatenate([row_keys(Source("", f"{number}.png", ""), config).ravel() for number in range(10)])
    assert len(np.unique(keys)) == 64_000
    counts = np.bincount((keys % np.uint64(16)).astype(int))
    assert np.abs(counts - 4000).max() < 5 * 4000**0.5


def test_a_table_does_not_depend_on_the_order_of_arrival() -> None:
    config = ShardsConfig("i", "o", levels=LEVELS, patches_per_image=6)
    sources = [Source(f"i/{name}", name, f"{number:064x}", "train") for number, name in enumerate("abc")]
    packed = [rows for source in sources for _, rows in pack_rows(source, make_picture(1), 1, config)]
    assert to_table(packed) == to_table(packed[::-1])
    twice = [replace(rows, keys=np.zeros_like(rows.keys)) for rows in packed]
    assert to_table(twice) == to_table(twice[::-1])


def test_rounds_and_shards_part_the_rows_of_an_image() -> None:
    config = ShardsConfig("i", "o", levels=LEVELS, patches_per_image=10)
    source, pixels = Source("i/a", "a", "0" * 64, "test"), make_picture(1)

    def rows(packed: list[tuple[tuple[str, int], ShardRows]]) -> pa.Table:
        assert all((rows.keys % np.uint64(5) == number).all() for (_, number), rows in packed)
        return to_table([rows for _, rows in packed])

    together = list(pack_rows(source, pixels, 5, config))
    assert [key for key, _ in together] == [("test", number) for number in range(5)]
    parts = [list(pack_rows(source, pixels, 5, config, number, 3)) for number in range(3)]
    assert [[number for (_, number), _ in part] for part in parts] == [[0, 3], [1, 4], [2]]
    assert rows([rows for part in parts for rows in part]) == rows(together)


@pytest.mark.parametrize("change", ["other pixels", "gone"])
def test_an_image_that_changes_on_the_way_stops_the_run(change: str, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(make_picture(1)).save(path)
    source = Source(str(path), "a.png", fingerprint_of(make_picture(1)), "train")
    config = ShardsConfig("i", "o", levels=(50,), patches_per_image=3)
    assert len(list(cut_rows(source, {"train": 1}, [], config, 0, 1))) == 1
    if change == "gone":
        path.unlink()
    else:
        Image.fromarray(make_picture(2)).save(path)
    with pytest.raises(RuntimeError, match=r"a\.png (changed while|was usable before)"):
        list(cut_rows(source, {"train": 1}, [], config, 0, 1))


def test_missing_rows_are_not_committed(tmp_path: Path) -> None:
    config = ShardsConfig("i", str(tmp_path), levels=(5, 6), patches_per_image=3)
    shard = Shard("n", "train", 5, 1, "", Counter({5: 3, 6: 2}))
    with pytest.raises(RuntimeError, match="split train has 2 rows of level 6 instead of 3; nothing is committed"):
        commit(None, [shard], {"train": 1}, [], config)
    assert not list(tmp_path.iterdir())
