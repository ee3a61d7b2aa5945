"""The wheel, which is what Dataflow's workers install: it holds every module and data file, and it audits."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from zipfile import ZipFile

import pytest
from rooms import PACKAGES, ROOT

# Nothing but the tree of a checkout: no leftovers of earlier builds, which would come in.
COPIED = (*PACKAGES, "setup.py", "pyproject.toml", "README.md", "LICENSE", "NOTICE")
PHOTOGRAPH = "tests/photographs/camera/hats.jpg"


def run(*command: str | Path, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tree, output = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("wheel")
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, tree / name)
    pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation")
    run(*pip, "--wheel-dir", output, tree, cwd=tree)
    (built,) = output.glob("q1net-*.whl")
    return built


def test_the_wheel_holds_every_module_and_data_file(wheel: Path) -> None:
    expected = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    held = {name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert held == expected
    assert any(name.endswith(".keras") for name in held)


def test_the_installed_wheel_audits_a_photograph(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    run(sys.executable, "-m", "pip", "--quiet", "--python", python, "install", "--no-deps", wheel, cwd=tmp_path)
    # The requirements of q1net come from this environment. A folder named in a .pth file gives its packages, but none
    # that it has by .pth files of its own, such as this checkout.
    (site,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    (site / "requirements.pth").write_text(sysconfig.get_path("purelib") + "\n")
    where = run(python, "-c", "import q1net_core; print(q1net_core.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(site)
    command = (python.with_name("q1net"), "audit", ROOT / PHOTOGRAPH, "--output", "runs", "--workers", "1")
    printed = run(*command, cwd=tmp_path)
    image, status, *_, verdict = printed.splitlines()[2].split()
    assert (image, status, verdict) == ("hats.jpg", "ok", "single")
    assert list((tmp_path / "runs").glob("run_id=*/_run.json"))
