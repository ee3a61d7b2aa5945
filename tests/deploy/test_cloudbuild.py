"""The build file: its steps build the Dockerfiles, in an order that works, and push what others name."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.doctor import command
from pipelines.doctor.finding import Level

DEPLOY = Path(__file__).parents[2] / "deploy"
BUILD: dict[str, Any] = yaml.safe_load((DEPLOY / "cloudbuild.yaml").read_text())
STEPS = {step["id"]: step for step in BUILD["steps"]}
IMAGES = sorted(path.name.removesuffix(".Dockerfile") for path in (DEPLOY / "images").iterdir())


def test_a_file_that_was_never_run_says_so() -> None:
    assert (DEPLOY / "cloudbuild.yaml").read_text().startswith("# Not run where it was written")


@pytest.mark.parametrize("image", IMAGES)
def test_every_dockerfile_is_built_tagged_and_pushed(image: str) -> None:
    step, name = STEPS[image], f"${{_IMAGES}}/{image}:${{_TAG}}"
    assert step["args"][0] == "build"
    assert step["args"][-1] == "."
    assert f"--file=deploy/images/{image}.Dockerfile" in step["args"]
    assert f"--tag={name}" in step["args"]
    assert name in BUILD["images"]


def test_nothing_else_is_pushed() -> None:
    assert len(BUILD["images"]) == len(IMAGES)


def test_steps_wait_for_what_they_use() -> None:
    order = [*STEPS]
    for number, (name, step) in enumerate(STEPS.items()):
        for other in set(step["waitFor"]) - {"-"}:
            assert order.index(other) < number, name
    assert STEPS["launcher"]["waitFor"] == ["cpu-worker"]
    assert "--build-arg=CPU_WORKER=${_IMAGES}/cpu-worker:${_TAG}" in STEPS["launcher"]["args"]
    assert "ARG CPU_WORKER\n" in (DEPLOY / "images/launcher.Dockerfile").read_text()


def test_every_substitution_is_defined_or_asked_for() -> None:
    used = set(re.findall(r"\$\{(_?\w+)\}", (DEPLOY / "cloudbuild.yaml").read_text()))
    assert used - {"PROJECT_ID"} - set(BUILD["substitutions"]) == {"_TAG"}
    assert BUILD["options"]["dynamicSubstitutions"] is True
    readme = (DEPLOY / "README.md").read_text()
    assert "--substitutions _TAG=$TAG,_REGION=$REGION" in readme


def test_the_check_step_is_the_doctors_and_sees_a_wrong_tag() -> None:
    step = STEPS["check"]
    assert (step["entrypoint"], step["args"][0]) == ("q1net", "doctor")
    flags = [flag.replace("${_REGION}", "europe-west4").replace("${_IMAGES}", "r") for flag in step["args"][1:]]
    for tag, worst in (("0.0.0-beam0-py3.11", Level.FAIL), (re.search(r"TAG=(\S+)", readme_of())[1], Level.OK)):  # type: ignore[index]
        findings = command.examine([flag.replace("${_TAG}", tag) for flag in flags])
        levels = {finding.check: finding.level for finding in findings}
        assert (levels["image"], levels["engine"]) == (worst, Level.OK)


def readme_of() -> str:
    return (DEPLOY / "README.md").read_text()
