"""Dockerfiles, as far as they can be read: bases, pinned installs, checks, entry points; they agree with each other."""

import re
from pathlib import Path

import pytest
from packaging.version import Version

from pipelines.runtime.local import BEAM

ROOT = Path(__file__).parents[2]
FILES = {path.name.removesuffix(".Dockerfile"): path for path in sorted((ROOT / "deploy/images").glob("*.Dockerfile"))}
WORKERS = ("cpu-worker", "gpu-worker")


def instructions(image: str) -> list[tuple[str, str]]:
    """Pairs such as ("FROM", "python:3.11"), continued lines joined, comments left out."""
    text = FILES[image].read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(name, " ".join(rest.split())) for name, _, rest in (line.partition(" ") for line in lines)]


def of_kind(image: str, kind: str) -> list[str]:
    return [rest for name, rest in instructions(image) if name == kind]


def locked(image: str, package: str) -> str:
    found = re.search(rf"^{package}==(\S+)", (ROOT / f"deploy/requirements/{image}.txt").read_text(), re.M)
    assert found is not None
    return found[1]


def test_the_images_are_three() -> None:
    assert list(FILES) == ["cpu-worker", "gpu-worker", "launcher"]


@pytest.mark.parametrize("image", FILES)
def test_a_file_that_was_never_built_says_so(image: str) -> None:
    assert FILES[image].read_text().startswith("# Not built where it was written")


@pytest.mark.parametrize("image", FILES)
def test_only_known_instructions_are_used(image: str) -> None:
    assert {name for name, _ in instructions(image)} <= {"ARG", "FROM", "ENV", "WORKDIR", "COPY", "RUN", "ENTRYPOINT"}


@pytest.mark.parametrize("image", FILES)
def test_what_is_copied_exists(image: str) -> None:
    sources = [rest.split()[:-1] for rest in of_kind(image, "COPY") if not rest.startswith("--from=")]
    assert sources
    assert [name for names in sources for name in names if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("image", WORKERS)
def test_the_boot_program_is_of_the_pinned_beam(image: str) -> None:
    beam, base = of_kind(image, "FROM")
    python = re.fullmatch(r"python:(\d+\.\d+)-slim-bookworm", base)
    assert python is not None
    assert beam == f"apache/beam_python{python[1]}_sdk:{locked(image, 'apache-beam')} AS beam"
    assert locked(image, "apache-beam").startswith(BEAM)
    assert "--from=beam /opt/apache/beam /opt/apache/beam" in of_kind(image, "COPY")
    assert of_kind(image, "ENTRYPOINT") == ['["/opt/apache/beam/boot"]']


@pytest.mark.parametrize("image", WORKERS)
def test_the_closure_is_installed_by_hash_and_checked(image: str) -> None:
    closure, package = of_kind(image, "RUN")
    assert f"deploy/requirements/{image}.txt requirements.txt" in of_kind(image, "COPY")
    assert closure == "pip install --require-hashes --no-deps --requirement requirements.txt"
    assert package == "pip install --no-deps --no-build-isolation . && pip check && q1net doctor"
    # Without isolation the package is built with the closure's own tools.
    assert Version(locked(image, "setuptools")) >= Version("80")


@pytest.mark.parametrize("image", WORKERS)
def test_all_that_setup_reads_is_there(image: str) -> None:
    copied = " ".join(of_kind(image, "COPY")).split()
    needed = ["setup.py", "pyproject.toml", "README.md", "LICENSE", "NOTICE", "q1net_core", "pipelines", "training"]
    assert [name for name in needed if name not in copied] == []


def test_only_the_gpu_worker_looks_for_the_driver() -> None:
    assert "/usr/local/nvidia/lib64" in " ".join(of_kind("gpu-worker", "ENV"))
    assert "nvidia" not in " ".join(of_kind("cpu-worker", "ENV"))


def test_the_launcher_starts_from_the_worker_and_runs_the_template() -> None:
    assert of_kind("launcher", "FROM")[-1] == "${CPU_WORKER}"
    (place,) = [rest.split()[-1] for rest in of_kind("cpu-worker", "WORKDIR")]
    (script,) = [rest.split() for rest in of_kind("launcher", "COPY") if not rest.startswith("--from=")]
    assert script[0] == "deploy/template/launch.py"
    assert of_kind("launcher", "ENV") == [f"FLEX_TEMPLATE_PYTHON_PY_FILE={place}/{script[1]}"]
    program = "/opt/google/dataflow/python_template_launcher"
    assert f"--from=launcher {program} {program}" in of_kind("launcher", "COPY")
    assert of_kind("launcher", "ENTRYPOINT") == [f'["{program}"]']
