"""`q1net audit`: inputs -> one row per image, committed as a run."""

import argparse
import json
import secrets
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from pipelines import inputs as sources
from pipelines import text
from pipelines.audit import table as tables
from pipelines.inference import Q1NetHandler
from pipelines.runtime import local as runner
from pipelines.runtime.quiet import start_quietly
from pipelines.transforms import EstimateImages
from q1net_core import storage
from q1net_core.errors import ConfigError, WeightsError
from q1net_core.estimator import ESTIMATORS, configure
from q1net_core.images.decode import Limits
from q1net_core.network.predictor import load_model
from q1net_core.network.weights import packaged_variants, read_weights
from q1net_core.patches import DEFAULT_PATCHES
from q1net_core.records import ListedImage

DEFAULT_WEIGHTS = "q1net-k8"
# Up to here people see every image on the screen; beyond, the summary.
IMAGES_SHOWN = 40


class AuditImages(beam.PTransform):
    """Uris (str or ListedImage) -> rows of the audit table as dicts, exactly one for each, inside any Beam pipeline.

    Args:
        weights: variant name, or URI of a .keras file that all workers can read.
        threshold: confidence a patch must exceed, 0-100; None takes the one chosen for the weights.
        patches: patches per image, a square number from 16 to 576.
        max_bytes, max_pixels: larger images become rows with the status ``too_large``.
        accelerator: Beam's accelerator hint for the inference step, None for CPUs.
        redistribute: shuffle the patches between decoding and inference, so that the two scale apart.
        estimators: which run, ``lattice`` and ``q1net``.
        cascade: run Q1Net only where the lattice abstains.

    Raises:
        ConfigError, WeightsError: at construction, before any work starts.
    """

    def __init__(
        self,
        weights: str = DEFAULT_WEIGHTS,
        threshold: float | None = None,
        patches: int = DEFAULT_PATCHES,
        max_bytes: int = Limits().max_bytes,
        max_pixels: int = Limits().max_pixels,
        accelerator: str | None = None,
        redistribute: bool = True,
        estimators: Sequence[str] = ESTIMATORS,
        cascade: bool = False,
    ) -> None:
        super().__init__()
        file = read_weights(weights)
        limits = Limits(max_bytes, max_pixels)
        self.config = configure(file.rule(), threshold, patches, limits, tuple(estimators), cascade)
        self.kind = file.network.input
        self.stamp = tables.Stamp(file.variant, file.sha256)
        self.handler = Q1NetHandler(weights, file.sha256, accelerator=accelerator is not None)
        self.accelerator, self.redistribute = accelerator, redistribute

    def expand(self, images: beam.PCollection[str | ListedImage]) -> beam.PCollection[tables.Row]:
        """One output, in no order."""
        return (
            images
            | "EstimateImages"
            >> EstimateImages(self.config, self.handler, self.accelerator, self.redistribute, self.kind)
            | "ToRow" >> beam.Map(tables.to_row, self.stamp)
        )


@dataclass(frozen=True, slots=True)
class AuditConfig:
    """One audit: what to look at, where the run goes, and how images are judged (see AuditImages)."""

    output: str
    inputs: tuple[str, ...] = ()
    manifest: str | None = None
    group: str | None = None
    group_column: str | None = None
    weights: str = DEFAULT_WEIGHTS
    threshold: float | None = None
    patches: int = DEFAULT_PATCHES
    max_bytes: int = Limits().max_bytes
    max_pixels: int = Limits().max_pixels
    accelerator: str | None = None
    estimators: tuple[str, ...] = ESTIMATORS
    cascade: bool = False

    def __post_init__(self) -> None:
        if bool(self.inputs) == bool(self.manifest):
            raise ConfigError("give either INPUT... or --manifest; expected exactly one of the two")
        if self.group and self.group_column:
            raise ConfigError("give either --group or --group-column, not both")
        if self.group_column and not self.manifest:
            raise ConfigError(f"--group-column is {self.group_column!r}; it needs --manifest")


@dataclass(frozen=True, slots=True)
class Run:
    """A run before its work starts: its uri, the files that list its inputs, and how many inputs there are."""

    uri: str
    input_files: list[str]
    images: int


def list_images(config: AuditConfig) -> list[ListedImage]:
    """The config's inputs with their groups; raises ConfigError if there are none or they cannot be listed."""
    expression = sources.group_by(config.group) if config.group else None
    if config.manifest:
        images = sources.read_manifest(config.manifest, config.group_column)
    else:
        images = sources.list_inputs(config.inputs)
    return [sources.assign_group(image, expression) if expression else image for image in images]


