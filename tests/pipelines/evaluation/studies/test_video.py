"""Video studies: errors by CRF, ties, and what a constant or the exact quantizer would give."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from clips import write_video_weights
from pictures import make_picture
from PIL import Image

from pipelines.cli import main
from pipelines.evaluation.studies.video import (
    VideoErrors,
    VideoTruth,
    compress_frames,
    error_of,
    known_levels,
    summarise,
)
from q1net_core.codecs.table import CODECS
from q1net_core.images.decode import decode
from q1net_core.metrics import QualityErrors


def test_frames_are_those_of_the_codec_and_ties_are_known() -> None:
    pixels = make_picture(1, 80, 96)
    made = {truth.level: (truth, content) for truth, content in compress_frames(pixels, (4, 30), "h264")}
    assert list(made) == [4, 30]
    for level, (_, content) in made.items():
        assert np.array_equal(decode(content).pixels, CODECS["h264"].compress(pixels, level))
    fine, coarse = made[4][0], made[30][0]
    same = [
        level for level in range(7) if np.array_equal(CODECS["h264"].compress(pixels, level), decode(made[4][1]).pixels)
    ]
    assert (fine.least, fine.most) == (min(same), max(same))
    assert (coarse.least, coarse.most) == (30, 30)
    assert fine.qp < coarse.qp


def test_a_constant_quantizer_is_the_level() -> None:
    for codec in ("h264-qp", "hevc-qp"):
        truths = [truth for truth, _ in compress_frames(make_picture(2, 80, 96), (12, 40), codec)]
        assert [truth.qp for truth in truths] == [12, 40]
        assert min(known_levels(codec)) == 1


def test_an_answer_among_ties_is_right() -> None:
    truth = VideoTruth(3, 1, 5, 0)
    assert [error_of(truth, estimate) for estimate in (0, 1, 4.5, 5, 7)] == [-1, 0, 0, 0, 2]
    assert error_of(VideoTruth(20, 20, 20, 15), 18.5) == -1.5


def test_readers_stand_beside_the_network() -> None:
    errors = VideoErrors(QualityErrors())
    for level, qp, estimate in ((0, -6, 1.0), (20, 15, 20.0), (30, 24, 33.0), (51, 47, 51.0), (40, 34, 40.0)):
        network = QualityErrors.of(level + 1, estimate + 1)
        errors = errors + VideoErrors(network, type(errors.offsets)({(level, level - qp): 1}))
    made = summarise({(0, None): errors}, [{"variant": "v"}], "h264")
    assert (made["scale"], made["codec"], made["constant"], made["qp_offset"]) == ("crf", "h264", 30, 6)
    whole = made["bands"][-1]
    assert whole["levels"] == [0, 51]
    assert whole["network"]["mae"] == pytest.approx((1 + 0 + 3 + 0 + 0) / 5)
    assert whole["constant"]["mae"] == pytest.approx((30 + 10 + 0 + 21 + 10) / 5)
    assert whole["exact_qp"]["mae"] == pytest.approx((0 + 1 + 0 + 2 + 0) / 5)
    assert made["bands"][0]["network"]["mae"] == 1


def test_the_constant_answer_over_all_levels_is_off_by_a_quarter_of_the_scale() -> None:
    errors = VideoErrors(QualityErrors())
    for level in known_levels("h264"):
        offsets = type(errors.offsets)({(level, 5): 1})
        errors = errors + VideoErrors(QualityErrors.of(level + 1, 20.0), offsets)
    assert summarise({(0, None): errors}, [{}], "h264")["bands"][-1]["constant"]["mae"] == 13.0


def test_the_codec_chooses_the_study(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = tmp_path / "images"
    images.mkdir()
    Image.fromarray(make_picture(1, 80, 96)).save(images / "a.png")
    weights = write_video_weights(tmp_path)
    arguments = ["evaluate", "--images", str(images), "--output", str(tmp_path / "out"), "--weights", weights]
    assert main([*arguments, "--codec", "h264", "--levels", "10,40"]) == 0
    statistics = json.loads((tmp_path / "out" / "h264.json").read_text())
    assert (statistics["scale"], statistics["arguments"]["study"]) == ("crf", "h264")
    rows = pq.read_table(tmp_path / "out" / "h264.parquet").to_pylist()
    assert {row["scale"] for row in rows} == {"crf"}
    assert [(row["low"], row["reader"]) for row in rows[-3:]] == [
        (0, "q1net-h264"),
        (0, f"always {statistics['constant']}"),
        (0, f"mean QP {statistics['qp_offset']:+d}"),
    ]
    assert rows[-3]["images"] == 2
    assert "crf 0-51" in capsys.readouterr().out
    assert main([*arguments, "--codec", "hevc"]) == 2
    assert "estimate levels of the codec 'h264'; expected weights for one of hevc" in capsys.readouterr().err
    assert main(arguments) == 2
    assert "estimate levels of the codec 'h264'; expected weights for one of jpeg" in capsys.readouterr().err
    assert main([*arguments, "--codec", "h264", "--study", "table2"]) == 2
    assert "codec is h264; the study table2 is of jpeg" in capsys.readouterr().err
