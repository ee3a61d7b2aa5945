"""Rows of shards: spread by hash or kept together, the same however images arrive."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pictures import make_picture
from PIL import Image

from pipelines.shards.config import ShardsConfig
from pipelines.shards.dataset import to_table
from pipelines.shards.images import Source, draw_image_positions, fingerprint_of
from pipelines.shards.rows import (
    Key,
    ShardRows,
    count_shards,
    cut_rows,
    hash_rows,
    images_of_shard,
    locate_rows,
    pack_rows,
)
from pipelines.shards.tiles import write_tiles
from q1net_core.codecs.jpeg import JPEG, compress_jpeg
from q1net_core.codecs.positions import compress_patches, cut_mosaics
from q1net_core.patches import cut_windows

LEVELS = (5, 40, 95)


def pack(source: Source, images: int, config: ShardsConfig) -> list[tuple[Key, ShardRows]]:
    """The rows of a picture in a split of so many images."""
    pixels, levels = make_picture(1), np.sort(config.levels)
    positions = draw_image_positions(pixels, source.fingerprint, config)
    patches = compress_patches(pixels, positions, levels)
    return list(pack_rows(source, levels, positions, patches, images, config))


def test_fewer_levels_keep_the_places_and_the_order() -> None:
    config = ShardsConfig("i", "o", levels=(5, 40, 95), patches_per_image=4)
    source = Source("i/a", "a", "00" * 32, "train", 0)
    keys = hash_rows(source, config)
    assert np.array_equal(hash_rows(source, replace(config, levels=(40,))), keys[1:2])
    assert np.array_equal(hash_rows(replace(source, uri="j/a"), config), keys)
    others = [replace(source, name="b"), replace(source, name="a\udce9")]
    different = [keys, hash_rows(source, replace(config, seed=1)), *(hash_rows(other, config) for other in others)]
    assert len(np.unique(different)) == 48


def test_keys_are_spread_evenly() -> None:
    config = ShardsConfig("i", "o", patches_per_image=64)
    keys = np.concatenate(
        [hash_rows(Source("", f"{number}.png", "", "train", number), config).ravel() for number in range(10)]
    )
    assert len(np.unique(keys)) == 64_000
    counts = np.bincount((keys % np.uint64(16)).astype(int))
    assert np.abs(counts - 4000).max() < 5 * 4000**0.5


@pytest.mark.parametrize("split", ["train", "valid"])
def test_a_table_does_not_depend_on_the_order_of_arrival(split: str) -> None:
    config = ShardsConfig("i", "o", levels=LEVELS, patches_per_image=6)
    sources = [Source(f"i/{name}", name, f"{number:064x}", split, number) for number, name in enumerate("abc")]
    packed = [rows for source in sources for _, rows in pack(source, 3, config)]
    assert to_table(packed) == to_table(packed[::-1])
    twice = [replace(rows, keys=np.zeros_like(rows.keys)) for rows in packed]
    assert to_table(twice) == to_table(twice[::-1])


def test_shards_part_the_rows_of_an_image() -> None:
    config = ShardsConfig("i", "o", levels=LEVELS, patches_per_image=40, rows_per_shard=100)
    packed = pack(Source("i/a", "a", "0" * 64, "train", 0), 4, config)
    assert [key for key, _ in packed] == [("train", number) for number in range(5)]
    assert all((rows.keys % np.uint64(5) == number).all() for (_, number), rows in packed)
    together = to_table([rows for _, rows in packed])
    assert Counter(together["level"].to_pylist()) == dict.fromkeys(LEVELS, 40)
    row = together.slice(7, 1).to_pylist()[0]
    window = compress_jpeg(make_picture(1), row["level"])[row["y"] : row["y"] + 16, row["x"] : row["x"] + 16]
    assert row["patch"] == window.tobytes()


@pytest.mark.parametrize("change", ["other pixels", "gone"])
def test_an_image_that_changes_on_the_way_stops_the_run(change: str, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(make_picture(1)).save(path)
    source = Source(str(path), "a.png", fingerprint_of(make_picture(1)), "train", 0)
    config = ShardsConfig("i", "o", "webp", levels=(50,), patches_per_image=3)
    assert len(list(cut_rows(source, str(tmp_path), {"train": 1}, config))) == 1
    if change == "gone":
        path.unlink()
    else:
        Image.fromarray(make_picture(2)).save(path)
    with pytest.raises(RuntimeError, match=r"a\.png (changed while|was usable before)"):
        list(cut_rows(source, str(tmp_path), {"train": 1}, config))


def test_an_image_of_which_tiles_were_kept_is_not_read_again(tmp_path: Path) -> None:
    config = ShardsConfig("i", "o", levels=LEVELS, patches_per_image=9, phases="all")
    pixels = make_picture(1)
    positions = draw_image_positions(pixels, "ab" * 32, config)
    write_tiles(str(tmp_path), "ab" * 32, positions, cut_mosaics(pixels, positions, JPEG))
    gone = Source("/nowhere/a.png", "a.png", "ab" * 32, "train", 0)
    ((_, rows),) = cut_rows(gone, str(tmp_path), {"train": 1}, config)
    whole = np.stack([cut_windows(compress_jpeg(pixels, level), *positions.T, 16) for level in LEVELS])
    assert np.array_equal(rows.patches, whole.reshape(rows.patches.shape))
    assert np.array_equal(rows.positions, np.tile(positions, (3, 1)))


def test_whole_images_lie_one_after_the_other_in_as_many_shards_as_they_need() -> None:
    config = ShardsConfig("i", "o", levels=(95, 5, 40), patches_per_image=20, rows_per_shard=130)
    assert [count_shards("valid", images, config) for images in (0, 1, 2, 3, 7)] == [0, 1, 1, 2, 4]
    assert [count_shards("train", images, config) for images in (0, 1, 2, 3, 13)] == [0, 1, 1, 2, 6]
    assert count_shards("test", 3, replace(config, levels=tuple(range(1, 11)))) == 3
    sources = [Source(f"i/{number}", str(number), f"{number:064x}", "valid", number) for number in range(5)]
    packed = [pack(source, 5, config) for source in sources]
    assert [key for rows in packed for key, _ in rows] == [("valid", number) for number in (0, 0, 1, 1, 2)]
    table = to_table([rows for image in packed[:2] for _, rows in image])
    order = list(zip(*(table[name].to_pylist() for name in ("source", "level", "y", "x")), strict=True))
    assert order == sorted(order)
    assert len(order) == 120


@pytest.mark.parametrize(("split", "images"), [("train", 1), ("train", 7), ("valid", 1), ("valid", 7)])
def test_the_images_of_a_shard_are_those_that_have_rows_in_it(split: str, images: int) -> None:
    config = ShardsConfig("i", "o", levels=LEVELS, patches_per_image=20, rows_per_shard=130)
    sources = [Source("", str(number), f"{number:064x}", split, number) for number in range(images)]
    having: dict[Key, list[int]] = {}
    for source in sources:
        for number in np.unique(locate_rows(source, images, config)[0]).tolist():
            having.setdefault((split, number), []).append(source.index)
    assert sorted(having) == [(split, number) for number in range(count_shards(split, images, config))]
    assert {key: list(images_of_shard(key, images, config)) for key in having} == having
