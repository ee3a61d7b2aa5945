"""Dataflow's job graph, built offline: images, hints, fusion, packaging; options, checked before work starts."""

import re
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions, SetupOptions, WorkerOptions
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.portability.fn_api_runner import translations

from pipelines.audit.command import Run, build, make_transform, run
from pipelines.audit.config import make_parser, parse
from pipelines.runtime import dataflow
from pipelines.runtime.dataflow import (
    ACCELERATORS,
    DEFAULTS,
    INFERENCE_RAM,
    check_accelerator,
    find_accelerator,
    inference_hints,
    prepare_dataflow,
    steps_by_machine,
)
from pipelines.runtime.options import parse_flags
from pipelines.shards import command as shards
from q1net_core.errors import ConfigError

IMAGE = "europe-west4-docker.pkg.dev/project/q1net/gpu-worker:1"
JOB = ["--runner=DataflowRunner", "--project=project", "--region=europe-west4", "--temp_location=gs://bucket/temp"]
PACKAGED = [*JOB, f"--sdk_container_image={IMAGE}"]
AUDIT = ["gs://bucket/photos/**", "--output=gs://bucket/runs"]
NETWORKS = ("q1net-k8", "q1net-k8-robust")
DECODING = ("ReadImages", "SamplePatches")

Pipeline = beam_runner_api_pb2.Pipeline


def make_graph(*flags: str) -> Pipeline:
    config, options = parse([*AUDIT, *PACKAGED, "--dry-run", *flags])
    planned = Run("gs://bucket/runs/run_id=x", ["gs://bucket/runs/run_id=x/_inputs/inputs-00000.parquet"], 250_000)
    transform = make_transform(config, options)
    return dataflow.dry_run(lambda root: build(root, config, planned, transform), options)


