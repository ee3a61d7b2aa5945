"""Running a pipeline: the local engine as this project mends it, and the one line that names the engine."""

import os
import time
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import worker_handlers
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

from pipelines.runtime import counters
from pipelines.runtime.local import DIRECT_HOSTS, bypass_proxy, make_runner, run_pipeline
from q1net_core.errors import ConfigError


@pytest.mark.parametrize("flags", [[], ["--runner=FnApiRunner"], ["--runner=directrunner"]])
def test_the_local_engine_is_ours_by_every_name_of_it(flags: list[str]) -> None:
    assert type(make_runner(PipelineOptions(flags))) is FnApiRunner


@pytest.mark.parametrize("name", ["DataflowRunner", "PortableRunner", "BundleBasedDirectRunner"])
def test_other_engines_are_made_by_beam(name: str) -> None:
    assert make_runner(PipelineOptions([f"--runner={name}"])) is None


def test_the_local_engine_refuses_a_beam_it_was_not_written_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beam, "__version__", "2.78.0")
    with pytest.raises(ConfigError, match=r"apache-beam is 2\.78\.0; the local engine expects 2\.77\.x: pip install"):
        make_runner(PipelineOptions([]))
    assert make_runner(PipelineOptions(["--runner=DataflowRunner"])) is None


def test_the_local_engine_passes_options_on_to_workers() -> None:
    made: Any = make_runner(PipelineOptions(["--s3_endpoint_url=http://localhost:1"]))
    options = made._provision_info.provision_info.pipeline_options
    assert dict(options)["beam:option:s3_endpoint_url:v1"] == "http://localhost:1"


def test_buffers_between_steps_are_never_flushed_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_handlers, "DATA_BUFFER_TIME_LIMIT_MS", 1000)
    make_runner(PipelineOptions([]))
    assert worker_handlers.DATA_BUFFER_TIME_LIMIT_MS == 0


def count(number: int) -> int:
    counters.inc("rows", number)
    return number


def test_a_pipeline_runs_to_its_end_and_counts_for_beam_too(capsys: pytest.CaptureFixture[str]) -> None:
    before = counters.tally().get("rows", 0)
    flags = ["--direct_num_workers=2", "--direct_running_mode=multi_threading"]
    run_pipeline(lambda root: root | beam.Create([1, 2]) | beam.Map(count), PipelineOptions(flags), "rows", 3, "image")
    assert counters.tally()["rows"] - before == 3
    printed = capsys.readouterr().err
    assert printed.startswith("engine: FnApiRunner on this machine, 2 threads\n")
    assert "3/3" in printed
    pipeline = beam.Pipeline(make_runner(PipelineOptions(flags)), options=PipelineOptions(flags))
    pipeline | beam.Create([1, 2]) | beam.Map(count)
    result = pipeline.run()
    result.wait_until_finish()
    (counter,) = result.metrics().query()["counters"]
    assert (counter.key.metric.namespace, counter.key.metric.name, counter.committed) == ("q1net", "rows", 3)


def test_traffic_within_the_machine_needs_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(DIRECT_HOSTS, raising=False)
    monkeypatch.setenv("no_proxy", "internal.example,localhost")
    bypass_proxy()
    assert os.environ[DIRECT_HOSTS] == "internal.example,localhost,127.0.0.1"
    bypass_proxy()
    assert os.environ[DIRECT_HOSTS] == "internal.example,localhost,127.0.0.1"
    monkeypatch.delenv(DIRECT_HOSTS)
    monkeypatch.setenv("no_proxy", "")
    bypass_proxy()
    assert os.environ[DIRECT_HOSTS] == "localhost,127.0.0.1"


def test_a_failing_pipeline_raises() -> None:
    def build(root: beam.Pipeline) -> beam.PCollection[float]:
        return root | beam.Create([0]) | beam.Map(lambda number: 1 / number)

    with pytest.raises(Exception, match="division by zero"):
        run_pipeline(build, PipelineOptions([]), "rows", 1, "image")


@pytest.mark.slow
def test_large_elements_cross_steps_complete_with_two_threads() -> None:
    def copies(number: int) -> Iterator[tuple[int, tuple[int, bytes]]]:
        for key in range(9):
            time.sleep(0.002)  # so that the timer, if there is one, goes off while buffers are being written
            yield key, (number, bytes([number]) * 550_000)

    def check(grouped: tuple[int, Any]) -> None:
        assert sorted(number for number, _ in grouped[1]) == list(range(100))

    options = PipelineOptions(["--direct_num_workers=2", "--direct_running_mode=multi_threading"])
    for _ in range(5):
        pipeline = beam.Pipeline(make_runner(options), options=options)
        numbers = pipeline | beam.Create(range(100)) | beam.Reshuffle()
        _ = numbers | beam.FlatMap(copies) | beam.GroupByKey() | beam.Map(check)
        pipeline.run().wait_until_finish()
