"""CPU time of an audit beside Pillow's decoding of the same files, in one run: `make bench`.

Each way runs in a process of its own, and right before it Pillow in another: the ratio is to that. Its start-up, up to
the first row, is told apart from the time of an image: of Pillow and the plain loop the median, of an audit, whose rows
come in batches, the mean from the first row to the last. Compare the ratios: absolute times drift with the machine.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from statistics import median

from PIL import Image

TESTS = Path(__file__).parents[1] / "tests"
sys.path.insert(0, str(TESTS / "support"))

from memory import peak_kibibytes  # noqa: E402
from processes import Process, cpu_seconds, watched  # noqa: E402

from pipelines.runtime.threads import keep_to_one_thread  # noqa: E402

BUNDLED = TESTS / "photographs"
# Name -> width and height, format, number of files.
CORPORA = {
    "2 MP JPEG": ((1632, 1224), "jpg", 30),
    "12 MP JPEG": ((4000, 3000), "jpg", 8),
    "2 MP PNG": ((1632, 1224), "png", 15),
    "12 MP PNG": ((4000, 3000), "png", 6),
}
LEVELS = (50, 65, 80, 90, 95)
# How often each file is looked at; an audit's processes have to be worth their start.
REPEATS = {"pillow": 3, "plain": 3, "audit": 10}
FLAGS = {
    "default": [],
    "--cascade": ["--cascade"],
    "--estimators lattice": ["--estimators", "lattice"],
    "--patches 256": ["--patches", "256"],
}
# Of one image's 256 patches; and what a large accelerator may do in a second, a tenth of its float32 peak.
GFLOP, ASSUMED_GFLOPS = 3.9, 6_000


def make_corpus(folder: Path, photographs: list[Path], size: tuple[int, int], kind: str, count: int) -> None:
    """Photographs scaled to cover this size and cut to it: JPEG at five levels, or PNG of decoded JPEG."""
    for number in range(count):
        photo = Image.open(photographs[number % len(photographs)]).convert("RGB")
        if photo.height > photo.width:
            photo = photo.transpose(Image.Transpose.ROTATE_90)
        scale = max(size[0] / photo.width, size[1] / photo.height)
        width, height = (round(side * scale) + 1 for side in photo.size)
        large = photo.resize((width, height), Image.Resampling.LANCZOS)
        path = folder / f"{number:03d}.jpg"
        large.crop((0, 0, *size)).save(path, quality=LEVELS[number % len(LEVELS)])
        if kind == "png":
            Image.open(path).save(path.with_suffix(".png"), compress_level=1)
            path.unlink()


def run_pillow(files: list[str], row: Callable[[], None]) -> None:
    """Open and load, what every reader of the files pays."""
    for file in files:
        Image.open(file).load()
        row()


def run_plain(files: list[str], flags: list[str], row: Callable[[], None]) -> None:
    """The reference: q1net_core's estimator in a loop."""
    from pipelines.runtime.allocator import keep_freed_memory
    from pipelines.settings import add_settings, take_settings
    from q1net_core.estimator import estimate_image
    from q1net_core.records import ListedImage

    keep_freed_memory()
    parser = argparse.ArgumentParser()
    add_settings(parser)
    settings = take_settings(vars(parser.parse_args(flags)))
    weights = settings.pin_all(settings.read_weights())
    for file in files:
        estimate_image(ListedImage(file), settings, weights)
        row()


def run_audit(files: list[str], flags: list[str], workers: int) -> None:
    """The command itself, as a user would type it."""
    from pipelines.cli import main

    with tempfile.TemporaryDirectory() as folder:
        for number, file in enumerate(files):
            Path(folder, f"{number:05d}{Path(file).suffix}").symlink_to(file)
        status = main(["audit", folder, "--output", f"{folder}/out", "--workers", str(workers), *flags])
    if status:
        raise SystemExit(status)


