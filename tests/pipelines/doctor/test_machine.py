"""Engine, hints, accelerator, disk and clock, as they should be and as they should not."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import keras
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from pipelines.doctor import machine
from pipelines.doctor.finding import Level
from pipelines.doctor.machine import check_accelerator, check_clock, check_disk, check_hints

NOW = datetime(2026, 11, 21, tzinfo=UTC)
LOCAL = PipelineOptions(["--runner=FnApiRunner"])


@pytest.mark.parametrize(("seconds", "level"), [(0, Level.OK), (-20, Level.OK), (60, Level.WARN), (-400, Level.FAIL)])
def test_the_clock_against_a_stores(seconds: int, level: Level) -> None:
    found = check_clock(NOW, NOW - timedelta(seconds=seconds))
    assert found.level is level
    assert f"this clock is {abs(seconds)} s " in found.found


def test_the_clock_without_a_store() -> None:
    assert check_clock(datetime.now(UTC)).level is Level.OK
    assert check_clock(datetime(2001, 1, 1, tzinfo=UTC)).level is Level.FAIL


@pytest.mark.parametrize(("gigabytes", "level"), [(0.5, Level.FAIL), (5, Level.WARN), (50, Level.OK)])
def test_the_disk(gigabytes: float, level: Level, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=gigabytes * 1e9))
    found = check_disk("/somewhere")
    assert (found.level, found.found) == (level, f"{gigabytes:.1f} GB free in /somewhere")


@pytest.mark.parametrize("backend", ["torch", "numpy"])
def test_a_backend_that_networks_cannot_use(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", backend)
    assert str(check_accelerator(None, LOCAL)) == (
        f"fail  accelerator  KERAS_BACKEND is '{backend}'; expected tensorflow or jax"
    )


@pytest.mark.parametrize(
    ("devices", "wanted", "present", "level", "text"),
    [
        (["cpu:0"], None, False, Level.OK, "sees no accelerator; the networks run on the CPU"),
        (["cpu:0"], "t4", False, Level.WARN, "but --accelerator is t4; leave it out here"),
        (["cpu:0"], None, True, Level.WARN, "but this machine has one; pip install 'tensorflow[and-cuda]'"),
        (["cpu:0", "gpu:0"], "t4", True, Level.OK, "sees gpu:0"),
    ],
)
def test_the_accelerator_as_keras_sees_it(
    devices: list[str], wanted: str | None, present: bool, level: Level, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keras.distribution, "list_devices", lambda: devices)
    monkeypatch.setattr(machine, "Path", lambda _: SimpleNamespace(exists=lambda: present))
    found = check_accelerator(wanted, LOCAL)
    assert found.level is level
    assert text in str(found)


def test_hints_of_beams_own_flag() -> None:
    assert check_hints(None, None, PipelineOptions(["--resource_hints=min_ram=32GB"])).found == "min_ram=32GB"
    assert check_hints(None, None, PipelineOptions(["--resource_hints=min_ram=32"])).level is Level.FAIL
    assert check_hints(None, None, PipelineOptions(["--resource_hints=ram=32GB"])).level is Level.FAIL
    assert check_hints("t9", None, LOCAL).level is Level.FAIL


def test_the_temporary_folder_is_looked_at() -> None:
    assert Path(check_disk().found.rpartition(" in ")[2]).is_dir()
