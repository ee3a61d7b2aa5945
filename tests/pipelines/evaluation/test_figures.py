"""Pictures show what the figures say."""

from io import BytesIO
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from PIL import Image

from pipelines.evaluation import figures
from q1net_core.metrics import QualityErrors


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Any]]:
    """What was handed to matplotlib."""
    calls: dict[str, list[Any]] = {"imshow": [], "plot": []}
    for name in calls:
        original = getattr(Axes, name)

        def record(self: Axes, *args: Any, name: str = name, original: Any = original, **values: Any) -> Any:
            calls[name].append(args)
            return original(self, *args, **values)

        monkeypatch.setattr(Axes, name, record)
    return calls


def picture_of(content: bytes) -> Image.Image:
    picture = Image.open(BytesIO(content))
    picture.load()
    assert picture.format == "PNG"
    return picture


def test_the_confusion_picture_has_shares_of_each_true_level(drawn: dict[str, list[Any]]) -> None:
    errors = QualityErrors()
    for level, quality in ((1, 0.2), (1, 2.0), (100, 100.0), (50, None)):
        errors = errors + QualityErrors.of(level, quality)
    picture_of(figures.draw_confusion(errors.confusion, "title"))
    shares = drawn["imshow"][0][0]
    assert shares.shape == (100, 100)
    assert (shares[0, 0], shares[0, 1], shares[99, 99]) == (0.5, 0.5, 1)
    assert np.isnan(shares[49]).all()
    assert np.nansum(shares) == 2


def test_errors_are_drawn_over_levels_with_answers(drawn: dict[str, list[Any]]) -> None:
    row = {"mae": 1.0, "sde": 2.0, "bias": -0.5}
    picture_of(figures.draw_errors([{"level": 7} | row, {"level": 8, "mae": None}, {"level": 9} | row], "title"))
    assert drawn["plot"] == [([7, 9], [1.0, 1.0]), ([7, 9], [2.0, 2.0]), ([7, 9], [-0.5, -0.5])]


def test_photoshops_levels_have_two_lines_and_gaps_without_answers(drawn: dict[str, list[Any]]) -> None:
    rows = [{"level": 6, "quality": 90.0, "psnr": 37.0}, {"level": 7, "quality": None, "psnr": 36.0}]
    picture_of(figures.draw_photoshop(rows, "title"))
    (levels, quality, _), (_, psnr, _) = drawn["plot"]
    assert (levels, psnr) == ([6, 7], [37.0, 36.0])
    assert quality[0] == 90
    assert np.isnan(quality[1])


def test_the_same_figures_are_the_same_bytes() -> None:
    confusion = QualityErrors.of(50, 51.0).confusion
    assert figures.draw_confusion(confusion, "title") == figures.draw_confusion(confusion, "title")
