"""Where a pipeline runs: in this process unless told otherwise, and a bar that counts."""

import argparse
import os
import time
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import DirectOptions, GoogleCloudOptions, PipelineOptions, StandardOptions
from apache_beam.runners.portability.fn_api_runner import worker_handlers
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

from pipelines.runtime import counters
from pipelines.runtime.local import is_local, make_runner, parse_flags, run_pipeline, show_progress
from q1net_core.errors import ConfigError


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="q1net some", description="Does 100% of it.", allow_abbrev=False)
    parser.add_argument("inputs", nargs="*")
    parser.add_argument("--output", required=True)
    parser.add_argument("--size", type=int, default=3, help="the size (%(default)s)")
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
        make_parser(), ["a", "--project", "p", "--output", "o", "b", "--runner", "DataflowRunner", "--worker_zone=z"]
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


def test_a_chosen_runner_is_left_as_it_is() -> None:
    options = parse_options(["--runner=DataflowRunner", "--project=p", "--region", "europe-west1"])
    assert local_mode(options) == ("DataflowRunner", 1, "in_memory")
    cloud = options.view_as(GoogleCloudOptions)
    assert (cloud.project, cloud.region) == ("p", "europe-west1")
    assert not is_local(options)
    assert make_runner(options) is None
    assert make_runner(parse_options(["--runner=DirectRunner"])) is None
    assert is_local(parse_options(["--runner=DirectRunner"]))


def test_the_local_runner_passes_options_on_to_workers() -> None:
    made: Any = make_runner(parse_options(["--s3_endpoint_url=http://localhost:1"]))
    assert isinstance(made, FnApiRunner)
    options = made._provision_info.provision_info.pipeline_options
    assert dict(options)["beam:option:s3_endpoint_url:v1"] == "http://localhost:1"


def test_the_bar_shows_what_was_counted_since_it_began(capsys: pytest.CaptureFixture[str]) -> None:
    counters.inc("rows", 5)
    with show_progress("rows", 4, "image"):
        counters.inc("rows")
        counters.inc("rows", 2)
    assert "3/4" in capsys.readouterr().err


def test_the_bar_ends_with_the_error_of_the_job(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError), show_progress("rows", 2, "image"):
        raise ZeroDivisionError(counters.inc("rows"))
    assert "1/2" in capsys.readouterr().err


def count(number: int) -> int:
    counters.inc("rows", number)
    return number


def test_a_pipeline_runs_to_its_end_and_counts_for_beam_too(capsys: pytest.CaptureFixture[str]) -> None:
    before = counters.tally().get("rows", 0)
    flags = ["--direct_num_workers=2", "--direct_running_mode=multi_threading"]
    run_pipeline(lambda root: root | beam.Create([1, 2]) | beam.Map(count), parse_options(flags), "rows", 3, "image")
    assert counters.tally()["rows"] - before == 3
    assert "3/3" in capsys.readouterr().err
    pipeline = beam.Pipeline(make_runner(parse_options(flags)), options=parse_options(flags))
    pipeline | beam.Create([1, 2]) | beam.Map(count)
    result = pipeline.run()
    result.wait_until_finish()
    (counter,) = result.metrics().query()["counters"]
    assert (counter.key.metric.namespace, counter.key.metric.name, counter.committed) == ("q1net", "rows", 3)


def test_a_failing_pipeline_raises() -> None:
    def build(root: beam.Pipeline) -> beam.PCollection[float]:
        return root | beam.Create([0]) | beam.Map(lambda number: 1 / number)

    with pytest.raises(Exception, match="division by zero"):
        run_pipeline(build, parse_options([]), "rows", 1, "image")


def test_counters_have_documented_names_only() -> None:
    with pytest.raises(KeyError, match="counter 'rowz' is not in COUNTERS"):
        counters.inc("rowz")
    assert all(counters.COUNTERS.values())
    before = counters.tally().get("fuse_usec", 0)
    with pytest.raises(ZeroDivisionError), counters.timed("fuse_usec"):
        raise ZeroDivisionError
    assert counters.tally()["fuse_usec"] >= before


@pytest.mark.parametrize("runner", ["FnApiRunner", "DirectRunner"])
def test_buffers_between_steps_are_never_flushed_by_time(runner: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_handlers, "DATA_BUFFER_TIME_LIMIT_MS", 1000)
    make_runner(PipelineOptions([f"--runner={runner}"]))
    assert worker_handlers.DATA_BUFFER_TIME_LIMIT_MS > 10 * 24 * 3600 * 1000


@pytest.mark.slow
def test_large_elements_cross_steps_complete_with_two_threads() -> None:
    def copies(number: int) -> Iterator[tuple[int, tuple[int, bytes]]]:
        for key in range(9):
            time.sleep(0.002)  # so that the timer, if there is one, goes off while buffers are being written
            yield key, (number, bytes([number]) * 550_000)

    def check(grouped: tuple[int, Any]) -> None:
        assert sorted(number for number, _ in grouped[1]) == list(range(100))

    options = PipelineOptions(
        ["--direct_num_workers=2", "--direct_running_mode=multi_threading", "--runner=FnApiRunner"]
    )
    for _ in range(5):
        pipeline = beam.Pipeline(make_runner(options), options=options)
        numbers = pipeline | beam.Create(range(100)) | beam.Reshuffle()
        _ = numbers | beam.FlatMap(copies) | beam.GroupByKey() | beam.Map(check)
        pipeline.run().wait_until_finish()
