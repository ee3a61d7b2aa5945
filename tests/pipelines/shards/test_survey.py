"""Which split an image belongs to, whatever its name and its copies."""

from collections import Counter
from hashlib import sha256
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from pictures import make_picture
from PIL import Image

from pipelines.shards.config import ShardsConfig
from pipelines.shards.survey import choose_split, div2k_split, fingerprint_of, load_pixels
from q1net_core.errors import ImageError


@pytest.mark.parametrize(
    ("uri", "split"),
    [
        ("/data/DIV2K/DIV2K_train_HR/0001.png", "train"),
        ("gs://b/DIV2K_train_HR/0700.png", "train"),
        ("DIV2K_train_HR/0701.png", "valid"),
        ("/DIV2K_train_HR/0800.webp", "valid"),
        ("/DIV2K_valid_HR/0801.png", "test"),
        ("/DIV2K_valid_HR/0900.png", "test"),
        ("/DIV2K_train_LR_bicubic/X2/0705x2.png", "valid"),
        ("/DIV2K_valid_LR_mild/0900x4m.png", "test"),
        ("/DIV2K_train_HR/0801.png", None),
        ("/DIV2K_train_HR/0000.png", None),
        ("/DIV2K_valid_HR/0800.png", None),
        ("/DIV2K_valid_HR/0901.png", None),
        ("/DIV2K_train_HR/10001.png", None),
        ("/MyDIV2K_train_HR/0001.png", None),
        ("/photos/0001.png", None),
    ],
)
def test_div2k_is_recognised_by_its_folders(uri: str, split: str | None) -> None:
    assert div2k_split(uri) == split


def test_other_images_are_split_by_their_pixels_and_copies_follow_div2k() -> None:
    fingerprints = [sha256(b"%d" % number).hexdigest() for number in range(4500)]
    counts = Counter(choose_split(fingerprint, ["/photos/1.png"]) for fingerprint in fingerprints)
    assert abs(counts["train"] - 3500) < 120
    assert abs(counts["valid"] - 500) < 90
    assert abs(counts["test"] - 500) < 90
    for fingerprint in fingerprints[:20]:
        assert choose_split(fingerprint, ["/a/1.png", "/DIV2K_valid_HR/0801.png"]) == "test"
        uris = ["/DIV2K_valid_HR/0801.png", "/DIV2K_train_HR/0001.png"]
        assert choose_split(fingerprint, uris) == choose_split(fingerprint, uris[::-1]) == "train"


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
