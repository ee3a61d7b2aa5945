"""Flags of a command and of Beam come apart; the engine that they name, and its workers."""

import argparse
import os
from importlib import import_module
from pathlib import Path

import pytest
from apache_beam.options.pipeline_options import DirectOptions, GoogleCloudOptions, PipelineOptions, StandardOptions

from pipelines.cli import COMMANDS
from pipelines.runtime.options import (
    add_workers,
    beam_parser,
    choose_engine,
    count_processes,
    describe_engine,
    is_local,
    parse_flags,
    parse_levels,
)
from q1net_core.errors import ConfigError


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="q1net some", description="Does 100% of it.", allow_abbrev=False)
    parser.add_argument("inputs", nargs="*")
    parser.add_argument("--output", required=True)
    parser.add_argument("--size", type=int, default=3, help="the size (%(default)s)")
    add_workers(parser)
    return parser


def parse_options(flags: list[str]) -> PipelineOptions:
    return parse_flags(make_parser(), ["--output=o", *flags])[1]


def local_mode(options: PipelineOptions) -> tuple[str, int, str]:
    direct = options.view_as(DirectOptions)
    return (
        options.view_as(StandardOptions).runner,
        direct.direct_num_workers,
        direct.direct_running_mode,
    )


@pytest.mark.parametrize(("cores", "workers", "mode"), [({0}, 1, "in_memory"), ({1, 5, 7}, 3, "multi_threading")])
def test_without_flags_all_allowed_cores_of_this_machine_work(
    cores: set[int], workers: int, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: cores)
    options = parse_options([])
    assert local_mode(options) == ("FnApiRunner", workers, mode)
    assert is_local(options)


def test_own_flags_and_those_of_beam_come_apart() -> None:
    values, options = parse_flags(
        make_parser(), ["a", "--project", "p", "--output", "o", "b", "--runner", "FlinkRunner", "--worker_zone=z"]
    )
    assert values == {"inputs": ["a", "b"], "output": "o", "size": 3}
    assert options.view_as(GoogleCloudOptions).project == "p"


def test_unknown_flags_are_mistakes_here_and_passed_on_elsewhere() -> None:
    for flags in (["--sise=4"], ["--outpu=x"], ["--oops", "x"]):
        with pytest.raises(ConfigError, match=f"unknown flags or values: {flags[0]}.*; see q1net some --help"):
            parse_options(flags)
    options = parse_options(["--runner=FlinkRunner", "--flag_of_tomorrow=1"])
    assert options.get_all_options(retain_unknown_options=True)["flag_of_tomorrow"] in (1, "1")


