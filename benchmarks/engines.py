"""The same audit on every engine that can run here: rows, time, start-up, memory; `make bench-engines`.

The images are those of tests/support/corpus.py, broken ones among them, as often as asked for. Every audit is the
command as a user types it, in a process of its own; so is the plain loop, whose rows each engine must give. An engine's
services (job service, task managers) run before; the CPU time that they spend on an audit counts. Each engine audits a
few images, then all: a straight line through the two tells what is start-up and what is an image.

Prism takes part where Q1NET_PRISM names its binary, Flink where Q1NET_FLINK names the folder of its jars.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

from cluster import ENGINES, start_engine, worker_environment  # noqa: E402
from corpus import write_corpus  # noqa: E402
from flink import start_flink  # noqa: E402
from processes import Process, cpu_seconds, watched  # noqa: E402
from rows import SETTINGS, check_rows, plain_rows  # noqa: E402

from pipelines.audit.run import read_run  # noqa: E402
from pipelines.audit.shares import IMAGES_PER_PROCESS  # noqa: E402
from pipelines.audit.table import AUDIT_SCHEMA  # noqa: E402
from q1net_core.markdown import to_markdown  # noqa: E402

PLAIN_LOOP = "plain loop"
# Flags of engines that need no services.
LOCAL = {
    "one process": ("--workers=1",),
    "two processes": ("--workers=2",),
    "two threads": ("--direct_num_workers=2", "--direct_running_mode=multi_threading"),
    "two processes of Beam's": ("--direct_num_workers=2", "--direct_running_mode=multi_processing"),
}
# Fewer than these would not get two processes.
FEW = 2 * IMAGES_PER_PROCESS
FLINK = os.environ.get("Q1NET_FLINK")
SERVED = (*ENGINES, *(["Flink"] if FLINK else []))
# Worker processes, ours and Beam's; the server that ours are forked from has their command line too.
WORKER = re.compile(r"\S*python\S* .*(multiprocessing\.forkserver|sdk_worker_main|SdkHarness)")
HEADER = (
    *("engine", "workers", "rows compared", "wall s", "CPU s", "start, wall s", "start of a worker, CPU s"),
    *("CPU ms/image", "of the plain loop's", "images/s", "peak of a worker, MiB"),
)


@dataclass(frozen=True, slots=True)
class Job:
    """One audit: images, seconds by the clock and of all CPUs, and its workers as they were seen last."""

    images: int
    wall: float
    cpu: float
    workers: list[Process]

    def worker_cpu(self) -> float:
        """CPU seconds of a worker, the mean of all."""
        return sum(worker.cpu for worker in self.workers) / len(self.workers)


@contextmanager
def started(name: str, folder: Path) -> Iterator[Sequence[str]]:
    """Flags of an audit on an engine, while its services run; they log to the folder."""
    if name in LOCAL:
        yield LOCAL[name]
    elif name in ENGINES:
        with start_engine(name, folder) as engine:
            yield engine.flags
    else:
        with start_flink(Path(str(FLINK)), folder) as flink:
            yield flink.flags


def link_images(corpus: Path, folder: Path, count: int) -> Path:
    """A folder of so many images: those of the corpus, again and again."""
    folder.mkdir()
    files = sorted(corpus.iterdir())
    for number in range(count):
        file = files[number % len(files)]
        os.link(file, folder / f"{number // len(files)}-{file.name}")
    return folder


def run(command: list[str], images: int, log: Path) -> Job:
    """Run a command that judges so many images, and see what it takes."""
    before, begin = cpu_seconds(), time.perf_counter()
    with watched() as processes, open(log, "ab") as output:
        command = [sys.executable, *command]
        process = subprocess.Popen(command, stdout=output, stderr=output, env=worker_environment(), cwd=ROOT)
        status = process.wait()
    wall = time.perf_counter() - begin
    # Services were there before; what our processes are forked from outlives the audit, whose child it was.
    cpu = max(cpu_seconds() - before, sum(process.cpu for process in processes.values()))
    if status:
        sys.exit(f"{command} ended with status {status}: {log.read_text(errors='replace')[-3000:]}")
    working = {pid: seen for pid, seen in processes.items() if WORKER.match(seen.command)}
    workers = [seen for pid, seen in working.items() if pid not in {other.parent for other in working.values()}]
    return Job(images, wall, cpu, workers or [processes[process.pid]])


def run_audit(images: Path, output: Path, flags: Sequence[str]) -> Job:
    """An audit of a folder, as a user would start it."""
    arguments = ["audit", str(images), f"--output={output}", f"--patches={SETTINGS.patches}", "--no-report", *flags]
    return run(["-m", "pipelines.cli", *arguments], len(list(images.iterdir())), output.with_suffix(".log"))


def run_plain(images: Path, output: Path) -> Job:
    """The plain loop over a folder; its rows go to a Parquet file."""
    arguments = ["--plain-loop", str(images), str(output)]
    return run([__file__, *arguments], len(list(images.iterdir())), output.with_suffix(".log"))


def split(few: tuple[int, float], all_: tuple[int, float]) -> tuple[float, float]:
    """What no image takes, and what each image takes: the line through two points of images and seconds."""
    each = (all_[1] - few[1]) / (all_[0] - few[0])
    return few[1] - few[0] * each, each


def describe(name: str, rows: int, few: Job, all_: Job, plain_each: float | None) -> tuple[list[str], float]:
    """An engine's row of the table, and its CPU seconds for an image."""
    start, each = split((few.images, few.wall), (all_.images, all_.wall))
    _, cpu_each = split((few.images, few.cpu), (all_.images, all_.cpu))
    worker_start, _ = split((few.images, few.worker_cpu()), (all_.images, all_.worker_cpu()))
    peak = max(worker.peak for worker in all_.workers) / 1024
    ratio = cpu_each / (plain_each or cpu_each)
    cells = [name, str(len(all_.workers)), str(rows), f"{all_.wall:.1f}", f"{all_.cpu:.1f}", f"{start:.1f}"]
    cells += [f"{worker_start:.1f}", f"{1000 * cpu_each:.1f}", f"{ratio:.2f}", f"{1 / each:.0f}", f"{peak:.0f}"]
    return cells, cpu_each


