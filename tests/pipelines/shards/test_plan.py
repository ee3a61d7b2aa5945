"""What the command does before and between the passes: a place for what these hand on, with room for it."""

import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from pipelines.shards.config import ShardsConfig
from pipelines.shards.plan import make_work
from q1net_core.errors import ConfigError

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(10**10, 9 * 10**9, 10**9))


@pytest.mark.usefixtures("little_room")
def test_too_little_room_is_noticed_before_any_work(tmp_path: Path) -> None:
    config = ShardsConfig("i", str(tmp_path / "out"))
    message = rf"rows on their way need 1\.0 GB of disk in {tmp_path}/out, where 1\.0 GB are free; make room"
    with pytest.raises(ConfigError, match=message):
        make_work(config, 180, local=True)
    assert not (tmp_path / "out" / "_work").exists()
    folder = Path(make_work(config, 170, local=True))
    assert folder == tmp_path / "out" / "_work"
    assert folder.is_dir()


def test_rows_for_a_remote_output_wait_on_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = Path(make_work(ShardsConfig("i", "gs://bucket/shards"), 1, local=True))
    assert folder.parent == tmp_path
    assert folder.name.startswith("q1net-shards-")


def test_on_a_cluster_the_work_is_in_the_output(tmp_path: Path) -> None:
    assert make_work(ShardsConfig("i", "gs://bucket/shards"), 1, local=False) == "gs://bucket/shards/_work"
