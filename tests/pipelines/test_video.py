"""`q1net predict --frames`: key frames of video files, judged by weights for their codec and by no others."""

import json
from pathlib import Path

import numpy as np
import pytest
from clips import write_clip, write_video_weights
from pictures import make_picture

from pipelines.cli import main
from q1net_core.codecs.frames import read_key_frames
from q1net_core.network.predictor import Predictor
from q1net_core.network.weights import read_weights
from q1net_core.sampling import sample


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six frames, the first, third and fifth of them key frames."""
    return write_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", [make_picture(seed, 80, 96) for seed in range(6)])


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_video_weights(tmp_path_factory.mktemp("weights"))


def test_a_row_for_each_key_frame(clip: Path, weights: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "--json", "--weights", weights, str(clip), "--frames", "9"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["frame"], row["seconds"], row["status"]) for row in rows] == [
        (0, 0, "ok"),
        (1, 0.5, "ok"),
        (2, 1, "ok"),
    ]
    assert {(row["scale"], row["codec"], row["variant"]) for row in rows} == {("crf", "h264", "q1net-h264")}
    file = read_weights(weights, codecs=None)
    _, frames = read_key_frames(clip.read_bytes(), 9)
    for row, frame in zip(rows, frames, strict=True):
        quality, _ = Predictor(file).predict(sample(frame.pixels, file.network.input))
        assert row["level"] == pytest.approx(np.median(quality), abs=1e-3)
        assert 0 <= row["level"] <= 51
    assert main(["predict", "--weights", weights, str(clip), "--frames", "1"]) == 0
    assert "clip.mp4, key frame 1 at 0.50 s: crf " in capsys.readouterr().out


def test_key_frames_are_the_pictures_that_were_encoded(clip: Path) -> None:
    codec, frames = read_key_frames(clip.read_bytes(), 2)
    assert codec == "h264"
    # Two of three, evenly spread.
    assert [frame.number for frame in frames] == [0, 2]
    for frame in frames:
        original = make_picture(2 * frame.number, 80, 96).astype(float)
        others = [make_picture(seed, 80, 96).astype(float) for seed in range(6) if seed != 2 * frame.number]
        distance = np.abs(frame.pixels - original).mean()
        assert distance < min(np.abs(frame.pixels - other).mean() for other in others) / 2


def test_weights_of_another_codec_are_refused(
    clip: Path, weights: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_clip(tmp_path / "other.mp4", [make_picture(1, 80, 96)], "libx265")
    assert main(["predict", "--weights", weights, str(other), "--frames", "2"]) == 1
    assert "other.mp4: unsupported: the video is hevc; q1net-h264 estimates levels of h264 alone" in (
        capsys.readouterr().out
    )
    assert main(["predict", "--weights", "q1net-k8", str(clip), "--frames", "2"]) == 2
    assert "estimate levels of the codec 'jpeg'; expected weights for one of h264, hevc" in capsys.readouterr().err
    assert main(["predict", "--weights", weights, str(clip)]) == 2
    assert "estimate levels of the codec 'h264'; expected weights for one of jpeg" in capsys.readouterr().err
    assert main(["predict", str(clip), "--frames", "2"]) == 2
    assert "expected weights for their codec" in capsys.readouterr().err


def test_files_that_are_no_video_have_a_row_with_the_reason(
    weights: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text.mp4").write_text("no video at all\n" * 100)
    small = write_clip(tmp_path / "small.mp4", [make_picture(1, 32, 96)])
    arguments = ["predict", "--json", "--weights", weights, "--frames", "2"]
    assert main([*arguments, str(tmp_path / "text.mp4"), str(small)]) == 1
    rows = {Path(row["uri"]).name: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    assert rows["text.mp4"]["status"] == "unsupported"
    assert rows["small.mp4"]["status"] == "too_small"
    assert "no macroblock has 4 pixels around it" in rows["small.mp4"]["error"]