def measure(way: str, name: str, workers: int, folder: str) -> None:
    """In a process of its own: run one way and print what it took as JSON."""
    # As the command does, before anything imports numpy.
    keep_to_one_thread()
    files = sorted(str(path) for path in Path(folder).iterdir()) * REPEATS[way]
    seen: list[tuple[int, float, float]] = []
    processes: dict[int, Process] = {}

    def note(rows: int) -> None:
        # Looking for other processes costs more than a small image.
        others = cpu_seconds() if way == "audit" else 0.0
        seen.append((rows, time.process_time() + others, time.perf_counter()))

    def row() -> None:
        note(len(seen) + 1)

    if way == "pillow":
        run_pillow(files, row)
    elif way == "plain":
        run_plain(files, FLAGS[name], row)
    else:
        from pipelines.runtime import counters

        finished = threading.Event()

        def watch() -> None:
            while not finished.wait(0.02):
                if (rows := counters.tally().get("rows", 0)) > (seen[-1][0] if seen else 0):
                    note(rows)

        watcher = threading.Thread(target=watch)
        watcher.start()
        with watched() as processes:
            run_audit(files, FLAGS[name], workers)
        finished.set()
        watcher.join()
    (first, cpu, wall), (last, cpu_end, wall_end) = seen[0], next(point for point in seen if point[0] == len(files))
    images = last - first
    spent = (
        (cpu_end - cpu) / images if way == "audit" else median(after[1] - before[1] for before, after in pairwise(seen))
    )
    result = {"ms": 1000 * spent, "rate": images / (wall_end - wall), "start": cpu}
    peaks = peak_kibibytes() + sum(process.peak for process in processes.values())
    print(json.dumps(result | {"megabytes": peaks / 1024}))


def start(way: str, name: str, workers: int, folder: str) -> dict[str, float]:
    """Measure one way in a new process."""
    command = [sys.executable, __file__, "--way", way, f"--name={name}", "--workers", str(workers), "--corpus", folder]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True, text=True)
    spent: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return spent


def tell(way: str, name: str, workers: int, folder: str, label: str) -> dict[str, float]:
    """Measure one way, and Pillow right before it; print its line."""
    pillow = start("pillow", "default", 1, folder)["ms"]
    spent = start(way, name, workers, folder)
    ratio = spent["ms"] / pillow
    print(
        f"{label:<42}{spent['ms']:>9.1f}{ratio:>8.2f}{spent['rate']:>10.1f}{spent['start']:>9.1f}{spent['megabytes']:>9.0f}",
        flush=True,
    )
    return spent


def main(photographs: list[Path], corpora: list[str]) -> None:
    """Measure all ways and print the table."""
    cores = len(os.sched_getaffinity(0))
    print(f"{cores} cores; {len(photographs)} photographs, scaled; CPU time; start: up to the first row")
    for corpus in corpora:
        size, kind, count = CORPORA[corpus]
        header = ("ms/image", "ratio", "images/s", "start s", "peak MB")
        print("\n{:<42}{:>9}{:>8}{:>10}{:>9}{:>9}".format(f"{corpus}, {count} files", *header))
        with tempfile.TemporaryDirectory() as folder:
            make_corpus(Path(folder), photographs, size, kind, count)
            tell("pillow", "default", 1, folder, "Pillow's open and load")
            for name in FLAGS:
                plain = tell("plain", name, 1, folder, f"plain loop, {name}")
                if corpus == "2 MP JPEG":
                    tell("audit", name, 1, folder, f"audit, 1 worker, {name}")
                    tell("audit", name, cores, folder, f"audit, {cores} workers, {name}")
                if name == "--estimators lattice":
                    lattice = plain["ms"]
        images = ASSUMED_GFLOPS / GFLOP
        print(
            f"\nAccelerator: nothing was measured. By arithmetic, one that does {ASSUMED_GFLOPS / 1000:g} TFLOP/s "
            f"judges {images:,.0f} images/s by 256 patches, as many as {images * lattice / 1000:,.0f} such cores "
            "decode and judge by the lattice."
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photographs", type=Path, metavar="FOLDER", help="of lossless photographs (the bundled ones)")
    parser.add_argument("--corpora", default=",".join(CORPORA), help="by commas (%(default)s)")
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parser.add_argument("--name", help=argparse.SUPPRESS)
    parser.add_argument("--workers", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--corpus", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        measure(options.way, options.name, options.workers, options.corpus)
    else:
        found = sorted((options.photographs or BUNDLED).glob("*" if options.photographs else "*/*"))
        main([path for path in found if path.suffix != ".csv"], options.corpora.split(","))
