"""Images that shards can be cut from, and what is written of them between the passes."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures import make_picture
from PIL import Image

from pipelines.shards.config import ShardsConfig
from pipelines.shards.images import Source, fingerprint_of, load_pixels, read_sources, write_lines
from q1net_core.errors import ImageError


def test_names_that_are_not_text_survive_between_the_passes(tmp_path: Path) -> None:
    sources = [Source(f"/a/{name}", name, "ff", "train", 3) for name in ("plain.png", "a\udce9.png", "\u2028\n.png")]
    assert read_sources(write_lines(str(tmp_path / "sources.jsonl"), sources)) == sources


def test_the_fingerprint_is_of_the_picture_whatever_its_shape() -> None:
    pixels = make_picture(1)
    assert fingerprint_of(pixels) == fingerprint_of(pixels.copy())
    assert len({fingerprint_of(array) for array in (pixels, pixels[::-1], pixels.reshape(96, 80, 3))}) == 3


@pytest.mark.parametrize(
    ("format", "settings", "lossy"),
    [
        ("PNG", {}, False),
        ("TIFF", {}, False),
        ("BMP", {}, False),
        ("JPEG2000", {}, False),
        ("WEBP", {"lossless": True}, False),
        ("WEBP", {"lossless": True, "exif": b"odd"}, False),
        ("WEBP", {}, True),
        ("WEBP", {"icc_profile": b"odd"}, True),
        ("AVIF", {}, True),
        ("JPEG", {}, True),
    ],
)
def test_only_lossless_files_are_taken(format: str, settings: dict[str, Any], lossy: bool) -> None:
    pixels, config = make_picture(1), ShardsConfig("i", "o", patches_per_image=4)
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, format, **settings)
    if lossy:
        with pytest.raises(ImageError, match=f"image is {format}; expected a lossless one"):
            load_pixels(buffer.getvalue(), config)
    else:
        assert np.array_equal(load_pixels(buffer.getvalue(), config), pixels)


def test_images_larger_than_the_codec_takes_are_refused() -> None:
    buffer = BytesIO()
    Image.fromarray(np.zeros((32, 16_384, 3), np.uint8)).save(buffer, "PNG")
    assert load_pixels(buffer.getvalue(), ShardsConfig("i", "o", patches_per_image=4)).shape == (32, 16_384, 3)
    with pytest.raises(ImageError, match="image is 16384 x 32 pixels; the codec takes at most 16383 a side"):
        load_pixels(buffer.getvalue(), ShardsConfig("i", "o", "webp", patches_per_image=4))
