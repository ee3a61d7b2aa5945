"""A page in a real browser without a screen: what its console says, what it shows, and a picture of it."""

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from html_tags import Tags, parse

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@dataclass(frozen=True, slots=True)
class Shown:
    """What the browser made of a page: its tags, lines of the console, and a screenshot."""

    tags: Tags
    console: list[str]
    screenshot: Path


def run_chromium(folder: Path, page: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    assert CHROMIUM, "this test needs Chromium: apt-get install chromium"
    own = [f"--user-data-dir={folder / 'profile'}", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    # No other host can be reached: a page that needed one would show.
    own += ["--enable-logging=stderr", "--host-resolver-rules=MAP * ~NOTFOUND", "--virtual-time-budget=5000"]
    command = [CHROMIUM, *own, *flags, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)


def show(folder: Path, page: Path, width: int, height: int = 2000) -> Shown:
    """Open a page in a window of this size, in pixels."""
    size, screenshot = f"--window-size={width},{height}", folder / f"{width}.png"
    dumped = run_chromium(folder, page, size, "--dump-dom")
    pictured = run_chromium(folder, page, size, f"--screenshot={screenshot}")
    console = re.findall(r"CONSOLE.*", dumped.stderr + pictured.stderr)
    return Shown(parse(dumped.stdout), console, screenshot)
