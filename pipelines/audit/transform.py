"""The rows of `q1net audit`: as one PTransform, for pipelines of other people, and as pieces of a run."""

from functools import cached_property
from typing import Any

import apache_beam as beam

from pipelines.audit.pieces import WritePieces
from pipelines.audit.table import Row, to_row
from pipelines.runtime.dataflow import inference_hints
from pipelines.transforms import EstimateImages, EstimateRoutes
from q1net_core.network.weights import WeightsFile
from q1net_core.records import ListedImage
from q1net_core.settings import EstimatorSettings, PinnedWeights


class AuditImages(beam.PTransform):
    """Uris (str or ListedImage) -> rows of the audit table as dicts, exactly one for each, inside any Beam pipeline.

    Args:
        accelerator: ``t4``, ``l4`` or Beam's accelerator hint for the inference step; None for CPUs.
        inference_ram: memory of the machines that predict, at least, such as ``12GB``.
        redistribute: shuffle the patches between decoding and inference, so that the two scale apart.
        settings: any fields of EstimatorSettings; its ``weights`` must be readable by all workers.

    Raises:
        ConfigError: at construction.
        WeightsError: when it becomes part of a pipeline, before any work starts.
    """

    def __init__(
        self,
        *,
        accelerator: str | None = None,
        inference_ram: str | None = None,
        redistribute: bool = True,
        **settings: Any,
    ) -> None:
        super().__init__()
        self.settings = EstimatorSettings(**settings)
        inference_hints(accelerator, inference_ram)
        self.accelerator, self.inference_ram, self.redistribute = accelerator, inference_ram, redistribute

    @cached_property
    def files(self) -> dict[str, WeightsFile]:
        """All weights that may judge some image, by source; read once, when first asked for."""
        return self.settings.read_weights()

    @property
    def weights(self) -> dict[str, PinnedWeights]:
        """The same as the steps know them."""
        return self.settings.pin_all(self.files)

    def expand(self, images: beam.PCollection[str | ListedImage]) -> beam.PCollection[Row]:
        """One output, in no order."""
        estimate = EstimateImages(self.settings, self.weights, self.accelerator, self.redistribute, self.inference_ram)
        return images | "EstimateImages" >> estimate | "ToRow" >> beam.Map(to_row)


def estimate_to_pieces(images: beam.PCollection[Any], estimate: EstimateRoutes, run_uri: str) -> beam.PCollection[str]:
    """Images, as ``estimate`` takes them -> names of the pieces of a run that hold their rows, one for each image."""
    routes = images | "EstimateImages" >> estimate
    rows = tuple(route | f"ToRow {number}" >> beam.Map(to_row) for number, route in enumerate(routes))
    return rows | "WritePieces" >> WritePieces(run_uri)