def main(images: int) -> None:
    """Measure all engines and print the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "corpus").mkdir()
        corpus = write_corpus(folder / "corpus")
        few, every = (link_images(corpus, folder / f"images-{count}", count) for count in (FEW, images))
        plain = [run_plain(inputs, folder / f"{inputs.name}.parquet") for inputs in (few, every)]
        expected = pq.read_table(folder / f"{every.name}.parquet").to_pylist()
        cells, plain_each = describe(PLAIN_LOOP, len(expected), *plain, None)
        table = [cells]
        # Each as it comes; the table follows.
        print(*cells, sep="  ", file=sys.stderr, flush=True)
        for engine in (*LOCAL, *SERVED):
            own = folder / engine
            own.mkdir()
            with started(engine, own) as flags:
                jobs = [run_audit(inputs, own / inputs.name, flags) for inputs in (few, every)]
            (run_folder,) = (own / every.name).glob("run_id=*")
            found = read_run(str(run_folder)).to_pylist()
            check_rows(found, expected)
            table.append(describe(engine, len(found), *jobs, plain_each)[0])
            print(*table[-1], sep="  ", file=sys.stderr, flush=True)
    print(f"{images} images, {len(os.sched_getaffinity(0))} cores\n\n{to_markdown(HEADER, table)}")


def write_plain_rows(images: str, output: str) -> None:
    """The plain loop itself, in a process of its own."""
    pq.write_table(pa.Table.from_pylist(plain_rows(Path(images)), AUDIT_SCHEMA), output)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=500, help=f"more than {FEW} (%(default)s)")
    parser.add_argument("--plain-loop", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.plain_loop:
        write_plain_rows(*options.plain_loop)
    elif options.images <= FEW:
        parser.error(f"--images is {options.images}; expected more than {FEW}")
    else:
        main(options.images)
