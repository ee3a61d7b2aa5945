"""Versions against the tested set; the image's tag against this machine."""

import sys
from importlib.metadata import PackageNotFoundError, version
from types import SimpleNamespace

import pytest
from packaging.requirements import Requirement

from pipelines.doctor import packages
from pipelines.doctor.finding import Level
from pipelines.doctor.packages import TESTED, check_image, check_package, check_packages, check_python, check_weights
from q1net_core import __version__
from q1net_core.errors import WeightsError

TAG = f"{__version__}-beam{version('apache-beam')}-py{sys.version_info.major}.{sys.version_info.minor}"


def test_the_tested_set_is_within_the_bounds_of_the_package() -> None:
    bounds = {line.name: line for line in map(Requirement, packages.requires("q1net") or []) if not line.marker}
    assert TESTED.keys() <= bounds.keys()
    assert all(bounds[name].specifier.contains(tested) for name, tested in TESTED.items())


@pytest.mark.parametrize(
    ("installed", "level", "message"),
    [
        (TESTED["keras"], None, ""),
        ("3.15.99", Level.WARN, "keras is 3.15.99; tested with "),
        ("3.14.0", Level.FAIL, "keras is 3.14.0; pip install 'keras<3.16,>=3.15'"),
        (None, Level.FAIL, "keras is not installed; pip install 'keras<3.16,>=3.15'"),
    ],
)
def test_a_package_against_bounds_and_tested_version(
    installed: str | None, level: Level | None, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def version_of(name: str) -> str:
        if installed is None:
            raise PackageNotFoundError(name)
        return installed

    monkeypatch.setattr(packages, "version", version_of)
    found = check_package(Requirement("keras>=3.15,<3.16"))
    assert [finding.level for finding in found] == ([] if level is None else [level])
    assert message in " ".join(map(str, found))


def test_a_folder_of_code_is_not_an_installed_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> list[str]:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(packages, "requires", missing)
    (found,) = check_packages()
    assert (found.level, found.mend) == (Level.FAIL, "pip install . in its folder")


@pytest.mark.parametrize(
    ("numbers", "level"), [((3, 10, 1), Level.FAIL), ((3, 12, 0), Level.OK), ((3, 14, 0), Level.FAIL)]
)
def test_the_interpreter(numbers: tuple[int, int, int], level: Level, monkeypatch: pytest.MonkeyPatch) -> None:
    class Numbers(tuple[int, int, int]):
        major, minor, micro = numbers

    monkeypatch.setattr(packages, "sys", SimpleNamespace(version_info=Numbers(numbers)))
    assert check_python().level is level


def test_broken_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_weights().level is Level.OK

    def broken(_: object) -> None:
        raise WeightsError("weights of q1net-k8 are damaged")

    monkeypatch.setattr(packages.EstimatorSettings, "read_weights", broken)
    assert str(check_weights()) == "fail  weights      weights of q1net-k8 are damaged; install q1net again"


@pytest.mark.parametrize(
    ("image", "level"),
    [
        (f"europe-docker.pkg.dev/p/q1net/gpu-worker:{TAG}", Level.OK),
        (f"localhost:5000/gpu-worker:{TAG}@sha256:{'0' * 64}", Level.OK),
        ("gpu-worker:latest", Level.WARN),
        ("gpu-worker", Level.WARN),
        (f"gpu-worker:{TAG}".replace("-py3.", "-py2."), Level.FAIL),
    ],
)
def test_an_image_is_known_by_its_tag(image: str, level: Level) -> None:
    (found,) = check_image(image)
    assert found.level is level
    assert check_image(None) == []
