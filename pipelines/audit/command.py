"""`q1net audit`: inputs -> one row per image, committed as a run."""

import secrets
import sys
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions, TestOptions

from pipelines import files
from pipelines.audit.closing import close_run
from pipelines.audit.commit import commit_pieces
from pipelines.audit.config import AuditConfig, parse
from pipelines.audit.inputs import ListImages, check_sources, list_images
from pipelines.audit.parts import buckets_of
from pipelines.audit.pieces import drop_pieces
from pipelines.audit.plan import make_plan, render_plan
from pipelines.audit.resume import EarlierFile, SkipDone, carry_over, find_earlier
from pipelines.audit.run import CommitRun, ReadPieces, describe_inputs
from pipelines.audit.shares import IMAGES_PER_PROCESS, estimate_in_shares
from pipelines.audit.table import SCHEMA_VERSION
from pipelines.audit.transform import AuditImages, estimate_to_pieces
from pipelines.inputs import ReadInputs, write_inputs
from pipelines.runtime import counters
from pipelines.runtime.dataflow import ENGINE as DATAFLOW
from pipelines.runtime.dataflow import check_accelerator, describe_graph, dry_run
from pipelines.runtime.local import run_pipeline
from pipelines.runtime.options import is_local, name_engine
from pipelines.runtime.quiet import start_quietly
from pipelines.runtime.versions import find_versions
from pipelines.transforms import EstimateRoutes
from q1net_core import __version__, storage
from q1net_core.errors import ConfigError, WeightsError
from q1net_core.network.predictor import Predictor, needs_keras
from q1net_core.network.weights import packaged_variants
from q1net_core.settings import PinnedWeights


@dataclass(frozen=True, slots=True)
class Run:
    """A run before its work starts: its uri, the files that list its inputs, how many inputs there are.

    No files and None where the engine is to list them. ``about`` is what its JSON files say of it from the start,
    ``earlier`` are files with rows that may still hold.
    """

    uri: str
    input_files: list[str] = field(default_factory=list)
    images: int | None = None
    about: files.JSON = field(default_factory=dict)
    earlier: list[EarlierFile] = field(default_factory=list)


def name_run(started: datetime) -> str:
    """A run's id: names sort by their times, also within a second; the last two digits are random."""
    share_of_second = started.microsecond * 0x10000 // 1_000_000
    return f"{started:%Y%m%dT%H%M%SZ}-{share_of_second:04x}{secrets.token_hex(1)}"


def start_run(config: AuditConfig, audit: AuditImages, on_engine: bool = False) -> Run:
    """Check the output, list the inputs or leave it to the engine, open the run's folder, find rows of earlier runs."""
    storage.ensure_writable(config.output)
    started = datetime.now(UTC)
    run_id = name_run(started)
    uri = storage.join(config.output, f"run_id={run_id}")
    input_files: list[str] = []
    count: int | None = None
    if on_engine:
        check_sources(config)
    else:
        with ExitStack() as undo:
            undo.callback(storage.remove, uri)
            input_files, count = write_inputs(list_images(config), uri)
            undo.pop_all()
    about = {
        "run_id": run_id,
        "started_at": started.isoformat(),
        **({} if on_engine else {"inputs": describe_inputs(count, input_files)}),
        "arguments": config.to_json(),
        "weights": [describe_weights(weights) for weights in audit.weights.values()],
        "versions": find_versions() | {"q1net_version": __version__, "schema_version": SCHEMA_VERSION},
    }
    earlier, others = find_earlier(config.output, about) if config.resume else ([], 0)
    if others:
        print(f"{others} earlier runs are of other weights or settings: their rows are not used", file=sys.stderr)
    files.write_json(storage.join(uri, "_started.json"), about)
    return Run(uri, input_files, count, about, earlier)


def plan_run(config: AuditConfig) -> str:
    """What a run of this config would take, as text; nothing is written."""
    weights = AuditImages(accelerator=config.accelerator, **asdict(config.settings)).weights
    return render_plan(make_plan(list_images(config), config.settings, weights))


def describe_weights(weights: PinnedWeights) -> dict[str, Any]:
    """What a run's JSON says of weights that may have judged some image."""
    return {
        "source": storage.printable_uri(weights.source),
        "variant": weights.variant,
        "sha256": weights.sha256,
        "fusion": weights.rule.fusion,
        "threshold": weights.rule.threshold,
    }


def build(root: beam.Pipeline, config: AuditConfig, run: Run, audit: AuditImages) -> beam.PCollection[str]:
    """The whole pipeline; its one output element is the uri of the committed run."""
    listed: Any
    expected: Any = run.images
    if run.images is None:
        listed, expected = root | "ListImages" >> ListImages(config, run.uri)
    else:
        listed = root | "InputFiles" >> beam.Create(run.input_files)
    carried: tuple[Any, ...] = ()
    if run.earlier:
        images, kept = listed | "SkipDone" >> SkipDone(run.earlier, buckets_of(expected))
        carried = (kept,)
    else:
        images = listed | "Inputs" >> ReadInputs()
    estimate = EstimateRoutes(audit.settings, audit.weights, audit.accelerator, audit.redistribute, audit.inference_ram)
    judged = estimate_to_pieces(images, estimate, run.uri) | "ReadPieces" >> ReadPieces(run.uri)
    commit = CommitRun(run.uri, expected, run.about, config.partition_by_group, listed)
    return (judged, *carried) | "Commit" >> commit


