"""The shuffle on disk: every row comes out at its shard, and there is room for all of them before any is written."""

import shutil
from collections import namedtuple
from pathlib import Path

import pytest
from pictures import make_picture
from PIL import Image

from pipelines.shards.config import ShardsConfig
from pipelines.shards.dataset import to_table
from pipelines.shards.images import Source, fingerprint_of
from pipelines.shards.rows import Key, ShardRows, count_shards, cut_rows
from pipelines.shards.shuffle import gather_rows, make_folder, read_rows, rows_path, spill_rows
from q1net_core.errors import ConfigError

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
    config = ShardsConfig("i", "o", levels=(5, 40, 95), patches_per_image=20, rows_per_shard=130)
    folder = tmp_path / "rows"
    folder.mkdir()
    expected: dict[Key, list[ShardRows]] = {}
    for source in sources:
        assert spill_rows(source, str(folder), IMAGES, config) == 1
        for key, rows in cut_rows(source, IMAGES, config):
            expected.setdefault(key, []).append(rows)
    keys = [(split, number) for split, n in IMAGES.items() for number in range(count_shards(split, n, config))]
    assert sorted(expected) == sorted(keys)
    assert len(keys) == 4
    for key in keys:
        gathered = gather_rows(key, len(sources), str(folder), IMAGES, config)
        assert gathered[0] == key
        assert to_table(gathered[1]) == to_table(expected[key])
    assert read_rows(rows_path(str(folder), "valid", 2), 0) is None
    assert len(list(folder.iterdir())) == len(sources)


Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(10**10, 9 * 10**9, 10**9))


@pytest.mark.usefixtures("little_room")
def test_too_little_room_is_noticed_before_any_work(tmp_path: Path) -> None:
    config = ShardsConfig("i", str(tmp_path / "out"))
    with pytest.raises(
        ConfigError, match=rf"needs 1\.0 GB of disk in {tmp_path}/out, where 1\.0 GB are free; make room"
    ):
        make_folder(config, 200)
    assert not (tmp_path / "out" / "_rows").exists()
    folder = Path(make_folder(config, 190))
    assert folder == tmp_path / "out" / "_rows"
    assert folder.is_dir()


def test_rows_for_a_remote_output_wait_on_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = Path(make_folder(ShardsConfig("i", "gs://bucket/shards"), 1))
    assert folder.parent == tmp_path
    assert folder.name.startswith("q1net-shards-")
