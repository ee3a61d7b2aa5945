"""The flags of `q1net audit`, and what they mean as one checked value."""

import argparse
from dataclasses import asdict, dataclass, field
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from pipelines.audit.table import check_carried
from pipelines.runtime.dataflow import inference_hints
from pipelines.runtime.options import add_workers, count_processes, parse_flags
from pipelines.settings import add_exclude, add_settings, take_settings
from q1net_core import storage
from q1net_core.errors import ConfigError
from q1net_core.records import Verdict
from q1net_core.settings import EstimatorSettings


@dataclass(frozen=True, slots=True)
class AuditConfig:
    """One audit: what to look at, where the run goes, how images are judged, and where the network runs."""

    output: str
    inputs: tuple[str, ...] = ()
    manifest: str | None = None
    group: str | None = None
    group_column: str | None = None
    accelerator: str | None = None
    inference_ram: str | None = None
    settings: EstimatorSettings = field(default_factory=EstimatorSettings)
    resume: bool = False
    partition_by_group: bool = False
    report: bool = True
    plan: bool = False
    fail_on: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    carry: tuple[str, ...] = ()
    remote_only: bool = False
    max_failure_ratio: float | None = None
    # Processes on this machine; None: the engine is as Beam's own flags say.
    workers: int | None = None

    def __post_init__(self) -> None:
        if bool(self.inputs) == bool(self.manifest):
            raise ConfigError("give either INPUT... or --manifest; expected exactly one of the two")
        if self.group and self.group_column:
            raise ConfigError("give either --group or --group-column, not both")
        if self.group_column and not self.manifest:
            raise ConfigError(f"--group-column is {self.group_column!r}; it needs --manifest")
        if self.carry and not self.manifest:
            raise ConfigError(f"--carry is {' '.join(self.carry)}; it needs --manifest")
        check_carried(self.carry)
        if self.max_failure_ratio is not None and not 0 <= self.max_failure_ratio <= 1:
            raise ConfigError(f"--max-failure-ratio is {self.max_failure_ratio}; expected a share from 0 to 1")
        if self.partition_by_group and not (self.group or self.group_column):
            raise ConfigError("--partition-by-group needs groups; expected --group or --group-column with it")
        if unknown := [verdict for verdict in self.fail_on if verdict not in set(Verdict)]:
            raise ConfigError(f"--fail-on has {', '.join(unknown)}; expected some of {', '.join(Verdict)}, by commas")
        inference_hints(self.accelerator, self.inference_ram)

    def to_json(self) -> dict[str, Any]:
        """The command's arguments, those of the settings among them."""
        values = asdict(self)
        shown = {
            "inputs": [storage.printable_uri(uri) for uri in self.inputs],
            "manifest": self.manifest and storage.printable_uri(self.manifest),
        }
        return values | values.pop("settings") | shown


def make_parser() -> argparse.ArgumentParser:
    """The command's flags."""
    parser = argparse.ArgumentParser(
        prog="q1net audit",
        description="Estimate at which quality every image was compressed, from its pixels.",
        epilog="All other flags go to Apache Beam: --runner, --project, --region, --temp_location, ...",
        allow_abbrev=False,
    )
    parser.add_argument(
        "inputs", nargs="*", metavar="INPUT", help="file, folder, glob, archive, URL; local, gs://, ..."
    )
    parser.add_argument(
        "--manifest",
        metavar="URI",
        help=".txt, .csv, .jsonl or .parquet with a column uri, perhaps with .gz, instead of INPUT",
    )
    parser.add_argument("--output", required=True, metavar="URI", help="folder that gets run_id=.../")
    parser.add_argument("--group", metavar="REGEX", help="group of an image: the first capture on its uri")
    parser.add_argument("--group-column", metavar="NAME", help="group of an image: this column of the manifest")
    parser.add_argument(
        "--carry", nargs="+", default=[], metavar="NAME", help="columns of the manifest that become columns of the rows"
    )
    add_exclude(parser)
    parser.add_argument("--remote-only", action="store_true", help="refuse inputs that are files of this machine")
    parser.add_argument(
        "--resume", action="store_true", help="carry over rows of earlier runs of this output that still hold"
    )
    parser.add_argument(
        "--partition-by-group", action="store_true", help="a Hive folder group=NAME/ for the rows of each group"
    )
    parser.add_argument(
        "--plan", action="store_true", help="write nothing: count the images, try a few, tell what all would take"
    )
    parser.add_argument("--no-report", dest="report", action="store_false", help="write no report.html into the run")
    parser.add_argument(
        "--fail-on",
        type=lambda verdicts: tuple(verdicts.split(",")),
        default=(),
        metavar="VERDICTS",
        help="exit with 3 if an image has one of these verdicts, by commas",
    )
    parser.add_argument(
        "--max-failure-ratio",
        type=float,
        metavar="SHARE",
        help="the run fails, but keeps its rows, if a larger share of the images has no estimate, 0-1",
    )
    add_settings(parser)
    parser.add_argument("--accelerator", metavar="NAME", help="for inference alone: t4, l4 or Beam's accelerator hint")
    parser.add_argument("--inference-ram", metavar="SIZE", help="for inference alone (12GB with an accelerator)")
    parser.add_argument(
        "--dry-run", "--dry_run", dest="dry_run", action="store_true", help="show Dataflow's job graph, run nothing"
    )
    add_workers(parser, "processes")
    return parser


def parse(argv: list[str]) -> tuple[AuditConfig, PipelineOptions]:
    """Command line -> config and Beam's options."""
    values, options = parse_flags(make_parser(), argv)
    settings = take_settings(values)
    several = {name: tuple(values[name]) for name in ("inputs", "exclude", "carry")}
    own = {"settings": settings, "workers": count_processes(options, argv)}
    return AuditConfig(**values | several | own), options
