"""What each engine adds to the plain loop, on the same files in the same run: `make bench-engines`.

Every way audits few and many images, each time in a new process. The difference is the time per image, the rest is the
start. Processor time and memory are those of all processes of an engine, its servers and workers too; memory that
processes share is counted once. Flink is among the ways where Q1NET_FLINK is the folder of its jars, as `make
test-flink` fetches them.
"""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from cluster import start_engine, worker_environment  # noqa: E402
from flink import start_flink  # noqa: E402

WIDTH, HEIGHT = 640, 480
IMAGES = (20, 140)
FLINK = os.environ.get("Q1NET_FLINK")
TICKS = os.sysconf("SC_CLK_TCK")
PLAIN = """
import sys
from pathlib import Path
from q1net_core.estimator import estimate_image
from q1net_core.records import ListedImage
from q1net_core.settings import EstimatorSettings
settings = EstimatorSettings()
weights = settings.pin_all(settings.read_weights())
for path in sorted(Path(sys.argv[1]).iterdir()):
    assert estimate_image(ListedImage(str(path)), settings, weights).error is None
"""


def make_corpus(folder: Path, images: int) -> None:
    """JPEG files at all kinds of levels: bundled photographs, moved."""
    photographs = [
        np.asarray(Image.open(path).convert("RGB")) for path in sorted(ROOT.glob("tests/photographs/*/*.jpg"))
    ]
    for number in range(images):
        photograph = np.roll(photographs[number % len(photographs)], 64 * number, axis=1)
        repeats = (-(-HEIGHT // photograph.shape[0]), -(-WIDTH // photograph.shape[1]), 1)
        pixels = np.tile(photograph, repeats)[:HEIGHT, :WIDTH]
        Image.fromarray(pixels).save(folder / f"{number:03d}.jpg", quality=50 + number % 46)


@contextmanager
def here(*flags: str) -> Iterator[tuple[str, ...]]:
    """Flags of an engine that needs no servers."""
    yield flags


@contextmanager
def job_service(folder: Path) -> Iterator[tuple[str, ...]]:
    """Flags of Beam's job service, while it runs."""
    with start_engine("job service", folder) as engine:
        yield engine.flags


@contextmanager
def flink(folder: Path) -> Iterator[tuple[str, ...]]:
    """Flags of a Flink cluster, while it runs."""
    with start_flink(Path(FLINK or ""), folder) as cluster:
        yield cluster.flags


def start_ways(folder: Path) -> dict[str, AbstractContextManager[tuple[str, ...]] | None]:
    """Each way by its name; None is the plain loop."""
    ways: dict[str, AbstractContextManager[tuple[str, ...]] | None] = {
        "plain loop": None,
        "1 thread": here("--workers=1"),
        "2 threads": here("--workers=2"),
        "1 process": here("--direct_num_workers=1", "--direct_running_mode=multi_processing"),
        "2 processes": here("--direct_num_workers=2", "--direct_running_mode=multi_processing"),
        "job service, 1 worker": job_service(folder),
    }
    return ways | ({"Flink, 2 task managers": flink(folder)} if FLINK else {})


@dataclass
class Meter:
    """Processor seconds of each process below this one, and the most memory of all together in megabytes."""

    seconds: dict[int, float] = field(default_factory=dict)
    megabytes: float = 0.0

    def look(self) -> None:
        """Read /proc once."""
        parents: dict[int, int] = {}
        seconds: dict[int, float] = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                values = (folder / "stat").read_text().rpartition(")")[2].split()
                parents[int(folder.name)] = int(values[1])
                seconds[int(folder.name)] = (int(values[11]) + int(values[12])) / TICKS
        kilobytes = 0
        for pid in seconds:
            if is_below(pid, parents):
                self.seconds[pid] = seconds[pid]
                with suppress(OSError, StopIteration):
                    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
                    kilobytes += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        self.megabytes = max(self.megabytes, kilobytes / 1024)


def is_below(pid: int, parents: dict[int, int]) -> bool:
    """Whether a process was started by this one or by one below it."""
    while (pid := parents.get(pid, 0)) not in (0, os.getpid()):
        pass
    return pid == os.getpid()


@contextmanager
def metered() -> Iterator[Meter]:
    """A meter that looks several times a second."""
    meter, finished = Meter(), threading.Event()

    def watch() -> None:
        while not finished.wait(0.3):
            meter.look()

    meter.look()
    before = sum(meter.seconds.values())
    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield meter
    finally:
        finished.set()
        thread.join()
        meter.seconds[0] = -before


def run(flags: tuple[str, ...] | None, corpus: Path, output: Path) -> tuple[float, float, float]:
    """Wall seconds, processor seconds and megabytes of one audit in a new process."""
    audit = ["-m", "pipelines.cli", "audit", str(corpus), f"--output={output}", *(flags or ())]
    command = [sys.executable, *(["-c", PLAIN, str(corpus)] if flags is None else audit)]
    with metered() as meter:
        start = time.perf_counter()
        subprocess.run(command, env=worker_environment(), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        wall = time.perf_counter() - start
        meter.look()
    return wall, sum(meter.seconds.values()), meter.megabytes


def main() -> None:
    """Measure all ways and print the table."""
    few, many = IMAGES
    print(f"{few} and {many} JPEG files of {WIDTH} x {HEIGHT} pixels, {len(os.sched_getaffinity(0))} cores")
    print(f"{'':<24}{'start s':>9}{'CPU s':>8}{'ms/image':>10}{'CPU ms/image':>14}{'over the loop':>15}{'peak MB':>9}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for images in IMAGES:
            (folder / f"{images}").mkdir()
            make_corpus(folder / f"{images}", images)
        loop = 0.0
        for way, started in start_ways(folder).items():
            with started or here() as flags:
                found = [run(started and flags, folder / f"{images}", folder / "runs") for images in IMAGES]
            (wall, cpu, _), (wall_many, cpu_many, megabytes) = found
            each, each_cpu = (wall_many - wall) / (many - few), (cpu_many - cpu) / (many - few)
            loop = loop or each_cpu
            cells = f"{wall - few * each:>9.1f}{cpu - few * each_cpu:>8.1f}{1000 * each:>10.1f}{1000 * each_cpu:>14.1f}"
            print(f"{way:<24}{cells}{each_cpu / loop - 1:>14.0%} {megabytes:>8.0f}", flush=True)


if __name__ == "__main__":
    main()
