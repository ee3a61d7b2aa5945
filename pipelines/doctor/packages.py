"""Whether Python, the packages, the packaged weights and the workers' image are those that q1net was tested with."""

import re
import sys
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement

from pipelines.doctor.finding import Finding, fail, ok, warn
from q1net_core import __version__
from q1net_core.errors import WeightsError
from q1net_core.settings import EstimatorSettings

PYTHON = ((3, 11), (3, 13))
# What the tests run with: the same versions as in deploy/requirements.
TESTED = {
    "apache-beam": "2.77.0",
    "tensorflow": "2.21.0",
    "keras": "3.15.1",
    "numpy": "2.4.6",
    "pillow": "12.3.0",
    "pyarrow": "25.0.1",
}
# A worker's image is named after what it has: gpu-worker:0.1.0-beam2.77.0-py3.11
TAG = re.compile(r":(?P<q1net>[\w.]+)-beam(?P<beam>[\d.]+)-py(?P<python>\d+\.\d+)(@.*)?$")


def check_python() -> Finding:
    """The interpreter's version is one that q1net supports."""
    lowest, highest = (".".join(map(str, bound)) for bound in PYTHON)
    found = f"Python {sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}"
    if PYTHON[0] <= sys.version_info[:2] <= PYTHON[1]:
        return ok("python", found)
    return fail("python", found, f"install Python {lowest} to {highest}")


def check_packages() -> list[Finding]:
    """Each package that q1net requires is there, within its bounds, and of the tested version."""
    try:
        required = [Requirement(line) for line in requires("q1net") or []]
    except PackageNotFoundError:
        return [fail("packages", "q1net is not installed in this Python", "pip install . in its folder")]
    problems = [
        problem
        for requirement in required
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        for problem in check_package(requirement)
    ]
    return problems or [ok("packages", ", ".join(f"{name} {version(name)}" for name in TESTED))]


def check_package(requirement: Requirement) -> list[Finding]:
    """What is wrong with one package; nothing if it is as tested."""
    name = requirement.name
    try:
        found = version(name)
    except PackageNotFoundError:
        return [fail("packages", f"{name} is not installed", f"pip install '{requirement}'")]
    if not requirement.specifier.contains(found, prereleases=True):
        return [fail("packages", f"{name} is {found}", f"pip install '{requirement}'")]
    if name in TESTED and found != TESTED[name]:
        return [
            warn("packages", f"{name} is {found}", f"tested with {TESTED[name]}: pip install '{name}=={TESTED[name]}'")
        ]
    return []


def check_weights() -> Finding:
    """The packaged weights are there, and what their cards say."""
    try:
        files = EstimatorSettings().read_weights()
    except WeightsError as error:
        return fail("weights", str(error), "install q1net again")
    return ok("weights", ", ".join(f"{source} {file.sha256[:12]}" for source, file in files.items()))


def check_image(image: str | None) -> list[Finding]:
    """The tag of the workers' image names the versions of this machine, which pickles what they unpickle."""
    if not image:
        return []
    here = {
        "q1net": __version__,
        "beam": version("apache-beam"),
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
    }
    tag = "{q1net}-beam{beam}-py{python}".format(**here)
    found = TAG.search(image)
    if not found:
        return [
            warn("image", f"{image} does not tell its versions", f"expected a tag {tag}, as cloudbuild.yaml gives it")
        ]
    there = {name: found[name] for name in here}
    different = [f"{name} {there[name]} there, {here[name]} here" for name in here if there[name] != here[name]]
    if different:
        return [fail("image", f"{image}: {', '.join(different)}", f"build the image of this version, tag {tag}")]
    return [ok("image", image)]
