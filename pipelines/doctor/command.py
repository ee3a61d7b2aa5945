"""`q1net doctor`: one line for each thing that a run needs; exits with 2 if a run could not start."""

import argparse
from collections.abc import Iterator
from datetime import UTC, datetime

from apache_beam.options.pipeline_options import PipelineOptions, WorkerOptions

from pipelines.doctor.finding import Finding, Level, fail
from pipelines.doctor.machine import check_accelerator, check_clock, check_disk, check_engine, check_hints
from pipelines.doctor.packages import check_image, check_packages, check_python, check_weights
from pipelines.doctor.store import check_store
from pipelines.runtime.options import add_workers, parse_flags
from q1net_core.errors import ConfigError


def make_parser() -> argparse.ArgumentParser:
    """The command's flags."""
    parser = argparse.ArgumentParser(
        prog="q1net doctor",
        description="Check whether a run can start with these flags, and say what to do if not.",
        epilog="All other flags go to Apache Beam, as in an audit: give those of the run.",
        allow_abbrev=False,
    )
    parser.add_argument("--storage", metavar="URI", help="folder to write, list, read and delete a small file in")
    parser.add_argument("--accelerator", metavar="NAME", help="as in an audit")
    parser.add_argument("--inference-ram", metavar="SIZE", help="as in an audit")
    add_workers(parser)
    return parser


def examine(argv: list[str]) -> Iterator[Finding]:
    """What the checks find, one after the other."""
    yield check_python()
    yield from check_packages()
    yield check_weights()
    try:
        values, options = parse_flags(make_parser(), argv)
    except ConfigError as error:
        # Flags that no run would take; the other checks go on with those that are the doctor's own.
        yield fail("engine", str(error), "see docs/engines.md and docs/dataflow.md")
        values, options = vars(make_parser().parse_known_args(argv)[0]), PipelineOptions([])
    else:
        yield check_engine(options)
    yield from check_image(options.view_as(WorkerOptions).sdk_container_image)
    yield check_hints(values["accelerator"], values["inference_ram"], options)
    yield check_accelerator(values["accelerator"], options)
    stored = None
    if values["storage"]:
        finding, stored = check_store(values["storage"])
        yield finding
    yield check_clock(datetime.now(UTC), stored)
    yield check_disk()


def run(argv: list[str]) -> int:
    """The command; returns its exit status, 0 only if a run can start."""
    if {"-h", "--help"} & set(argv):
        make_parser().parse_args(["--help"])
    failures = 0
    for finding in examine(argv):
        print(finding, flush=True)
        failures += finding.level is Level.FAIL
    print(f"a run cannot start: {failures} to mend" if failures else "a run can start")
    return 2 if failures else 0
