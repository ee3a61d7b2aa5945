"""Lossless pictures, made up by seed for many or odd sizes, or photographs; and pixels as Pillow's JPEG leaves them."""

from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from q1net_core.images.decode import decode
from q1net_core.records import UInt8Array

PHOTOGRAPHS = Path(__file__).parents[1] / "photographs"
# Bundled photographs that load_original gives.
ORIGINALS = ("camera/airplane.png", "camera/parrots.jpg", "messenger/houses.jpg")


@cache
def load_original(name: str) -> UInt8Array:
    """A photograph of ORIGINALS without trace of JPEG: the compressed ones at half their size, where none is left."""
    picture = Image.open(PHOTOGRAPHS / name).convert("RGB")
    if not name.endswith(".png"):
        picture = picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.LANCZOS)
    return np.asarray(picture)


def encode_jpeg(pixels: UInt8Array, quality: int | None = None, **options: Any) -> bytes:
    """Pixels [height, width, 3] or grey [height, width] -> a JPEG file by Pillow, with Pillow's options."""
    buffer = BytesIO()
    # Together with tables of one's own Pillow would scale these by the quality.
    options |= {} if quality is None else {"quality": quality}
    Image.fromarray(pixels).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def compress(pixels: UInt8Array, quality: int | None = None, **options: Any) -> UInt8Array:
    """Pixels as one JPEG compression by Pillow leaves them: uint8 [height, width, 3]."""
    return decode(encode_jpeg(pixels, quality, **options)).pixels


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
