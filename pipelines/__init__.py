"""Apache Beam pipelines over q1net_core; the steps are PTransforms for use inside other pipelines."""

from pipelines.audit import AuditImages
from pipelines.inference import Q1NetHandler
from pipelines.tables import WriteRun
from pipelines.transforms import EstimateImages, EstimateQuality, FusePredictions, ReadImages, SamplePatches

__all__ = [
    "AuditImages",
    "EstimateImages",
    "EstimateQuality",
    "FusePredictions",
    "Q1NetHandler",
    "ReadImages",
    "SamplePatches",
    "WriteRun",
]
