"""Dataflow: accelerators for the network alone, options checked before anything is paid for, a job graph offline."""

import re
from collections import defaultdict
from collections.abc import Callable, Mapping

import apache_beam as beam
from apache_beam.options.pipeline_options import (
    GoogleCloudOptions,
    PipelineOptions,
    SetupOptions,
    WorkerOptions,
)
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.transforms.resources import ResourceHint, parse_resource_hints

from q1net_core.errors import ConfigError

ENGINE = "DataflowRunner"
# What --accelerator takes by name. A T4 is attached to N1 machines alone, an L4 is part of G2 machines alone; decoding
# stays on the job's own machine type.
ACCELERATORS = {
    "t4": "type:nvidia-tesla-t4;count:1;machine_type:n1-standard-4;install-nvidia-driver",
    "l4": "type:nvidia-l4;count:1;machine_type:g2-standard-4;install-nvidia-driver",
}
# Of a machine with an accelerator: one loaded model and a process for each of its four cores.
INFERENCE_RAM = "12GB"
HINT_PARTS = ("type", "count", "machine_type", "install-nvidia-driver", "use_nvidia_mps")

# Where Beam leaves the choice to the service, which would take hundreds of workers, and disks smaller than the images.
DEFAULTS = {"max_num_workers": 20, "disk_size_gb": 50}
# Option -> what its value must look like, and in words. With a wrong temp_location Beam asks for a bucket of its own.
REQUIRED = {
    "project": (r"[a-z][-a-z0-9:.]+[a-z0-9]", "the id of a project, such as my-project"),
    "region": (r"[a-z]+-[a-z]+\d+", "a region, such as europe-west4"),
    "temp_location": (r"gs://[a-z0-9][-_.a-z0-9]{1,61}[a-z0-9]/.*", "a folder of a bucket, such as gs://bucket/temp"),
}
OPTIONAL = {
    "service_account_email": (
        r"[a-z0-9-]+@[-a-z0-9.:]+\.gserviceaccount\.com",
        "an address such as q1net-worker@my-project.iam.gserviceaccount.com",
    ),
    "subnetwork": (
        r"(https://www\.googleapis\.com/compute/v1/projects/[^/]+/)?regions/[^/]+/subnetworks/[^/]+",
        "regions/REGION/subnetworks/NAME, or the same after https://www.googleapis.com/compute/v1/projects/PROJECT/",
    ),
}


def find_accelerator(name: str) -> str:
    """A name of ACCELERATORS, or a hint in Beam's own form, -> the hint.

    Raises:
        ConfigError: it is neither.
    """
    hint = ACCELERATORS.get(name.lower(), name)
    parts = {key: value for key, _, value in (part.partition(":") for part in hint.split(";"))}
    if not parts.get("type") or not parts.get("count", "").isdigit() or set(parts) - set(HINT_PARTS):
        raise ConfigError(
            f"accelerator is {name!r}; expected {' or '.join(ACCELERATORS)}, or a hint of the parts "
            f"{', '.join(HINT_PARTS)}, such as {ACCELERATORS['t4']!r}"
        )
    return hint


def inference_hints(accelerator: str | None, ram: str | None) -> dict[str, str]:
    """Beam's resource hints for the inference step; none on machines without accelerator, unless ``ram`` is given.

    Raises:
        ConfigError: a value that Beam or Dataflow would not understand.
    """
    hints = {"accelerator": find_accelerator(accelerator)} if accelerator else {}
    if ram or accelerator:
        hints["min_ram"] = ram or INFERENCE_RAM
    try:
        parse_resource_hints(hints)
    except ValueError as error:
        raise ConfigError(f"inference_ram is {ram!r}; expected a size with its unit, such as 12GB") from error
    return hints