@pytest.fixture(scope="module", params=[*ACCELERATORS, "none"])
def accelerator(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def graph(accelerator: str) -> Pipeline:
    return make_graph(*([] if accelerator == "none" else [f"--accelerator={accelerator}"]))


def leaves(graph: Pipeline) -> Iterator[tuple[str, Any]]:
    for key, transform in graph.components.transforms.items():
        if not transform.subtransforms:
            yield key, transform


def hinted(graph: Pipeline) -> set[str]:
    """Names of the steps with resource hints."""
    return {name for (_, hints), names in steps_by_machine(graph).items() if hints for name in names}


def test_every_step_runs_in_the_image_that_was_given(graph: Pipeline) -> None:
    assert {image for image, _ in steps_by_machine(graph)} == {IMAGE}
    assert all(environment.urn == "beam:env:docker:v1" for environment in graph.components.environments.values())
    assert sum(map(len, steps_by_machine(graph).values())) > 30


def test_hints_are_on_inference_alone(graph: Pipeline, accelerator: str) -> None:
    inference = {name for _, names in steps_by_machine(graph).items() for name in names if "/EstimateQuality " in name}
    assert len(inference) >= 2 * len(NETWORKS)
    assert all(any(f"EstimateQuality {network}/" in name for name in inference) for network in NETWORKS)
    assert any("BatchElements" in name for name in inference)
    assert hinted(graph) == (set() if accelerator == "none" else inference)


def test_hints_are_those_of_the_table(graph: Pipeline, accelerator: str) -> None:
    expected = {()}
    if accelerator != "none":
        expected |= {(f"accelerator={ACCELERATORS[accelerator]}", f"min_ram={INFERENCE_RAM}")}
    assert {hints for _, hints in steps_by_machine(graph)} == expected


def test_decoding_is_never_fused_with_inference(graph: Pipeline) -> None:
    """Not even by an engine that ignores hints: then all environments are one and every neighbour may be fused."""
    blind = Pipeline()
    blind.CopyFrom(graph)
    one = next(iter(blind.components.environments))
    for transform in blind.components.transforms.values():
        if transform.environment_id:
            transform.environment_id = one
    fused = 0
    for names in fused_stages(blind):
        inference = any("/EstimateQuality " in name for name in names)
        decoding = any(f"/{step}/" in name for step in DECODING for name in names)
        assert not (inference and decoding), names
        fused += len(names) > 1
    assert fused > 1


def test_without_the_reshuffle_decoding_would_be_fused_with_inference() -> None:
    config, options = parse([*AUDIT, *PACKAGED, "--dry-run"])
    transform = make_transform(config, options)
    transform.redistribute = False
    planned = Run("gs://bucket/r", ["gs://bucket/r/i"], 1)
    graph = dataflow.dry_run(lambda root: build(root, config, planned, transform), options)
    assert any(
        any("/EstimateQuality " in name for name in names) and any("/SamplePatches/" in name for name in names)
        for names in fused_stages(graph)
    )


def fused_stages(graph: Pipeline) -> list[list[str]]:
    """The names of the steps of each stage, fused as eagerly as Beam's own optimizer does."""
    phases = [translations.lift_combiners, translations.expand_gbk, translations.expand_sdf, translations.greedily_fuse]
    known = frozenset({"beam:transform:group_by_key:v1", "beam:transform:impulse:v1", "beam:transform:flatten:v1"})
    _, stages = translations.create_and_optimize_stages(graph, phases, known_runner_urns=known)
    return [[transform.unique_name for transform in stage.transforms] for stage in stages]


def test_nothing_is_shipped_but_a_list_of_versions(graph: Pipeline) -> None:
    """No main session, no package and no Beam: all of it is in the image."""
    for environment in graph.components.environments.values():
        roles = [artifact.role_payload.decode().strip() for artifact in environment.dependencies]
        assert [re.sub(r"\W", "", role) for role in roles] == ["submission_environment_dependenciestxt"]


def test_the_graph_is_far_below_the_services_limit(graph: Pipeline) -> None:
    assert graph.ByteSize() < 200_000


def test_the_setup_file_is_shipped_where_there_is_no_image_of_our_own() -> None:
    _, options = parse([*AUDIT, *JOB, "--setup_file=./setup.py"])
    setup = options.view_as(SetupOptions)
    assert (setup.setup_file, setup.save_main_session, setup.sdk_location) == ("./setup.py", False, "default")


def test_options_left_open_are_set() -> None:
    _, options = parse([*AUDIT, *PACKAGED])
    workers, setup = options.view_as(WorkerOptions), options.view_as(SetupOptions)
    assert (
        {name: getattr(workers, name) for name in DEFAULTS} == DEFAULTS == {"max_num_workers": 20, "disk_size_gb": 50}
    )
    assert (setup.save_main_session, setup.sdk_location) == (False, "container")


def test_options_given_are_kept() -> None:
    given = ["--max_num_workers=3", "--disk_size_gb=100", "--save_main_session", "--sdk_location=x.whl"]
    _, options = parse([*AUDIT, *PACKAGED, *given])
    workers, setup = options.view_as(WorkerOptions), options.view_as(SetupOptions)
    assert (workers.max_num_workers, workers.disk_size_gb, setup.sdk_location) == (3, 100, "x.whl")
    # But a main session is never pickled: nothing is in it.
    assert setup.save_main_session is False


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--project=", "--project is ''; expected the id of a project"),
        ("--region=europe", "--region is 'europe'; expected a region"),
        ("--temp_location=gs://b/tmp", "--temp_location is 'gs://b/tmp'; expected a folder of a bucket"),
        ("--temp_location=/tmp", "--temp_location is '/tmp'; expected a folder of a bucket"),
        ("--service_account_email=me@example.org", "expected an address such as q1net-worker@"),
        ("--subnetwork=default", "--subnetwork is 'default'; expected regions/REGION/subnetworks/NAME"),
        ("--sdk_container_image=", "the workers would have no q1net: give --sdk_container_image IMAGE"),
    ],
)
def test_an_option_that_would_fail_later_is_refused_at_once(flag: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        parse([*AUDIT, *PACKAGED, flag])


@pytest.mark.parametrize(
    "flag",
    [
        "--service_account_email=q1net-worker@my-project.iam.gserviceaccount.com",
        "--subnetwork=regions/europe-west4/subnetworks/private",
        "--subnetwork=https://www.googleapis.com/compute/v1/projects/host/regions/europe-west4/subnetworks/private",
        "--no_use_public_ips",
        "--worker_machine_type=n2-standard-8",
        "--temp_location=gs://bucket.with-dots_1/",
    ],
)
def test_good_options_are_accepted(flag: str) -> None:
    parse([*AUDIT, *PACKAGED, flag])


@pytest.mark.parametrize("option", ["project", "region", "temp_location"])
def test_an_option_that_is_required_is_asked_for(option: str) -> None:
    flags = [flag for flag in PACKAGED if not flag.startswith(f"--{option}=")]
    with pytest.raises(ConfigError, match=f"--{option} is None; expected"):
        prepare_dataflow(PipelineOptions(flags))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([*JOB, "--setup_file=./setup.py"], "--accelerator needs workers with CUDA"),
        ([*PACKAGED, "--dataflow_service_options=worker_accelerator=type:nvidia-l4"], "exclude each other"),
        ([*PACKAGED, "--flexrs_goal=COST_OPTIMIZED"], "--flexrs_goal is COST_OPTIMIZED, which has no accelerators"),
    ],
)
def test_an_accelerator_that_could_not_be_used_is_refused(flags: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_accelerator(PipelineOptions(flags))
    config, options = parse([*AUDIT, *flags, "--accelerator=t4"])
    with pytest.raises(ConfigError, match=message):
        make_transform(config, options)


def test_accelerators_by_name_or_hint() -> None:
    assert find_accelerator("T4") == ACCELERATORS["t4"]
    assert "nvidia-tesla-t4" in ACCELERATORS["t4"]
    assert "machine_type:n1-" in ACCELERATORS["t4"]
    assert "nvidia-l4" in ACCELERATORS["l4"]
    assert "machine_type:g2-" in ACCELERATORS["l4"]
    own = "type:nvidia-tesla-a100;count:2;machine_type:a2-highgpu-2g;install-nvidia-driver:5xx;use_nvidia_mps"
    assert find_accelerator(own) == own


@pytest.mark.parametrize("name", ["t5", "type:;count:1", "type:x", "type:x;count:many", "type:x;count:1;driver"])
def test_an_accelerator_that_is_misspelt_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"accelerator is {name!r}; expected t4 or l4, or a hint")):
        parse([*AUDIT, f"--accelerator={name}"])


