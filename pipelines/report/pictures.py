"""Pictures of single images for a report: small, with the patches that their answers were made from."""

from functools import cache
from io import BytesIO

import numpy as np
from PIL import Image

from pipelines.report.gather import Row
from q1net_core import storage
from q1net_core.errors import ImageError
from q1net_core.estimator import EstimatorSettings, choose_grid
from q1net_core.images.decode import decode
from q1net_core.network.predictor import Predictor
from q1net_core.network.weights import packaged_variants, read_weights
from q1net_core.overlay import draw_overlay
from q1net_core.patches import sample_blocks, sample_patches
from q1net_core.sampling import PATCHES

# Longer side, pixels: sharp enough on a phone, a few ten kB.
SIDE = 480
JPEG_QUALITY = 80


@cache
def load_network(weights: str) -> Predictor:
    """A network, loaded once."""
    return Predictor(read_weights(weights))


def draw_picture(row: Row, settings: EstimatorSettings) -> bytes | None:
    """One image of a run as a small JPEG with its patches; None where it cannot be read any more.

    Patches are shown where the run's network is at hand, under the name or uri that the run was given.
    """
    try:
        pixels = decode(storage.read_bytes(row["uri"], settings.max_bytes), settings.limits).pixels
    except ImageError:
        return None
    height, width = pixels.shape[:2]
    scale = min(1.0, SIDE / max(height, width))
    small = Image.fromarray(pixels).resize((max(1, round(width * scale)), max(1, round(height * scale))))
    weights = row["variant"] if row["variant"] in packaged_variants() else settings.weights
    drawn = np.asarray(small)
    model = load_network(weights) if "q1net" in settings.estimators and row["patches"] else None
    if model is not None and model.weights.network.input == PATCHES:
        grid = choose_grid(None if row["grid_x"] is None else (row["grid_x"], row["grid_y"]), height, width)
        quality, confidence = model.predict(sample_patches(pixels, row["patches"], grid))
        blocks = np.rint(sample_blocks(height, width, row["patches"], grid) * scale).astype(np.intp)
        drawn = draw_overlay(drawn, blocks, quality, confidence, settings.rule_of(model.weights).threshold)
    buffer = BytesIO()
    Image.fromarray(drawn).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()