def start_run(config: AuditConfig) -> Run:
    """Check the output, list the inputs, open the run's folder."""
    storage.ensure_writable(config.output)
    images = list_images(config)
    run_id = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
    uri = storage.join(config.output, f"run_id={run_id}")
    files, count = sources.write_inputs(images, uri)
    return Run(uri, files, count)


def build(root: beam.Pipeline, config: AuditConfig, run: Run, audit: AuditImages) -> beam.PCollection[str]:
    """The whole pipeline; its one output element is the uri of the committed run."""
    about = {
        "run_id": run.uri.rpartition("run_id=")[2],
        "inputs": {"listed": run.images, "files": [uri.rpartition("/")[2] for uri in run.input_files]},
        "arguments": asdict(config)
        | {"threshold": audit.config.threshold, "inputs": [storage.printable_uri(uri) for uri in config.inputs]},
        "versions": asdict(audit.stamp) | {"beam": beam.__version__},
    }
    return (
        root
        | "Inputs" >> sources.ReadInputs(run.input_files)
        | "AuditImages" >> audit
        | "WriteRun" >> tables.WriteRun(run.uri, run.images, about)
    )


def audit(config: AuditConfig, options: PipelineOptions) -> str:
    """Run one audit to its commit; returns the run's uri.

    Raises:
        ConfigError, WeightsError: before any work starts.
    """
    transform = AuditImages(
        config.weights,
        config.threshold,
        config.patches,
        config.max_bytes,
        config.max_pixels,
        config.accelerator,
        redistribute=not runner.is_local(options),
        estimators=config.estimators,
        cascade=config.cascade,
    )
    with_model = "q1net" in config.estimators
    if with_model and config.weights not in packaged_variants():
        # Somebody's own file: better found unusable here than by every worker.
        start_quietly()
        load_model(read_weights(config.weights))
    run = start_run(config)
    runner.run_pipeline(
        lambda root: build(root, config, run, transform), options, "rows", run.images, "image", with_model
    )
    return run.uri


def make_parser() -> argparse.ArgumentParser:
    """The command's flags."""
    parser = argparse.ArgumentParser(
        prog="q1net audit",
        description="Estimate at which quality every image was compressed, from its pixels.",
        epilog="All other flags go to Apache Beam: --runner, --project, --region, --temp_location, ...",
        allow_abbrev=False,
    )
    parser.add_argument("inputs", nargs="*", metavar="INPUT", help="file, folder or glob; local, gs://, s3://, ...")
    parser.add_argument(
        "--manifest", metavar="URI", help=".csv, .jsonl or .parquet with a column uri, instead of INPUT"
    )
    parser.add_argument("--output", required=True, metavar="URI", help="folder that gets run_id=.../")
    parser.add_argument("--group", metavar="REGEX", help="group of an image: the first capture on its uri")
    parser.add_argument("--group-column", metavar="NAME", help="group of an image: this column of the manifest")
    parser.add_argument(
        "--weights", default=DEFAULT_WEIGHTS, metavar="NAME", help="variant, or URI of a .keras file (%(default)s)"
    )
    parser.add_argument("--threshold", type=float, help="confidence a patch must exceed, 0-100 (the weights' own)")
    parser.add_argument(
        "--patches", type=int, default=DEFAULT_PATCHES, help="patches per image, a square (%(default)s)"
    )
    parser.add_argument("--max-bytes", type=int, default=Limits().max_bytes, help="largest file (%(default)s)")
    parser.add_argument("--max-pixels", type=int, default=Limits().max_pixels, help="largest image (%(default)s)")
    parser.add_argument(
        "--estimators",
        type=lambda names: tuple(names.split(",")),
        default=ESTIMATORS,
        metavar="NAMES",
        help="which run, of lattice and q1net, by commas (both)",
    )
    parser.add_argument("--cascade", action="store_true", help="run Q1Net only where the lattice abstains: faster")
    parser.add_argument("--accelerator", metavar="HINT", help="Beam's accelerator hint for the inference step")
    return parser


def parse(argv: list[str]) -> tuple[AuditConfig, PipelineOptions]:
    """Command line -> config and Beam's options."""
    values, options = runner.parse_flags(make_parser(), argv)
    return AuditConfig(**values | {"inputs": tuple(values["inputs"])}), options


def run(argv: list[str]) -> int:
    """The command; returns its exit status, 0 only when the run is committed."""
    try:
        config, options = parse(argv)
        run_uri = audit(config, options)
    except (ConfigError, WeightsError) as error:
        print(f"q1net audit: {error}", file=sys.stderr)
        return 2
    summary = json.loads(tables.read_uri(storage.join(run_uri, "summary.json")))
    if summary["total"]["images"] <= IMAGES_SHOWN:
        print(text.render_images(tables.read_run(run_uri).to_pylist()), end="\n\n")
    print(text.render_summary(summary))
    print(f"run: {run_uri}")
    return 0
