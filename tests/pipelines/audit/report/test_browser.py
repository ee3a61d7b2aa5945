"""The report in real Chromium: it opens without a word on the console, and its charts and pictures are there."""

from pathlib import Path

import numpy as np
import pytest
from browser import show
from PIL import Image

from pipelines.audit import command as audit
from pipelines.audit.report.charts import BAR

pytestmark = pytest.mark.slow
PHOTOGRAPHS = Path(__file__).parents[3] / "photographs"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report that an audit writes into its run, of photographs and one broken file."""
    folder = tmp_path_factory.mktemp("report")
    (folder / "messenger").mkdir()
    (folder / "messenger" / "cut.jpg").write_bytes((PHOTOGRAPHS / "messenger" / "wreck.png").read_bytes()[:5000])
    arguments = [str(PHOTOGRAPHS), str(folder), "--output", str(folder / "runs"), "--patches", "16"]
    assert audit.run([*arguments, "--group", "(camera|messenger)/"]) == 0
    (report,) = (folder / "runs").glob("run_id=*/report.html")
    return report


def pixels_like(picture: Path, colour: str) -> int:
    """Pixels within a few steps of a colour #rrggbb."""
    wanted = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
    pixels = np.asarray(Image.open(picture).convert("RGB")).astype(int)
    return int((np.abs(pixels - wanted) < 8).all(axis=2).sum())


@pytest.mark.parametrize("width", [1200, 500])
def test_the_report_opens_and_shows_its_charts(page: Path, width: int, tmp_path: Path) -> None:
    shown = show(tmp_path, page, width)
    assert shown.console == []
    assert shown.tags.tags["svg"] == 4
    assert shown.tags.tags["img"] >= 6
    assert pixels_like(shown.screenshot, BAR) > 500


@pytest.mark.parametrize(
    "body", ["<script>console.error('oops')</script>", "<script src='https://example.com/x.js'></script><p>x"]
)
def test_the_check_sees_errors_and_what_is_not_there(body: str, tmp_path: Path) -> None:
    (tmp_path / "bad.html").write_text(f"<!doctype html><title>x</title><body>{body}</body>")
    shown = show(tmp_path, tmp_path / "bad.html", 500)
    assert pixels_like(shown.screenshot, BAR) == 0
    assert shown.console or "https://example.com/x.js" in shown.tags.links