def prepare_dataflow(options: PipelineOptions) -> None:
    """Check the options of a job on Dataflow and set what they leave open; nothing is asked of the network.

    Raises:
        ConfigError: an option is missing or malformed, or the workers would have no q1net.
    """
    values = options.get_all_options()
    for name, (pattern, expected) in {**REQUIRED, **OPTIONAL}.items():
        if (values[name] or name in REQUIRED) and not re.fullmatch(pattern, values[name] or ""):
            raise ConfigError(f"--{name} is {values[name]!r}; expected {expected}")
    workers, setup = options.view_as(WorkerOptions), options.view_as(SetupOptions)
    if not (workers.sdk_container_image or setup.setup_file or setup.extra_packages):
        raise ConfigError(
            "the workers would have no q1net: give --sdk_container_image IMAGE (deploy/README.md tells how to build "
            "one) or --setup_file ./setup.py"
        )
    for name, value in DEFAULTS.items():
        if getattr(workers, name) is None:
            setattr(workers, name, value)
    # There is nothing in the main module that workers need; Beam would pickle it all the same.
    setup.save_main_session = False
    if workers.sdk_container_image and setup.sdk_location == "default":
        # The image has its Beam; nothing is fetched to be staged.
        setup.sdk_location = "container"


def check_accelerator(options: PipelineOptions) -> None:
    """Check that a job with an accelerator can use it.

    Raises:
        ConfigError: the workers' image has no CUDA, or an option excludes right fitting.
    """
    if not options.view_as(WorkerOptions).sdk_container_image:
        raise ConfigError(
            "--accelerator needs workers with CUDA, which Beam's own image has not: give --sdk_container_image IMAGE, "
            "the GPU worker of deploy/README.md"
        )
    cloud = options.view_as(GoogleCloudOptions)
    if any(option.startswith("worker_accelerator") for option in cloud.dataflow_service_options or []):
        raise ConfigError("--accelerator and the service option worker_accelerator exclude each other; give the first")
    if cloud.flexrs_goal:
        raise ConfigError(f"--flexrs_goal is {cloud.flexrs_goal}, which has no accelerators; leave one of the two out")


def dry_run(build: Callable[[beam.Pipeline], object], options: PipelineOptions) -> beam_runner_api_pb2.Pipeline:
    """The job graph as Dataflow would get it; needs neither network nor credentials. Options have dry_run set."""
    pipeline = beam.Pipeline(options=options)
    build(pipeline)
    return pipeline.run().job.proto_pipeline


def steps_by_machine(graph: beam_runner_api_pb2.Pipeline) -> dict[tuple[str, tuple[str, ...]], list[str]]:
    """Worker image and resource hints -> names of the steps that run there, in the order of the graph."""
    steps = defaultdict(list)
    waiting = [*reversed(graph.root_transform_ids)]
    while waiting:
        transform = graph.components.transforms[waiting.pop()]
        waiting += reversed(transform.subtransforms)
        if transform.environment_id and not transform.subtransforms:
            environment = graph.components.environments[transform.environment_id]
            image = beam_runner_api_pb2.DockerPayload.FromString(environment.payload).container_image
            steps[image, describe_hints(environment.resource_hints)].append(transform.unique_name)
    return dict(steps)


def describe_hints(hints: Mapping[str, bytes]) -> tuple[str, ...]:
    """``accelerator=...`` and ``min_ram=...`` of an environment's hints."""
    ram = common_urns.resource_hints.MIN_RAM_BYTES.urn
    names = {kind.urn: name for name, kind in reversed(ResourceHint._name_to_known_hints.items())}
    shown = {urn: f"{int(value) / 1e9:g}GB" if urn == ram else value.decode() for urn, value in hints.items()}
    return tuple(sorted(f"{names.get(urn, urn)}={value}" for urn, value in shown.items()))


def describe_graph(graph: beam_runner_api_pb2.Pipeline) -> str:
    """Which steps run on which machines, for people."""
    lines: list[str] = []
    for (image, hints), names in steps_by_machine(graph).items():
        lines.append(f"{'; '.join(hints) or 'plain workers'} (image {image})")
        # The first two levels of a step's name tell it; the rest is Beam's.
        lines += (f"  {name}" for name in dict.fromkeys("/".join(name.split("/")[:2]) for name in names))
    return "\n".join([*lines, f"job graph: {graph.ByteSize() / 1e3:.0f} kB; the service takes 10 MB"])
