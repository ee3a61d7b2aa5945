"""Audits as processes of their own, to be killed while they work."""

import os
import subprocess
import sys
import time
from pathlib import Path

from rooms import ROOT

SMALL_PIECES = Path(__file__).parent / "small_pieces"


def run_apart(
    folder: Path, output: Path, *flags: str, cwd: Path = ROOT, home: Path | None = None
) -> subprocess.Popen[bytes]:
    """An audit with --resume by the lattice alone, in a process group of its own, with a piece for every ten rows."""
    arguments = ["audit", str(folder), "--output", str(output), "--estimators", "lattice", "--resume", *flags]
    environment = os.environ | {"PYTHONPATH": f"{SMALL_PIECES}:{ROOT}"} | ({"HOME": str(home)} if home else {})
    return subprocess.Popen(
        [sys.executable, "-m", "pipelines.cli", *arguments], cwd=cwd, env=environment, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def wait_for_pieces(process: subprocess.Popen[bytes], output: Path, count: int) -> None:
    """Return once there are so many pieces; fails if the run ends before."""
    deadline = time.monotonic() + 300
    while len(list(output.glob("run_id=*/_pieces/*.parquet"))) < count:
        assert process.poll() is None, "the run ended before it was killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
