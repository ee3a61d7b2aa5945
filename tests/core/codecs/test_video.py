"""Video codecs: colours are kept, and pictures are padded to sides that the encoders take."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from q1net_core.arrays import UInt8Array
from q1net_core.codecs import video
from q1net_core.codecs.table import CODECS

PHOTOGRAPH = Path(__file__).parents[2] / "photographs" / "camera" / "airplane.png"


@pytest.fixture(scope="module")
def photograph() -> UInt8Array:
    return np.asarray(Image.open(PHOTOGRAPH))


@pytest.mark.parametrize("name", ["h264", "hevc"])
def test_video_keeps_colours_and_greys(name: str, photograph: UInt8Array) -> None:
    picture = photograph[96:233, 128:301]
    change = CODECS[name].compress(picture, 0) - picture.astype(float)
    assert np.abs(change.mean(axis=(0, 1))).max() < 0.6
    greys = np.repeat(np.linspace(0, 255, 160 * 64).astype(np.uint8).reshape(64, 160, 1), 3, axis=2)
    assert np.abs(CODECS[name].compress(greys, 0).astype(int) - greys).max() <= 3
    flat = np.tile(np.array([[[200, 60, 90]]], np.uint8), (64, 64, 1))
    assert np.abs(CODECS[name].compress(flat, 0).astype(int) - flat).max() <= 3


def test_padding_repeats_the_edge_up_to_sides_that_video_takes() -> None:
    padded = video.pad(np.arange(17 * 3 * 3, dtype=np.uint8).reshape(17, 3, 3))
    assert padded.shape == (64, 64, 3)
    assert video.pad(np.zeros((65, 130, 3), np.uint8)).shape == (66, 130, 3)
    assert (padded[17:] == padded[16]).all()
    assert (padded[:, 3:] == padded[:, 2:3]).all()


@pytest.mark.parametrize("name", ["h264", "hevc"])
def test_the_mean_quantizer_follows_the_picture_and_is_what_was_asked_for_where_it_is_constant(name: str) -> None:
    busy = np.random.default_rng(1).integers(0, 256, (128, 128, 3), np.uint8)
    flat = np.full((128, 128, 3), 128, np.uint8)
    assert video.compress_with_qp(busy, 30, name)[1] > video.compress_with_qp(flat, 30, name)[1] + 2
    assert video.compress_with_qp(busy, 30, f"{name}-qp")[1] == video.compress_with_qp(flat, 30, f"{name}-qp")[1] == 30
