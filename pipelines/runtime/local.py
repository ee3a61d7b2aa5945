"""Run a pipeline: in this process by default, with a progress bar, or wherever Beam's own flags say."""

import argparse
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import (
    DirectOptions,
    PipelineOptions,
    StandardOptions,
    _BeamArgumentParser,
)
from apache_beam.portability.api import beam_provision_api_pb2
from apache_beam.runners.portability.fn_api_runner import worker_handlers
from apache_beam.runners.portability.fn_api_runner.fn_runner import ExtendedProvisionInfo, FnApiRunner
from apache_beam.runners.portability.portable_runner import JobServiceHandle
from tqdm import tqdm

from pipelines.runtime import counters
from pipelines.runtime.quiet import start_quietly
from q1net_core.errors import ConfigError

LOCAL_RUNNER = "FnApiRunner"
# Longer than any run.
NEVER_MS = 1_000_000_000


def parse_flags(parser: argparse.ArgumentParser, argv: list[str]) -> tuple[dict[str, Any], PipelineOptions]:
    """A command line of a command's own flags and Beam's -> values of the own ones, and Beam's options.

    One parser for both, else the value of a Beam flag (``--project NAME``) would be taken for an INPUT. Flags that
    nobody knows go to a remote runner, which may; on this machine they are mistakes.

    Raises:
        ConfigError: an unknown flag on a local run.
    """
    beam_parser = _BeamArgumentParser(add_help=False, allow_abbrev=False)
    for options_class in PipelineOptions.__subclasses__():
        if "_add_argparse_args" in vars(options_class):
            options_class._add_argparse_args(beam_parser)
    for action in beam_parser._actions:
        action.help = argparse.SUPPRESS
    usage = parser.format_usage().removeprefix("usage: ")
    both = argparse.ArgumentParser(
        parser.prog, usage, parents=[parser, beam_parser], add_help=False, allow_abbrev=False
    )
    both.description, both.epilog = parser.description, parser.epilog
    # Intermixed, so that an INPUT after a flag is one too, and not lost among what nobody knows.
    values, unknown = both.parse_known_intermixed_args(argv)
    beam_names = {action.dest for action in beam_parser._actions}
    own = {name: value for name, value in vars(values).items() if name not in beam_names}
    options = PipelineOptions(unknown, **{name: value for name, value in vars(values).items() if name in beam_names})
    if options.view_as(StandardOptions).runner is None:
        options.view_as(StandardOptions).runner = LOCAL_RUNNER
        if not any(argument.startswith("--direct_") for argument in argv):
            use_all_cores(options.view_as(DirectOptions))
    if unknown and (is_local(options) or any(not argument.startswith("-") for argument in unknown)):
        raise ConfigError(
            f"unknown flags or values: {' '.join(unknown)}; see {parser.prog} --help. Flags for a remote runner that "
            "Beam does not know are written --flag=value"
        )
    return own, options


def parse_levels(value: str) -> tuple[int, ...]:
    """``1-100``, ``5-100:5`` or ``10,50,90`` -> levels, each once."""
    try:
        levels: list[int] = []
        for part in value.split(","):
            ends, _, step = part.partition(":")
            low, dash, high = ends.partition("-")
            levels += range(int(low), int(high if dash else low) + 1, int(step or 1))
        if not levels:
            raise ValueError
    except ValueError:
        raise argparse.ArgumentTypeError(f"{value!r}; expected levels such as 1-100, 5-100:5 or 10,50,90") from None
    return tuple(dict.fromkeys(levels))


def use_all_cores(options: DirectOptions) -> None:
    """One worker thread for each core that this process may use."""
    options.direct_num_workers = len(os.sched_getaffinity(0))
    options.direct_running_mode = "multi_threading" if options.direct_num_workers > 1 else "in_memory"


def is_local(options: PipelineOptions) -> bool:
    """Whether the pipeline runs on this machine, inside or beside this process."""
    runner = options.view_as(StandardOptions).runner
    return runner in (LOCAL_RUNNER, "DirectRunner", "BundleBasedDirectRunner")


def make_runner(options: PipelineOptions) -> FnApiRunner | None:
    """The in-process portable runner with its options passed on to worker processes; None for any other runner.

    Beam's own DirectRunner would first try to download another engine, and its FnApiRunner forgets the options.
    """
    # Beam 2.77 flushes the buffers between local steps from a second thread once a second, without the writer's
    # knowledge: what is written while the flushed part waits for its reader is lost. They are flushed by size as well.
    worker_handlers.DATA_BUFFER_TIME_LIMIT_MS = NEVER_MS
    if options.view_as(StandardOptions).runner != LOCAL_RUNNER:
        return None
    encoded = JobServiceHandle.encode_pipeline_options(options.get_all_options())
    provision = ExtendedProvisionInfo(beam_provision_api_pb2.ProvisionInfo(pipeline_options=encoded))
    return FnApiRunner(provision_info=provision)


@contextmanager
def show_progress(counter: str, total: int, unit: str) -> Iterator[None]:
    """A bar on stderr that follows one of this process's counters; a line every half minute without a screen."""
    before = counters.tally().get(counter, 0)
    finished = threading.Event()

    def follow(bar: tqdm) -> None:
        while not finished.wait(0.2):
            bar.update(counters.tally().get(counter, 0) - before - bar.n)

    with tqdm(total=total, unit=unit, mininterval=0.2 if sys.stderr.isatty() else 30, file=sys.stderr) as bar:
        thread = threading.Thread(target=follow, args=(bar,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            finished.set()
            thread.join()
            bar.update(counters.tally().get(counter, 0) - before - bar.n)


def run_pipeline(
    build: Callable[[beam.Pipeline], object],
    options: PipelineOptions,
    counter: str,
    total: int,
    unit: str,
    with_model: bool = True,
) -> None:
    """Build and run to the end, with progress where it can be seen; raises whatever made the job fail.

    TensorFlow is loaded, quietly, before the progress bar starts, unless the pipeline is one without a model.
    """
    if is_local(options) and with_model:
        # Worker threads call the model side by side; threads inside one call of 256 patches gain little.
        os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
        os.environ.setdefault("TF_NUM_INTEROP_THREADS", str(len(os.sched_getaffinity(0))))
        start_quietly()
    pipeline = beam.Pipeline(make_runner(options), options=options)
    build(pipeline)
    if is_local(options):
        with show_progress(counter, total, unit):
            pipeline.run().wait_until_finish()
    else:
        pipeline.run().wait_until_finish()
