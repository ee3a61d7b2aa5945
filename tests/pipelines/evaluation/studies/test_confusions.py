"""Figure 4: the matrices of several weights side by side, on one colour scale."""

from pathlib import Path

import pytest
from evaluations import run_study
from matplotlib.image import AxesImage
from PIL import Image

from pipelines import files
from pipelines.evaluation import figures
from q1net_core.metrics import QualityErrors


def test_matrices_of_several_weights_are_one_picture(lossless: Path, weights_uri: str, tmp_path: Path) -> None:
    arguments = ("--study", "figure4", "--variant", "q1net-k8", "--levels", "50", "--patches", "16")
    output = run_study(lossless, weights_uri, tmp_path / "out", *arguments)
    evaluations = files.read_json(str(output / "figure4.json"))["evaluations"]
    assert [row["variant"] for row in evaluations] == ["q1net-no-bottleneck", "q1net-k8"]
    lines = (output / "figure4.md").read_text().splitlines()
    assert [line.split("|")[1].strip() for line in lines[-2:]] == ["q1net-no-bottleneck", "q1net-k8"]
    with Image.open(output / "figure4.png") as picture:
        assert picture.width > 1.5 * picture.height


def test_the_matrices_share_their_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[tuple[float, float]] = []
    draw = AxesImage.draw

    def record(self: AxesImage, *args: object, **values: object) -> object:
        limits.append(self.get_clim())
        return draw(self, *args, **values)

    monkeypatch.setattr(AxesImage, "draw", record)
    one, both = QualityErrors.of(50, 51.0), QualityErrors.of(50, 51.0) + QualityErrors.of(50, 10.0)
    figures.draw_confusions([("one", one.confusion), ("both", both.confusion)])
    assert set(limits) == {(0, 1)}
    assert len(limits) >= 2
