"""Figures become PNG files that depend on nothing but the figure."""

from io import BytesIO

from matplotlib.figure import Figure
from PIL import Image

from q1net_core.png import to_png


def draw(dpi: int) -> bytes:
    figure = Figure(figsize=(2, 1), dpi=dpi)
    figure.add_subplot().plot([1, 2], [3, 4])
    return to_png(figure)


def test_a_figure_has_its_own_resolution_and_no_version() -> None:
    with Image.open(BytesIO(draw(100)), formats=("PNG",)) as picture:
        assert picture.size == (200, 100)
        assert "Software" not in picture.info
    assert draw(100) == draw(100) != draw(50)
