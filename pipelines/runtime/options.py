"""A command line of a command's own flags and Beam's, taken apart; and the engine that it names."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from apache_beam.options.pipeline_options import (
    DirectOptions,
    PipelineOptions,
    PrismRunnerOptions,
    StandardOptions,
)

from pipelines.runtime import dataflow
from q1net_core.errors import ConfigError

LOCAL_ENGINE = "FnApiRunner"
# Beam's DirectRunner is the same engine, but first tries to download another one, without a time limit.
LOCAL_NAMES = (LOCAL_ENGINE, "DirectRunner", "SwitchingDirectRunner")
# Engines that must not be used, with the reason.
REFUSED = {
    "DaskRunner": "it drops what a step gives at the end of a bundle, does not tell a step's outputs apart, and "
    "reports success all the same: rows would be lost",
}
# How other engines are told the number of their workers.
WORKER_FLAGS = {
    dataflow.ENGINE: "--num_workers and --max_num_workers",
    "FlinkRunner": "--parallelism",
    "PortableRunner": "--sdk_worker_parallelism",
    "PrismRunner": "--sdk_worker_parallelism",
}


class Parser(argparse.ArgumentParser):
    """Parses the flags of two parsers, and shows the help of one."""

    def __init__(self, shown: argparse.ArgumentParser, hidden: argparse.ArgumentParser) -> None:
        usage = shown.format_usage().removeprefix("usage: ")
        # Both have --help: the later one's wins.
        settings: dict[str, Any] = {"add_help": False, "allow_abbrev": False, "conflict_handler": "resolve"}
        super().__init__(shown.prog, usage, parents=[hidden, shown], **settings)
        self.shown = shown

    def format_help(self) -> str:
        """The help without the hidden parser's some two hundred flags."""
        return self.shown.format_help()


def beam_parser() -> argparse.ArgumentParser:
    """A parser of all flags that Beam knows, as Beam hands it to its documented callback."""
    parsers: list[argparse.ArgumentParser] = []
    PipelineOptions([]).get_all_options(add_extra_args_fn=parsers.append)
    return parsers[0]


def parse_flags(parser: argparse.ArgumentParser, argv: Sequence[str]) -> tuple[dict[str, Any], PipelineOptions]:
    """A command line -> values of the command's own flags, and Beam's options.

    One parser reads both, else the value of a Beam flag (``--project NAME``) would be taken for an INPUT. Flags that
    nobody knows go to a remote engine, which may know them; on this machine they are mistakes.

    Raises:
        ConfigError: an unknown flag on a local run.
    """
    hidden = beam_parser()
    beam_names = vars(hidden.parse_args([])).keys()
    # Intermixed, so that an INPUT after a flag is one too, and not lost among what nobody knows.
    values, unknown = Parser(parser, hidden).parse_known_intermixed_args(argv)
    own = {name: value for name, value in vars(values).items() if name not in beam_names}
    options = PipelineOptions(unknown, **{name: value for name, value in vars(values).items() if name in beam_names})
    choose_engine(options, own.pop("workers", None), find_direct_flags(argv))
    # Only a command of one pipeline offers --dry-run, and only such a one can be a template.
    asked = [name for name in ("dry_run", "template_location") if options.get_all_options()[name]]
    if asked and parser.get_default("dry_run") is None:
        raise ConfigError(f"{parser.prog} has no --{asked[0]}: its later steps depend on the results of earlier ones")
    if unknown and (is_local(options) or any(not argument.startswith("-") for argument in unknown)):
        raise ConfigError(
            f"unknown flags or values: {' '.join(unknown)}; see {parser.prog} --help. Flags for a remote runner that "
            "Beam does not know are written --flag=value"
        )
    return own, options


def add_workers(parser: argparse.ArgumentParser, kind: str = "threads") -> None:
    """Give a command the flag --workers, which parse_flags takes out of its values again."""
    parser.add_argument("--workers", type=int, metavar="N", help=f"{kind} on this machine (one per core)")


def find_direct_flags(argv: Sequence[str]) -> list[str]:
    """Beam's own flags of the local engine: who gives one wants this engine just so."""
    return [flag for flag in argv if flag.startswith("--direct_")]


def count_processes(options: PipelineOptions, argv: Sequence[str]) -> int | None:
    """How many workers this machine has for a command line; None if another engine, or Beam's own flags, say so."""
    if name_engine(options) != LOCAL_ENGINE or find_direct_flags(argv):
        return None
    return int(options.view_as(DirectOptions).direct_num_workers)


def choose_engine(options: PipelineOptions, workers: int | None, direct_flags: Sequence[str] = ()) -> None:
    """Set what the command line leaves open: the engine, and the number of its workers on this machine.

    Raises:
        ConfigError: an engine that loses rows or would be downloaded; --workers where it says nothing.
    """
    direct = options.view_as(DirectOptions)
    engine = options.view_as(StandardOptions).runner = name_engine(options)
    if engine in REFUSED:
        raise ConfigError(f"--runner is {engine}, which is refused: {REFUSED[engine]}; leave --runner out")
    prism = options.view_as(PrismRunnerOptions).prism_location
    if engine == "PrismRunner" and not (prism and Path(prism).is_file()):
        raise ConfigError(f"--prism_location is {prism}; expected the file of a prism binary: it is never downloaded")
    if workers is not None and workers < 1:
        raise ConfigError(f"--workers is {workers}; expected 1 or more")
    if workers is not None and direct_flags:
        raise ConfigError(f"give either --workers or {' '.join(direct_flags)}, not both")
    if workers is not None and engine != LOCAL_ENGINE:
        flags = WORKER_FLAGS.get(engine, "flags of its own")
        raise ConfigError(f"--workers is {workers}, for this machine alone; {engine} takes {flags} instead")
    if engine == dataflow.ENGINE:
        dataflow.prepare_dataflow(options)
    if engine == LOCAL_ENGINE and not direct_flags:
        # One for each core that this process may use.
        direct.direct_num_workers = workers or len(os.sched_getaffinity(0))
        direct.direct_running_mode = "multi_threading" if direct.direct_num_workers > 1 else "in_memory"


def name_engine(options: PipelineOptions) -> str:
    """The name of the engine, as Beam writes it where Beam knows it; the local one's where none is named."""
    named = options.view_as(StandardOptions).runner or LOCAL_ENGINE
    short = named.rpartition(".")[2] if named.startswith("apache_beam.") else named
    for known in (*StandardOptions.KNOWN_RUNNER_NAMES, *REFUSED):
        if short.lower() in (known.lower(), known.lower().removesuffix("runner")):
            return LOCAL_ENGINE if known in LOCAL_NAMES else known
    return str(named)


def is_local(options: PipelineOptions) -> bool:
    """Whether the pipeline runs on this machine, inside or beside this process."""
    return name_engine(options) in (LOCAL_ENGINE, "BundleBasedDirectRunner")


def describe_engine(options: PipelineOptions) -> str:
    """The engine and its workers: ``FnApiRunner on this machine, 2 threads``."""
    engine, direct = name_engine(options), options.view_as(DirectOptions)
    if engine != LOCAL_ENGINE:
        return engine
    count = direct.direct_num_workers or os.cpu_count() or 1
    word = "process" if direct.direct_running_mode == "multi_processing" else "thread"
    return f"{engine} on this machine, {count} {word}{'' if count == 1 else 'es' if word == 'process' else 's'}"


def parse_levels(value: str) -> tuple[int, ...]:
    """``1-100``, ``5-100:5`` or ``10,50,90`` -> levels, each once.

    >>> parse_levels("5-20:5,50")
    (5, 10, 15, 20, 50)
    """
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
