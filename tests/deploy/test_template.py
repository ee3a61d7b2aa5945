"""The Flex Template: its parameters are the command's flags, the API's own types take it, its launcher's code runs."""

import copy
import json
import re
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
from google.cloud.dataflow_v1beta3.types import ContainerSpec

from pipelines.audit.config import make_parser, parse
from pipelines.runtime.options import beam_parser
from pipelines.runtime.template import LEFT_OUT, describe_command, to_command_line

FOLDER = Path(__file__).parents[2] / "deploy/template"
METADATA: dict[str, Any] = json.loads((FOLDER / "metadata.json").read_text())
PARAMETERS = {parameter["name"]: parameter for parameter in METADATA["parameters"]}
# What a launcher adds to the parameters.
LAUNCHER = [
    "--runner=DataflowRunner",
    "--project=project",
    "--region=europe-west4",
    "--temp_location=gs://bucket/temp",
    "--staging_location=gs://bucket/temp/staging",
    "--job_name=archive-1",
]
# A value that each pattern must take, and values that it must refuse.
SAMPLES = {
    "inputs": (["gs://a/b/**", "gs://a/x gs://a/y"], ["", "gs://a\ngs://b"]),
    "output": (["gs://bucket/runs"], ["runs", "s3://bucket/runs", "gs://"]),
    "manifest": (["gs://bucket/images.csv", "gs://b/i.parquet"], ["images.csv", "s3://bucket/images.csv"]),
    "sdk_container_image": (["europe-docker.pkg.dev/p/q1net/gpu-worker:1"], ["gpu-worker", "a b:1"]),
}


def to_spec(metadata: dict[str, Any]) -> str:
    return json.dumps({"image": "registry/launcher:1", "metadata": metadata, "sdkInfo": {"language": "PYTHON"}})


def test_every_flag_of_the_command_is_a_parameter() -> None:
    strings = [flag for action in make_parser()._actions for flag in action.option_strings if flag.startswith("--")]
    flags = {flag.removeprefix("--").replace("-", "_") for flag in strings}
    assert flags >= set(LEFT_OUT)
    assert PARAMETERS.keys() == flags - set(LEFT_OUT) | {"inputs", "sdk_container_image"}
    assert "sdk_container_image" in vars(beam_parser().parse_args([]))


def test_the_api_takes_the_template() -> None:
    spec = ContainerSpec.from_json(to_spec(METADATA), ignore_unknown_fields=False)
    assert len(spec.metadata.parameters) == len(PARAMETERS) > 15
    assert spec.sdk_info.language.name == "PYTHON"


@pytest.mark.parametrize(("field", "value"), [("helptext", "x"), ("paramType", "STRING"), ("isOptional", "maybe")])
def test_the_api_would_not_take_a_mistake(field: str, value: str) -> None:
    broken = copy.deepcopy(METADATA)
    broken["parameters"][0][field] = value
    with pytest.raises(Exception, match=r"Failed to parse|no field named"):
        ContainerSpec.from_json(to_spec(broken), ignore_unknown_fields=False)


def test_only_what_every_job_needs_must_be_given() -> None:
    assert {name for name, about in PARAMETERS.items() if not about["isOptional"]} == {"output", "sdk_container_image"}
    kinds = {name: about["paramType"] for name, about in PARAMETERS.items()}
    assert (kinds["output"], kinds["manifest"]) == ("GCS_WRITE_FOLDER", "GCS_READ_FILE")
    assert (kinds["cascade"], kinds["max_bytes"], kinds["fusion"]) == ("BOOLEAN", "NUMBER", "ENUM")
    assert all(about["label"] and about["helpText"] for about in PARAMETERS.values())


def test_patterns_take_good_values_and_refuse_others() -> None:
    patterns = {name: about["regexes"] for name, about in PARAMETERS.items() if "regexes" in about}
    assert patterns.keys() == SAMPLES.keys()
    for name, (good, bad) in SAMPLES.items():
        (pattern,) = patterns[name]
        assert [value for value in good if not re.fullmatch(pattern, value)] == []
        assert [value for value in bad if re.fullmatch(pattern, value)] == []


def test_parameters_become_the_commands_flags() -> None:
    passed = ["--inputs=gs://b/a gs://b/c", "--output=gs://b/r", "--group_column=", "--cascade=true", "--resume=false"]
    passed += ["--max_bytes=1000", "--accelerator=t4", "--sdk_container_image=r/worker:1", *LAUNCHER]
    line = to_command_line(make_parser(), passed)
    assert line[:5] == ["gs://b/a", "gs://b/c", "--output=gs://b/r", "--cascade", "--max-bytes=1000"]
    config, options = parse(line)
    assert config.inputs == ("gs://b/a", "gs://b/c")
    assert (config.settings.cascade, config.settings.max_bytes, config.resume) == (True, 1000, False)
    assert options.get_all_options()["job_name"] == "archive-1"


def test_every_parameter_can_be_passed() -> None:
    """Each alone, with its default or a fitting value, as the launcher passes it."""
    values = {"NUMBER": "16", "BOOLEAN": "true", "TEXT": "(a)"}
    given = {"accelerator": "l4", "inference_ram": "20GB", "weights": "q1net-k8", "estimators": "lattice"}
    given |= {"max_failure_ratio": "0.5", "patches": "auto"}
    beside = {"group_column": "--manifest=gs://b/m.csv", "carry": "--manifest=gs://b/m.csv"}
    beside["partition_by_group"] = "--group=(a)"
    assert set(beside) <= set(PARAMETERS)
    for name in PARAMETERS.keys() - {"inputs", "output", "manifest", "sdk_container_image"}:
        about = PARAMETERS[name]
        choices = [option["value"] for option in about.get("enumOptions", [])]
        value = given.get(name) or (choices or [values[about["paramType"]]])[0]
        more = [beside[name]] if name in beside else []
        if not any(flag.startswith("--manifest") for flag in more):
            more.append("--inputs=gs://b/a")
        passed = [*more, "--output=gs://b/r", "--sdk_container_image=r/w:1", *LAUNCHER, f"--{name}={value}"]
        parse(to_command_line(make_parser(), passed))


def test_the_launchers_command_builds_the_graph(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    passed = ["--inputs=gs://bucket/photos/**", "--output=gs://bucket/runs", "--accelerator=t4", "--threshold="]
    monkeypatch.setattr(sys, "argv", ["launch.py", *passed, "--sdk_container_image=r/gpu:1", *LAUNCHER, "--dry_run"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(FOLDER / "launch.py"), run_name="__main__")
    assert ended.value.code == 0
    assert "accelerator=type:nvidia-tesla-t4" in capsys.readouterr().out


def test_what_means_nothing_on_dataflow_is_left_out() -> None:
    described = describe_command(make_parser())
    assert {parameter["name"] for parameter in described["parameters"]}.isdisjoint(LEFT_OUT)
