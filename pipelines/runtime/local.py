"""Run a pipeline: on this machine by default, with a progress bar, or on the engine that Beam's own flags name."""

import os
import sys
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions
from apache_beam.portability.api import beam_provision_api_pb2
from apache_beam.runners.portability.fn_api_runner import worker_handlers
from apache_beam.runners.portability.fn_api_runner.fn_runner import ExtendedProvisionInfo, FnApiRunner
from apache_beam.runners.portability.portable_runner import JobServiceHandle

from pipelines.runtime import counters
from pipelines.runtime.options import LOCAL_ENGINE, describe_engine, is_local, name_engine
from pipelines.runtime.progress import show_progress
from pipelines.runtime.quiet import start_quietly
from q1net_core.errors import ConfigError

# The local engine is built of names that Beam does not promise to keep: seen and tested in this line alone.
BEAM = "2.77."
# Hosts that gRPC reaches without a proxy; where it is not set, gRPC reads no_proxy.
DIRECT_HOSTS = "no_grpc_proxy"


def make_runner(options: PipelineOptions) -> FnApiRunner | None:
    """The local engine, mended; None for any other, which Beam makes itself.

    Raises:
        ConfigError: Beam is not of the line that the mending was written for.
    """
    if name_engine(options) != LOCAL_ENGINE:
        return None
    if not beam.__version__.startswith(BEAM):
        raise ConfigError(
            f"apache-beam is {beam.__version__}; the local engine expects {BEAM}x: pip install 'apache-beam=={BEAM}*'"
        )
    # Beam 2.77 flushes the buffers between local steps from a second thread once a second, without the writer's
    # knowledge: what is written while the flushed part waits for its reader is lost. No report of it
    # was found upstream. Zero turns the timer off; buffers are flushed by size as well, and at their end.
    worker_handlers.DATA_BUFFER_TIME_LIMIT_MS = 0
    # Beam's own FnApiRunner does not tell worker processes the options: object stores' endpoints would be lost.
    encoded = JobServiceHandle.encode_pipeline_options(options.get_all_options())
    provision = ExtendedProvisionInfo(beam_provision_api_pb2.ProvisionInfo(pipeline_options=encoded))
    return FnApiRunner(provision_info=provision)


def bypass_proxy() -> None:
    """Let this process and its workers talk to each other directly where the environment names a proxy.

    gRPC would ask the proxy for a way to this very machine, and wait for a minute before it fails.
    """
    named = os.environ.get(DIRECT_HOSTS) or os.environ.get("no_proxy")
    hosts = [*(named.split(",") if named else []), "localhost", "127.0.0.1"]
    os.environ[DIRECT_HOSTS] = ",".join(dict.fromkeys(hosts))


def run_pipeline(
    build: Callable[[beam.Pipeline], object],
    options: PipelineOptions,
    counter: str,
    total: int,
    unit: str,
    with_keras: bool = True,
) -> dict[str, Any]:
    """Build and run to the end, with progress where it can be seen; raises whatever made the job fail.

    Returns what all workers have counted, see counters.read_totals, and prints it; nothing for a template.

    Keras is loaded, quietly, before the progress bar starts, unless nothing in the pipeline needs it.
    """
    bypass_proxy()
    runner = make_runner(options)
    print(f"engine: {describe_engine(options)}", file=sys.stderr)
    if is_local(options) and with_keras:
        # Worker threads call the model side by side; threads inside one call of 256 patches gain little. TensorFlow
        # reads these variables when it starts, and has no other setting that reaches worker processes.
        os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
        os.environ.setdefault("TF_NUM_INTEROP_THREADS", str(len(os.sched_getaffinity(0))))
        start_quietly()
    with show_progress(counter, total, unit) if is_local(options) else nullcontext():
        totals = run_job(build, options, runner)
    if totals:
        print(f"counted: {counters.render_totals(totals)}", file=sys.stderr)
    return totals


def run_job(
    build: Callable[[beam.Pipeline], object], options: PipelineOptions, runner: FnApiRunner | None
) -> dict[str, Any]:
    """Build and run to the end, and nothing else; returns what all workers have counted, nothing for a template."""
    pipeline = beam.Pipeline(runner, options=options)
    build(pipeline)
    result = pipeline.run()
    result.wait_until_finish()
    # A template has not run: the service starts the job from it.
    return {} if options.view_as(GoogleCloudOptions).template_location else counters.read_totals(result)
