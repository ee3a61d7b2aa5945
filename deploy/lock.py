"""Write the images' requirements: every package of their closures, pinned, with the sha256 of its wheel.

    python deploy/lock.py        # with the Python of the images, on Linux x86-64; pip asks the package index

pip's own resolver chooses; nothing is installed. The images install the files with --require-hashes.
"""

import ast
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "deploy" / "requirements"
# Image -> extras of q1net, and what else is in it. The launcher starts from the CPU worker.
IMAGES = {
    "cpu-worker": (("gcp", "s3"), ()),
    "gpu-worker": (("gcp", "s3"), ("tensorflow[and-cuda]",)),
}
PYTHON = "3.11"


def read_setup() -> dict[str, Any]:
    """The arguments of setup.py that are plain values: ``install_requires``, ``extras_require``."""
    call = next(
        node
        for node in ast.walk(ast.parse((ROOT / "setup.py").read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "setup"
    )
    wanted = ("install_requires", "extras_require")
    return {word.arg: ast.literal_eval(word.value) for word in call.keywords if word.arg in wanted}


def requirements_of(image: str) -> list[str]:
    """What an image asks for by name: the package's own requirements, those of its extras, and its own."""
    extras, more = IMAGES[image]
    setup = read_setup()
    return [*setup["install_requires"], *(line for extra in extras for line in setup["extras_require"][extra]), *more]


def resolve(requirements: list[str]) -> dict[str, tuple[str, str]]:
    """Name -> version and sha256 of the wheel, of everything that these requirements need."""
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        options = ["--dry-run", "--ignore-installed", "--only-binary=:all:", "--quiet", f"--report={report.name}"]
        # Its only release is a source archive, and Beam requires it.
        options += [f"--no-binary={name}" for name in ("google-apitools",)]
        subprocess.run([sys.executable, "-m", "pip", "install", *options, *requirements], check=True)
        packages = json.loads(Path(report.name).read_text())["install"]
    return {
        normalize(package["metadata"]["name"]): (
            package["metadata"]["version"],
            package["download_info"]["archive_info"]["hashes"]["sha256"],
        )
        for package in packages
    }


def normalize(name: str) -> str:
    """A distribution's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def render(image: str, packages: dict[str, tuple[str, str]]) -> str:
    """The lines of a requirements file."""
    head = f"# Made by deploy/lock.py for Python {PYTHON} on Linux x86-64; the image {image}. Do not edit.\n"
    lines = (f"{name}=={version} --hash=sha256:{digest}" for name, (version, digest) in sorted(packages.items()))
    return head + "\n".join(lines) + "\n"


def main() -> None:
    """Write a file for each image."""
    if "{}.{}".format(*sys.version_info) != PYTHON:
        raise SystemExit(f"Python is {sys.version.split()[0]}; the images have {PYTHON}")
    FOLDER.mkdir(exist_ok=True)
    for image in IMAGES:
        (FOLDER / f"{image}.txt").write_text(render(image, resolve(requirements_of(image))))


if __name__ == "__main__":
    main()
