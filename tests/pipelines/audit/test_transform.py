"""The audit's transform inside of other pipelines, and its graph: only inference asks for an accelerator."""

import json
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.util import assert_that
from audits import (
    LATTICE,
    audit_of,
    configure,
)

from pipelines import AuditImages
from pipelines.audit.command import Run, build
from pipelines.audit.config import AuditConfig
from pipelines.audit.table import AUDIT_SCHEMA, Row
from q1net_core.errors import ConfigError, WeightsError
from q1net_core.settings import CLEAN_WEIGHTS, ROBUST_WEIGHTS

ACCELERATOR = "type:nvidia-tesla-t4;count:1;install-nvidia-driver"


# As a step of another pipeline ----------------------------------------------------------------------------------------


def test_audit_images_works_in_any_pipeline(small_folder: Path, weights_uri: str) -> None:
    arguments = json.loads(json.dumps({"weights": weights_uri, "threshold": 1, "patches": 16, "max_bytes": 1 << 20,
                                       "max_pixels": 1 << 20, "accelerator": None, "redistribute": True,
                                       "estimators": ["lattice", "q1net"], "cascade": True}))  # fmt: skip
    uris = [f"{small_folder}/{name}.jpg" for name in ("a", "b", "d", "gone")]

    def check(rows: list[Row]) -> None:
        assert sorted((row["uri"], row["status"]) for row in rows) == list(
            zip(uris, ["ok", "ok", "empty", "missing"], strict=True)
        )
        assert all(list(row) == AUDIT_SCHEMA.names for row in rows)
        assert [row["group"] for row in rows] == [None] * 4
        sizes = {row["uri"]: row["size_bytes"] for row in rows}
        assert sizes[uris[0]] == (small_folder / "a.jpg").stat().st_size

    with beam.Pipeline("FnApiRunner", PipelineOptions([])) as pipeline:
        rows = pipeline | beam.Create(uris) | AuditImages(**arguments)
        assert_that(rows, check)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"patches": 7}, ConfigError),
        ({"threshold": -1}, ConfigError),
        ({"max_pixels": 0}, ConfigError),
        ({"estimators": ["exif"]}, ConfigError),
        ({"fusion": "mean"}, ConfigError),
    ],
)
def test_audit_images_refuses_mistakes_at_construction(arguments: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        AuditImages(**arguments)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [({"weights": "gone.keras"}, WeightsError), ({"fusion": "trimmed"}, ConfigError)],
)
def test_weights_that_cannot_be_used_are_found_before_a_pipeline_runs(
    arguments: dict[str, Any], error: type[Exception], weights_uri: str
) -> None:
    images = beam.Pipeline("FnApiRunner", PipelineOptions([])) | beam.Create(["a.jpg"])
    with pytest.raises(error):
        images | AuditImages(**{"weights": weights_uri} | arguments)


# What a distributed runner sees ---------------------------------------------------------------------------------------


def graph_of(config: AuditConfig, redistribute: bool) -> Any:
    pipeline = beam.Pipeline("FnApiRunner", PipelineOptions([]))
    build(pipeline, config, Run("memory://run_id=1", ["memory://x.parquet"], 1), audit_of(config, redistribute))
    return pipeline.to_runner_api().components


def hinted(components: Any) -> set[str]:
    """Names of the transforms that ask for an accelerator."""
    names = set()
    for transform in components.transforms.values():
        hints = components.environments[transform.environment_id].resource_hints if transform.environment_id else {}
        if any("accelerator" in hint for hint in hints):
            assert sorted(hints.values()) == [b"12000000000", ACCELERATOR.encode()]
            names.add(transform.unique_name)
    return names


@pytest.mark.parametrize("redistribute", [True, False])
def test_only_inference_asks_for_the_accelerator(redistribute: bool, weights_uri: str) -> None:
    config = configure("memory://out", "x", weights=weights_uri, accelerator=ACCELERATOR)
    components = graph_of(config, redistribute)
    names = hinted(components)
    inside = "EstimateImages/EstimateQuality q1net-no-bottleneck/RunInference"
    assert any(name.endswith("BeamML_RunInference") for name in names)
    assert all(name.startswith(inside) for name in names)
    (inference,) = (t for t in components.transforms.values() if t.unique_name == inside)
    (source,) = inference.inputs.values()
    producers = [t.unique_name for t in components.transforms.values() if source in t.outputs.values()]
    assert any("RedistributePatches" in name for name in producers) == redistribute
    reshuffles = [t for t in components.transforms.values() if t.spec.urn == "beam:transform:reshuffle:v1"]
    assert any("RedistributePatches" in t.unique_name for t in reshuffles) == redistribute
    grouped = [t for t in components.transforms.values() if t.spec.urn == "beam:transform:group_by_key:v1"]
    assert any(t.unique_name.startswith("Inputs/Spread") for t in grouped)


def test_each_network_has_its_own_step_and_all_of_them_the_accelerator() -> None:
    config = AuditConfig("memory://out", ("x",), accelerator=ACCELERATOR)
    names = hinted(graph_of(config, True))
    for variant in (CLEAN_WEIGHTS, ROBUST_WEIGHTS):
        inside = f"EstimateImages/EstimateQuality {variant}/RunInference"
        assert any(name.startswith(inside) and name.endswith("BeamML_RunInference") for name in names)
    assert all("EstimateQuality" in name for name in names)


def test_the_graph_has_no_inference_where_q1net_is_not_wanted(weights_uri: str) -> None:
    config = configure("memory://out", "x", weights=weights_uri, estimators=LATTICE)
    names = {transform.unique_name for transform in graph_of(config, True).transforms.values()}
    assert not any("RunInference" in name or "RedistributePatches" in name for name in names)
    assert any("SamplePatches" in name for name in names)


def test_without_accelerator_nothing_is_hinted(weights_uri: str) -> None:
    assert hinted(graph_of(configure("memory://out", "x", weights=weights_uri), True)) == set()


def test_the_graph_holds_no_images_however_many_there_are(weights_uri: str) -> None:
    config = configure("memory://out", "x", weights=weights_uri)
    assert graph_of(config, True).ByteSize() < 200_000
