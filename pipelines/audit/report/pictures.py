"""Pictures of single images for a report: small, with the patches that their answers were made from."""

from functools import cache
from io import BytesIO

import numpy as np
from PIL import Image

from pipelines.audit.report.gather import Row
from pipelines.inputs.members import read_input
from q1net_core.errors import ImageError
from q1net_core.estimator import choose_grid, load_network
from q1net_core.images.decode import decode
from q1net_core.network.weights import packaged_variants, read_weights
from q1net_core.overlay import PatchView, draw_overlay
from q1net_core.patches import cut_patches, first_blocks
from q1net_core.records import ListedImage
from q1net_core.sampling import PATCHES
from q1net_core.settings import EstimatorSettings, PinnedWeights

# Longer side, pixels: sharp enough on a phone, a few ten kB.
SIDE = 480
JPEG_QUALITY = 80


@cache
def find_network(row_variant: str | None, settings: EstimatorSettings) -> PinnedWeights | None:
    """The weights that judged an image, where they are at hand, under their name or the uri the run was given."""
    source = row_variant if row_variant in packaged_variants() else settings.weights
    return None if source is None else settings.pin(source, read_weights(source))


def draw_picture(row: Row, settings: EstimatorSettings) -> bytes | None:
    """One image of a run as a small JPEG with its patches; None where it cannot be read any more.

    Patches are shown where the run's network is at hand, under the name or uri that the run was given.
    """
    try:
        pixels = decode(read_input(ListedImage(row["uri"]), settings.max_bytes), settings.limits).pixels
    except ImageError:
        return None
    height, width = pixels.shape[:2]
    scale = min(1.0, SIDE / max(height, width))
    small = Image.fromarray(pixels).resize((max(1, round(width * scale)), max(1, round(height * scale))))
    drawn = np.asarray(small)
    weights = find_network(row["variant"], settings) if row["patches"] else None
    if weights is not None and weights.input == PATCHES:
        grid = choose_grid(None if row["grid_x"] is None else (row["grid_x"], row["grid_y"]), height, width)
        found = first_blocks(height, width, row["patches"], settings.most_patches, grid)
        quality, confidence = load_network(weights).predict(cut_patches(pixels, found))
        blocks = np.rint(found * scale).astype(np.intp)
        view = PatchView(quality, confidence, weights.rule.threshold, row["q1net_quality"])
        drawn = draw_overlay(drawn, blocks, view, least_width=1)
    buffer = BytesIO()
    Image.fromarray(drawn).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()
