"""The ModelHandler that lets Beam's RunInference batch images into a Q1Net.

One element is one image with all its patches, a batch is many images: on a CPU one call of the model for each image,
on an accelerator one for all of them.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from apache_beam.ml.inference.base import ModelHandler

from pipelines.runtime import counters
from q1net_core.estimator import PatchModel, predict_in_rounds, predict_patches, predict_together
from q1net_core.records import FusionRule, ImagePatches, PatchPredictions

# An accelerator starves on one image at a time; a CPU is fastest with exactly that, see predictor.Predictor.
IMAGES_PER_BATCH = 4
ACCELERATOR_IMAGES_PER_BATCH = 64


class Q1NetHandler(ModelHandler[ImagePatches, PatchPredictions, PatchModel]):
    """Loads verified weights once per process and predicts whole images.

    Args:
        weights: variant name or URI of a .keras file, readable by the workers.
        sha256: the file's digest; a worker that finds another file refuses to start.
        accelerator: batch and call sizes for an accelerator instead of a CPU.
        auto: of images whose patches are in spread order only as many are looked at as it takes, by this fusion rule
            of the weights; on an accelerator, where patches cost little, and without a rule all of them are.
    """

    def __init__(self, weights: str, sha256: str, accelerator: bool = False, auto: FusionRule | None = None) -> None:
        images = ACCELERATOR_IMAGES_PER_BATCH if accelerator else IMAGES_PER_BATCH
        # One model per machine for all its processes: each would take its own share of the accelerator's memory.
        copies = 1 if accelerator else None
        # Equal bounds: else Beam fits curves to the times of batches, at a cost and with warnings of poor fits.
        super().__init__(min_batch_size=images, max_batch_size=images, model_copies=copies)
        self.weights, self.sha256, self.accelerator = weights, sha256, accelerator
        self.auto = None if accelerator else auto

    def load_model(self) -> PatchModel:
        """Read, verify, load; heavy imports happen here, on the workers that predict, and nowhere else."""
        from q1net_core.network.predictor import Predictor, needs_keras
        from q1net_core.network.weights import read_pinned

        weights = read_pinned(self.weights, self.sha256)
        if needs_keras(weights, self.accelerator):
            prepare_device()
        return Predictor(weights, ACCELERATOR_IMAGES_PER_BATCH if self.accelerator else 1)

    def run_inference(
        self, batch: Sequence[ImagePatches], model: PatchModel, inference_args: dict[str, Any] | None = None
    ) -> Iterable[PatchPredictions]:
        """Predict all patches of all images of the batch; numpy in, numpy out."""
        with counters.timed("predict_usec"):
            if self.accelerator:
                predictions = predict_together(model, batch)
            elif self.auto is not None:
                predictions = predict_in_rounds(model, batch, self.auto)
            else:
                predictions = predict_patches(model, batch)
        counters.inc("patches", sum(len(item.quality) for item in predictions))
        return predictions

    def get_num_bytes(self, batch: Sequence[ImagePatches]) -> int:
        """Bytes of patches; Beam's default would pickle every batch to find out."""
        return sum(item.patches.nbytes for item in batch)

    def get_metrics_namespace(self) -> str:
        """Where RunInference's own metrics appear."""
        return counters.NAMESPACE


def prepare_device() -> None:
    """Let several worker processes use one accelerator, each with memory as it needs it, and compute in float32.

    TensorFlow would take all of the memory, and round factors to ten bits (TF32): what that does to estimates was not
    measured.
    """
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_tensor_float_32_execution(False)
        for device in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(device, True)