def test_help_and_usage_errors_are_the_commands_own(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_flags(make_parser(), ["--help"])
    assert caught.value.code == 0
    printed = capsys.readouterr().out
    assert printed.startswith("usage: q1net some ")
    assert "Does 100% of it." in printed
    assert "the size (3)" in printed
    assert "--project" not in printed
    with pytest.raises(SystemExit) as caught:
        parse_flags(make_parser(), ["a"])
    assert caught.value.code == 2
    assert "q1net some: error: the following arguments are required: --output" in capsys.readouterr().err


def test_flags_about_workers_are_kept() -> None:
    options = parse_options(["--direct_num_workers=3", "--direct_running_mode=multi_processing"])
    assert local_mode(options) == ("FnApiRunner", 3, "multi_processing")


def test_a_chosen_engine_is_left_as_it_is() -> None:
    options = parse_options(["--runner=FlinkRunner", "--project=p", "--region", "europe-west1"])
    assert local_mode(options) == ("FlinkRunner", 1, "in_memory")
    cloud = options.view_as(GoogleCloudOptions)
    assert (cloud.project, cloud.region) == ("p", "europe-west1")
    assert not is_local(options)


@pytest.mark.parametrize("name", ["DirectRunner", "direct", "FnApiRunner", "switchingdirectrunner"])
def test_every_name_of_the_local_engine_is_the_one_that_downloads_nothing(name: str) -> None:
    options = parse_options([f"--runner={name}"])
    assert options.view_as(StandardOptions).runner == "FnApiRunner"
    assert is_local(options)


@pytest.mark.parametrize(
    ("flags", "processes"),
    [
        (["--workers=5"], 5),
        (["--direct_num_workers=5"], None),
        (["--direct_num_workers=5", "--direct_running_mode=multi_threading"], None),
        (["--runner=FlinkRunner"], None),
    ],
)
def test_processes_are_ours_unless_flags_of_beam_ask_for_its_own(flags: list[str], processes: int | None) -> None:
    assert count_processes(parse_options(flags), flags) == processes


@pytest.mark.parametrize(("workers", "mode"), [(1, "in_memory"), (5, "multi_threading")])
def test_the_number_of_workers_is_a_flag(workers: int, mode: str) -> None:
    assert local_mode(parse_options(["--workers", str(workers)])) == ("FnApiRunner", workers, mode)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--workers=0"], "--workers is 0; expected 1 or more"),
        (["--workers=2", "--direct_num_workers=3"], "give either --workers or --direct_num_workers=3, not both"),
        (["--workers=2", "--runner=dataflow"], "DataflowRunner takes --num_workers and --max_num_workers instead"),
        (["--workers=2", "--runner=my.own.Runner"], r"my\.own\.Runner takes flags of its own instead"),
    ],
)
def test_workers_are_refused_where_they_say_nothing(flags: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_options(flags)


@pytest.mark.parametrize("name", ["DaskRunner", "dask", "apache_beam.runners.dask.dask_runner.DaskRunner"])
def test_the_dask_engine_is_refused_because_it_loses_rows(name: str) -> None:
    with pytest.raises(ConfigError, match=r"--runner is DaskRunner, which is refused: .* rows would be lost"):
        parse_options([f"--runner={name}"])


def test_prism_is_used_only_where_its_file_is_given(tmp_path: Path) -> None:
    for flags in ([], ["--prism_location=https://example.com/prism"], [f"--prism_location={tmp_path}/none"]):
        with pytest.raises(ConfigError, match="expected the file of a prism binary: it is never downloaded"):
            parse_options(["--runner=PrismRunner", *flags])
    binary = tmp_path / "prism"
    binary.touch()
    options = parse_options(["--runner=prism", f"--prism_location={binary}"])
    assert describe_engine(options) == "PrismRunner"
    assert not is_local(options)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--workers=1"], "FnApiRunner on this machine, 1 thread"),
        (["--workers=3"], "FnApiRunner on this machine, 3 threads"),
        (
            ["--direct_num_workers=2", "--direct_running_mode=multi_processing"],
            "FnApiRunner on this machine, 2 processes",
        ),
        (["--runner=FlinkRunner"], "FlinkRunner"),
    ],
)
def test_the_engine_is_described_with_its_workers(flags: list[str], expected: str) -> None:
    assert describe_engine(parse_options(flags)) == expected


def test_options_made_in_code_get_the_same_engine() -> None:
    options = PipelineOptions([])
    assert is_local(options)
    choose_engine(options, workers=2)
    assert local_mode(options) == ("FnApiRunner", 2, "multi_threading")


@pytest.mark.parametrize("module", ["pipelines.audit.config", COMMANDS["evaluate"][0], COMMANDS["shards"][0]])
def test_no_flag_of_a_command_is_one_of_beams(module: str) -> None:
    own = import_module(module).make_parser()
    both = set(own._option_string_actions) & set(beam_parser()._option_string_actions) - {"-h", "--help"}
    # Beam's takes a value; ours sets it.
    assert both <= {"--dry_run"}
    assert own.parse_known_args(["--output=o", "--images=i", "--workers=2"])[0].workers == 2


def test_levels_are_ranges_steps_and_single_ones_each_once() -> None:
    assert parse_levels("1-3") == (1, 2, 3)
    assert parse_levels("5-20:5,50,10") == (5, 10, 15, 20, 50)
    for wrong in ("", "x", "5-1", "1-", "1-9:0"):
        with pytest.raises(argparse.ArgumentTypeError, match=r"expected levels such as 1-100"):
            parse_levels(wrong)
