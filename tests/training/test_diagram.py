"""The diagram has the layers of the network, in order, and its residual connections."""

from pathlib import Path

from PIL import Image

from q1net_core.network.q1net import STAGES, build_q1net
from training.diagram import read_layers, run

ROOT = Path(__file__).parents[2]


def test_the_boxes_are_the_layers() -> None:
    diagram = read_layers(build_q1net())
    kinds = [box.kind for box in diagram.boxes]
    # Each stage has a convolution and a block of three.
    assert kinds == ["Conv2D"] * (4 * len(STAGES) + 1) + ["GlobalAveragePooling2D", "Dense"]
    assert [box.label for box in diagram.boxes[:5]] == ["3x3", "1x1", "3x3", "1x1", "3x3"]
    assert [box.shape for box in diagram.boxes[:5:4]] == ["14x14x8", "12x12x16"]
    assert [box.shape for box in diagram.boxes[-3:]] == ["2x2x8", "8", "2"]
    assert diagram.boxes[0].height == 14 / 16
    assert list(diagram.residuals) == [(4 * stage + 1, 4 * stage + 3) for stage in range(len(STAGES))]
    assert read_layers(build_q1net(bottlenecks=False)).residuals == []


def test_the_picture_of_the_documents_is_that_of_the_code(tmp_path: Path) -> None:
    assert run(["--output", str(tmp_path / "q1net.png")]) == 0
    with Image.open(tmp_path / "q1net.png") as drawn, Image.open(ROOT / "docs" / "q1net.png") as shown:
        assert drawn.size == shown.size
        assert len(set(drawn.convert("RGB").tobytes())) > 10
