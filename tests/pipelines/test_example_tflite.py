"""The example of docs/examples runs as it stands, without the package, and answers as the package does."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.cli import main
from q1net_core.codecs.jpeg import encode_jpeg
from q1net_core.network.predictor import Predictor
from q1net_core.network.weights import read_weights
from q1net_core.patches import sample_patches

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs" / "examples" / "predict_tflite.py"


def test_the_example_answers_as_the_package_does(tmp_path: Path) -> None:
    assert "q1net_core" not in EXAMPLE.read_text()
    model, photograph, small = tmp_path / "q1net.tflite", tmp_path / "photograph.jpg", tmp_path / "small.jpg"
    assert main(["export", "--format", "tflite", "--batch", "256", "--output", str(model)]) == 0
    pixels = np.asarray(Image.open(ROOT / "tests" / "photographs" / "camera" / "airplane.png").convert("RGB"))
    photograph.write_bytes(encode_jpeg(pixels, 85))
    # Fewer blocks than a call has patches.
    small.write_bytes(encode_jpeg(pixels[200:264, 200:280], 60))
    card = json.loads((ROOT / "q1net_core" / "weights" / "q1net-k8.json").read_text())
    threshold = card["fusions"]["paper"]["threshold"]
    command = [sys.executable, str(EXAMPLE), str(model), str(threshold), str(photograph), str(small)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    weights = read_weights("q1net-k8")
    for line, path in zip(done.stdout.splitlines(), (photograph, small), strict=True):
        quality, confidence = Predictor(weights).predict(sample_patches(np.asarray(Image.open(path))))
        confident = quality[confidence > threshold]
        if len(confident):
            assert line.startswith(f"{path}: quality ")
            assert float(line.split()[-1]) == pytest.approx(np.median(confident), abs=0.2)
        else:
            assert line == f"{path}: no patch is confident"
    assert "quality" in done.stdout.splitlines()[0]
