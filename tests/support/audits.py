"""Audits in tests: configs from plain values, runs of them, and their rows, with Beam and without."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from apache_beam.options.pipeline_options import PipelineOptions

from pipelines import AuditImages
from pipelines.audit.command import Run, build
from pipelines.audit.config import AuditConfig
from pipelines.audit.inputs import list_images
from pipelines.audit.run import read_run
from pipelines.audit.table import AUDIT_SCHEMA, Row, to_row
from pipelines.runtime.local import run_pipeline
from q1net_core.estimator import estimate_image
from q1net_core.network.predictor import Predictor
from q1net_core.settings import EstimatorSettings

ONE_THREAD = ["--direct_num_workers=1", "--direct_running_mode=in_memory"]
TWO_THREADS = ["--direct_num_workers=2", "--direct_running_mode=multi_threading"]
Q1NET, LATTICE, BOTH = ("q1net",), ("lattice",), ("lattice", "q1net")


def configure(
    output: Path | str, *inputs: Path | str, weights: str, patches: int = 16, manifest: str | None = None,
    group: str | None = None, group_column: str | None = None, accelerator: str | None = None, **settings: Any,
) -> AuditConfig:  # fmt: skip
    """A config from plain values, with few patches."""
    chosen = EstimatorSettings(weights=weights, patches=patches, **settings)
    return AuditConfig(
        str(output), tuple(map(str, inputs)), manifest, group, group_column, accelerator, settings=chosen
    )


def change(config: AuditConfig, **settings: Any) -> AuditConfig:
    """The config with other settings."""
    return replace(config, settings=replace(config.settings, **settings))


def audit_of(config: AuditConfig, redistribute: bool = True) -> AuditImages:
    """The transform of a config."""
    return AuditImages(accelerator=config.accelerator, redistribute=redistribute, **asdict(config.settings))


def execute(config: AuditConfig, run: Run, flags: list[str], redistribute: bool = True) -> list[Row]:
    """Run a started audit and read the committed rows, ordered by uri."""
    options = PipelineOptions(["--runner=FnApiRunner", *flags])
    transform = audit_of(config, redistribute)
    run_pipeline(lambda root: build(root, config, run, transform), options, "rows", run.images or 0, "image")
    return sorted(read_run(run.uri).to_pylist(), key=lambda row: row["uri"])


def as_stored(rows: list[Row]) -> list[Row]:
    """Rows as the table keeps them: float32, microseconds."""
    return sorted(pa.Table.from_pylist(rows, AUDIT_SCHEMA).to_pylist(), key=lambda row: row["uri"])


def without_time(rows: list[Row]) -> list[Row]:
    assert all(row["processed_at"] is not None for row in rows)
    return [{name: value for name, value in row.items() if name != "processed_at"} for row in rows]


def run_folders(output: Path) -> list[Path]:
    return sorted(output.glob("run_id=*")) if output.exists() else []


def rows_without_beam(config: AuditConfig, model: Predictor) -> list[Row]:
    """Rows of the plain loop over all images of a config."""
    settings, weights = config.settings, audit_of(config).weights
    records = [estimate_image(image, settings, weights, lambda _: model) for image in list_images(config)]
    return as_stored([to_row(record) for record in records])
