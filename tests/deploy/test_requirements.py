"""The locks of the images: pinned by hash, within the package's bounds, without gaps, of the tested versions."""

import importlib.util
import re
import sys
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from pipelines.doctor.packages import TESTED

DEPLOY = Path(__file__).parents[2] / "deploy"
LINE = re.compile(r"(?P<name>[a-z0-9-]+)==(?P<version>[\w.+!]+) --hash=sha256:[0-9a-f]{64}")


def load_script(path: Path) -> ModuleType:
    """A script of deploy/ as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


LOCK = load_script(DEPLOY / "lock.py")
IMAGES = [*LOCK.IMAGES]


def read_lock(image: str) -> dict[str, Version]:
    lines = [line for line in (DEPLOY / "requirements" / f"{image}.txt").read_text().splitlines() if line[0] != "#"]
    found = [LINE.fullmatch(line) for line in lines]
    assert all(found), lines
    return {line["name"]: Version(line["version"]) for line in found if line}


def applies(requirement: Requirement, extras: set[str]) -> bool:
    """Whether it is needed on the images' platform with these extras."""
    environment = {"python_version": "3.11", "python_full_version": "3.11.9", "sys_platform": "linux"}
    environment |= {"platform_machine": "x86_64", "platform_system": "Linux", "os_name": "posix"}
    marker = requirement.marker
    return marker is None or any(marker.evaluate({**environment, "extra": extra}) for extra in {"", *extras})


@pytest.mark.parametrize("image", IMAGES)
def test_every_package_is_pinned_once_by_hash(image: str) -> None:
    text = (DEPLOY / "requirements" / f"{image}.txt").read_text()
    names = [line.partition("==")[0] for line in text.splitlines()[1:]]
    assert names == sorted(set(names))
    assert len(read_lock(image)) == len(names) > 100
    assert f"the image {image}" in text.splitlines()[0]


@pytest.mark.parametrize("image", IMAGES)
def test_the_lock_satisfies_the_bounds_of_setup(image: str) -> None:
    lock = read_lock(image)
    wanted = [Requirement(line) for line in LOCK.requirements_of(image)]
    assert len(wanted) > 10
    unmet = [str(one) for one in wanted if not one.specifier.contains(lock.get(LOCK.normalize(one.name), Version("0")))]
    assert unmet == []


@pytest.mark.parametrize("image", IMAGES)
def test_the_lock_has_no_gaps(image: str) -> None:
    """What pinned packages require is pinned too, within bounds; those are asked that are installed here as pinned."""
    lock, looked_at, unmet = read_lock(image), 0, []
    waiting = [Requirement(line) for line in LOCK.requirements_of(image)]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        wanted = waiting.pop()
        name = LOCK.normalize(wanted.name)
        if (name, frozenset(wanted.extras)) in seen:
            continue
        seen.add((name, frozenset(wanted.extras)))
        if name not in lock or not wanted.specifier.contains(lock[name], prereleases=True):
            unmet.append(str(wanted))
        try:
            installed = version(name)
        except PackageNotFoundError:
            continue
        if lock.get(name) == Version(installed):
            looked_at += 1
            every = map(Requirement, requires(name) or [])
            waiting += [one for one in every if applies(one, set(wanted.extras))]
    assert unmet == []
    assert looked_at > 40


@pytest.mark.parametrize("image", IMAGES)
def test_the_images_have_what_the_doctor_calls_tested(image: str) -> None:
    lock = read_lock(image)
    assert {name: str(lock[name]) for name in TESTED} == TESTED


def test_only_the_gpu_worker_has_cuda() -> None:
    cuda = {image: [name for name in read_lock(image) if name.startswith("nvidia-")] for image in IMAGES}
    assert cuda["cpu-worker"] == []
    assert {"nvidia-cudnn-cu12", "nvidia-cuda-runtime-cu12"} <= set(cuda["gpu-worker"])
    shared = read_lock("cpu-worker")
    assert {name: found for name, found in read_lock("gpu-worker").items() if name in shared} == shared


def test_the_script_writes_what_it_reads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(LOCK, "FOLDER", tmp_path)
    monkeypatch.setattr(LOCK, "resolve", lambda wanted: {"b": ("2", "0" * 64), "a": ("1", "1" * 64)})
    monkeypatch.setattr(LOCK, "PYTHON", "{}.{}".format(*sys.version_info))
    LOCK.main()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"{image}.txt" for image in IMAGES)
    assert (tmp_path / "cpu-worker.txt").read_text().splitlines()[1:] == [
        f"a==1 --hash=sha256:{'1' * 64}",
        f"b==2 --hash=sha256:{'0' * 64}",
    ]
    monkeypatch.setattr(LOCK, "PYTHON", "2.7")
    with pytest.raises(SystemExit, match="the images have"):
        LOCK.main()