def make_transform(config: AuditConfig, options: PipelineOptions) -> AuditImages:
    """The config's transform, as the engine wants it; raises ConfigError if that has no use for the accelerator."""
    if config.accelerator and name_engine(options) == DATAFLOW:
        check_accelerator(options)
    return AuditImages(
        accelerator=config.accelerator,
        inference_ram=config.inference_ram,
        redistribute=not is_local(options),
        **asdict(config.settings),
    )


def rehearse(config: AuditConfig, options: PipelineOptions) -> str:
    """The job graph that Dataflow would get, for people; nothing is listed, read from a store or written.

    Raises:
        ConfigError, WeightsError: as audit, but for inputs and output.
    """
    if name_engine(options) != DATAFLOW:
        raise ConfigError(f"--dry-run is for --runner={DATAFLOW}; it shows the job graph")
    transform = make_transform(config, options)
    uri = storage.join(config.output, "run_id=dry-run")
    return describe_graph(dry_run(lambda root: build(root, config, Run(uri), transform), options))


def goes_in_shares(run: Run, workers: int) -> bool:
    """Whether a run on this machine is one of shares: it resumes another, or its processes are worth their start."""
    return bool(run.earlier) or workers == 1 or (run.images or 0) >= workers * IMAGES_PER_PROCESS


def audit_in_shares(
    config: AuditConfig, options: PipelineOptions, run: Run, audit: AuditImages, workers: int
) -> dict[str, Any]:
    """Carry over what earlier runs have done, judge the rest in processes of this machine, and commit the run.

    Returns what all of them have counted.

    Raises:
        RuntimeError: a process failed or was killed, or rows are missing; nothing is committed.
    """
    images = run.images or 0
    input_files, judged = run.input_files, images
    if run.earlier:
        input_files, judged = carry_over(run.uri, run.input_files, images, run.earlier)
    processes = max(1, min(workers, -(-judged // IMAGES_PER_PROCESS)))
    estimate = EstimateRoutes(audit.settings, audit.weights, redistribute=False, batched=True)
    counted = estimate_in_shares(estimate, options, processes, input_files, judged, run.uri)
    carried = images - judged
    commit_pieces(run.uri, images, run.about, run.input_files, config.partition_by_group, carried)
    counted = counters.add_totals(counted, {"rows": carried, "rows_carried": carried} if carried else {})
    print(f"counted: {counters.render_totals(counted)}", file=sys.stderr)
    return counted


def audit(config: AuditConfig, options: PipelineOptions) -> str:
    """Run one audit to its commit; returns the run's uri.

    Raises:
        ConfigError, WeightsError: before any work starts.
    """
    transform = make_transform(config, options)
    with_accelerator = config.accelerator is not None
    with_keras = any(needs_keras(file, with_accelerator) for file in transform.files.values())
    own = [transform.files[source] for source in transform.weights if source not in packaged_variants()]
    if own:
        # Somebody's own file: better found unusable here than by every worker.
        if with_keras:
            start_quietly()
        Predictor(own[0])
    run = start_run(config, transform, on_engine=not is_local(options))
    try:
        if config.workers and not with_keras and goes_in_shares(run, config.workers):
            counted = audit_in_shares(config, options, run, transform, config.workers)
        else:
            build_run = partial(build, config=config, run=run, audit=transform)
            counted = run_pipeline(build_run, options, "rows", run.images or 0, "image", with_keras)
    except BaseException:
        # Ctrl-C too: whatever ends the run, people are told what is left of it, and the end goes on.
        print(f"{run.uri} is not committed; the same command with --resume keeps what is done", file=sys.stderr)
        raise
    drop_pieces(run.uri)
    if counted:
        files.write_json(storage.join(run.uri, "counters.json"), counted)
    return run.uri


def run(argv: list[str]) -> int:
    """The command; returns its exit status, 0 only when the run is committed and nothing of --fail-on is found."""
    try:
        config, options = parse(argv)
        if options.view_as(TestOptions).dry_run:
            print(rehearse(config, options))
            return 0
        if config.plan:
            print(plan_run(config))
            return 0
        run_uri = audit(config, options)
    except (ConfigError, WeightsError) as error:
        print(f"q1net audit: {error}", file=sys.stderr)
        return 2
    if options.view_as(GoogleCloudOptions).template_location:
        # As a Flex Template's launcher has it: the service starts the job from the template.
        print(f"run: {run_uri}, once the job is done")
        return 0
    return close_run(run_uri, config.report, config.fail_on)
