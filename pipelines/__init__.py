"""Apache Beam pipelines over q1net_core; the steps are PTransforms for use inside other pipelines."""

from importlib import import_module
from typing import Any

# Imported when first used: Beam takes seconds, which `q1net --help` should not.
_HOMES = {
    "AuditImages": "pipelines.audit.transform",
    "AuditRows": "pipelines.audit.beam_rows",
    "EstimateImages": "pipelines.transforms",
    "EstimateQuality": "pipelines.transforms",
    "FusePredictions": "pipelines.transforms",
    "MakeShards": "pipelines.shards.transform",
    "Q1NetHandler": "pipelines.inference",
    "ReadImages": "pipelines.transforms",
    "SamplePatches": "pipelines.transforms",
    "WriteRun": "pipelines.audit.run",
    "newest_run": "pipelines.audit.listing",
    "read_run": "pipelines.audit.run",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
