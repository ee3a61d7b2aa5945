"""Made-up lossless pictures, by seed, for tests that need many or odd sizes."""

import numpy as np
from PIL import Image

from q1net_core.records import UInt8Array


def make_texture(seed: int, height: int, width: int) -> UInt8Array:
    """Noise of any strength on a gradient: from smooth to saturated."""
    rng = np.random.default_rng(seed)
    gradient = np.add.outer(np.arange(height), np.arange(width))[..., None] * rng.uniform(0, 2, 3)
    noise = rng.normal(rng.uniform(0, 255), rng.choice([1, 8, 40, 200]), (height, width, 3))
    return np.clip(gradient + noise, 0, 255).astype(np.uint8)


def make_picture(seed: int, height: int = 80, width: int = 96) -> UInt8Array:
    """Smooth blotches with a little noise, as a photograph has."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC), np.int16)
    return np.clip(smooth + rng.normal(0, 6, smooth.shape), 0, 255).astype(np.uint8)
