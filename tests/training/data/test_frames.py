"""Patches of video frames: as the codec leaves the whole frame, on macroblocks, at several levels of each place."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pictures import make_picture
from PIL import Image

from q1net_core.codecs.table import CODECS
from q1net_core.network.predictor import load_model
from q1net_core.network.variants import MAX_CRF, VARIANTS
from q1net_core.network.weights import read_weights
from training.config import default_preset, preset
from training.data import frames
from training.data.frames import batches, draw_places, make_frames
from training.data.images import image_data
from training.losses import make_loss
from training.trainer import train

CONFIG = preset("video", batch_size=32, seed=3)


def test_patches_are_macroblocks_of_whole_frames_at_every_level() -> None:
    pixels = make_picture(1, 80, 96)
    pictures, levels = make_frames([pixels], np.ones(1), CONFIG, 7)
    assert len(set(levels.tolist())) == 4
    for picture, level in zip(pictures, levels, strict=True):
        assert np.array_equal(picture, CODECS["h264"].compress(pixels, int(level)))
    patches, truth = draw_places(np.random.default_rng(1), (pictures, levels), 24, 5)
    assert (patches.shape, patches.dtype) == ((20, 24, 24, 3), np.uint8)
    assert truth.tolist() == np.repeat(levels, 5).tolist()
    every = [
        picture[top : top + 24, left : left + 24]
        for picture in pictures[:1]
        for top in range(12, 80 - 24 + 1, 16)
        for left in range(12, 96 - 24 + 1, 16)
    ]
    assert all(any(np.array_equal(patch, other) for other in every) for patch in patches[:5])


def test_batches_depend_on_seed_and_step_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "FRAMES", 3)
    corpus = [make_picture(seed, 80, 96) for seed in range(2)]
    stream = batches(corpus, CONFIG)
    drawn = [next(stream) for _ in range(4)]
    again = next(batches(corpus, CONFIG, 3))
    assert all(np.array_equal(a, b) for a, b in zip(again, drawn[3], strict=True))
    assert drawn[3][0].shape == (32, 24, 24, 3)
    assert not np.array_equal(drawn[3][1], next(batches(corpus, replace(CONFIG, seed=4), 3))[1])


def test_loss_and_card_have_the_scale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loss = make_loss("confidence aware", 0.5, MAX_CRF)
    outputs = np.float32([[20, 51], [30, 41]])
    assert np.asarray(loss.call(np.float32([20, 40]), outputs)) == pytest.approx([0, 10])
    monkeypatch.setattr(frames, "FRAMES", 2)
    for seed in range(2):
        Image.fromarray(make_picture(seed, 80, 96)).save(tmp_path / f"{seed}.png")
    data = image_data(str(tmp_path), str(tmp_path), VARIANTS["q1net-h264-16"])
    config = preset("smoke", variant="q1net-h264-16", steps=2, validation_every=2, warmup_steps=1, batch_size=16)
    assert default_preset("q1net-h264-16") == "video"
    train(config, data, tmp_path / "out")
    file = read_weights(str(tmp_path / "out" / "q1net-h264-16.keras"), codecs=["h264"])
    assert (file.card.codec, set(file.card.codec_versions)) == ("h264", {"av", "libavcodec", "libswscale"})
    assert file.card.more == {"scale": "crf", "largest_level": 51, "patch": 16}
    outputs = np.asarray(load_model(file)(np.zeros((2, 16, 16, 3), np.uint8)))
    assert 0 <= outputs.min() <= outputs.max() <= 51
    _, confidence = VARIANTS["q1net-h264"].read_outputs(np.float32([[30, 51], [30, 25.5]]))
    assert confidence.tolist() == [100, 50]