def test_memory_of_inference() -> None:
    assert inference_hints(None, None) == {}
    assert inference_hints(None, "30GB") == {"min_ram": "30GB"}
    assert inference_hints("l4", "30GB") == {"accelerator": ACCELERATORS["l4"], "min_ram": "30GB"}
    with pytest.raises(ConfigError, match="inference_ram is '12'; expected a size with its unit, such as 12GB"):
        parse([*AUDIT, "--inference-ram=12"])


def test_the_dry_run_shows_which_steps_run_where(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*AUDIT, *PACKAGED, "--dry_run", "--accelerator=l4", "--inference-ram=20GB"]) == 0
    plain, gpu = capsys.readouterr().out.split(f"accelerator={ACCELERATORS['l4']}; min_ram=20GB (image {IMAGE})\n")
    assert plain.startswith(f"plain workers (image {IMAGE})\n")
    assert plain.index("/ReadImages") < plain.index("/SamplePatches") < plain.index("  Commit/")
    *steps, size = gpu.splitlines()
    assert steps == [f"  EstimateImages/EstimateQuality {network}" for network in NETWORKS]
    assert re.fullmatch(r"job graph: \d+ kB; the service takes 10 MB", size)


def test_a_dry_run_is_for_dataflow_and_for_one_pipeline(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*AUDIT, "--dry-run"]) == 2
    assert "--dry-run is for --runner=DataflowRunner" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="q1net shards has no --dry_run"):
        parse_flags(shards.make_parser(), ["--images=a", "--output=b", *PACKAGED, "--dry_run=True"])
    with pytest.raises(ConfigError, match="q1net shards has no --template_location"):
        parse_flags(shards.make_parser(), ["--images=a", "--output=b", *PACKAGED, "--template_location=gs://b/t"])
    _, options = parse_flags(make_parser(), [*AUDIT, *PACKAGED, "--dry_run"])
    assert options.get_all_options()["dry_run"] is True


def test_a_graph_of_other_hints_is_described() -> None:
    _, options = parse([*AUDIT, *PACKAGED, "--dry-run"])
    step = beam.Map(print).with_resource_hints(cpu_count="4")
    graph = dataflow.dry_run(lambda root: root | beam.Create([1]) | step, options)
    assert ("cpu_count=4",) in {hints for _, hints in steps_by_machine(graph)}
