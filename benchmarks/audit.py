"""Images per second of the pipeline and of the plain loop, on the same files in the same run: `make bench`.

Each way runs in a process of its own and is timed from its first finished image to its last, without the start-up that
both pay. Compare the ratios: absolute times drift with the machine.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from PIL import Image

PHOTOGRAPHS = Path(__file__).parents[1] / "tests" / "photographs"
WIDTH, HEIGHT = 1632, 1224
IMAGES = 200
STEPS = ("read", "sample", "predict", "fuse")
WAYS = {
    "plain loop, 1 thread": ("plain", 1),
    "pipeline, 1 worker": ("audit", 1),
    "pipeline, default": ("audit", 0),
}


def make_corpus(folder: Path) -> None:
    """Two-megapixel JPEG files at all kinds of levels: bundled photographs, mirrored and laid side by side."""
    photographs = [np.asarray(Image.open(path).convert("RGB")) for path in sorted(PHOTOGRAPHS.glob("*/*.jpg"))]
    for number in range(IMAGES):
        photo = np.roll(photographs[number % len(photographs)], 64 * number, axis=1)
        wide = np.concatenate([photo, photo[:, ::-1]], axis=1)
        tall = np.concatenate([wide, wide[::-1]], axis=0)
        pixels = np.tile(tall, (-(-HEIGHT // tall.shape[0]), -(-WIDTH // tall.shape[1]), 1))[:HEIGHT, :WIDTH]
        Image.fromarray(pixels).save(folder / f"{number:03d}.jpg", quality=50 + number % 46)


def run_plain(files: list[str]) -> None:
    """The reference: q1net_core's estimator in a loop."""
    from pipelines.runtime import counters
    from q1net_core.estimator import fuse_predictions, load_network, predict_patches, read_image, sample_image
    from q1net_core.records import ListedImage
    from q1net_core.settings import EstimatorSettings

    settings = EstimatorSettings()
    weights = settings.pin_all(settings.read_weights())
    networks = {source: load_network(pinned) for source, pinned in weights.items()}
    for file in files:
        image = ListedImage(file)
        with counters.timed("read_usec"):
            encoded = read_image(image, settings.limits)
        with counters.timed("sample_usec"):
            sampled = sample_image(image, encoded, settings)
        with counters.timed("predict_usec"):
            predictions = predict_patches(networks[sampled.weights], [sampled])[0]
        with counters.timed("fuse_usec"):
            fuse_predictions(predictions, weights[sampled.weights])
        counters.inc("rows")


def run_audit(files: list[str], workers: int) -> None:
    """The command itself, as a user would type it."""
    from pipelines.cli import main

    flags = [f"--direct_num_workers={workers}", "--direct_running_mode=in_memory"] if workers else []
    with tempfile.TemporaryDirectory() as output:
        status = main(["audit", *files, "--output", output, *flags])
    if status:
        raise SystemExit(status)


def measure(way: str, folder: str) -> None:
    """In a process of its own: run one way and print what it took as JSON."""
    kind, workers = WAYS[way]
    files = sorted(str(path) for path in Path(folder).glob("*.jpg"))
    os.environ |= {"TF_NUM_INTRAOP_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    from pipelines.runtime import counters

    seen: list[tuple[float, dict[str, int]]] = []
    finished = threading.Event()

    def watch() -> None:
        while not finished.wait(0.01):
            seen.append((time.perf_counter(), counters.tally()))

    watcher = threading.Thread(target=watch)
    watcher.start()
    if kind == "plain":
        run_plain(files)
    else:
        run_audit(files, workers)
    seen.append((time.perf_counter(), counters.tally()))
    finished.set()
    watcher.join()
    start, first = next((moment, tally) for moment, tally in seen if tally.get("rows"))
    end, last = next((moment, tally) for moment, tally in seen if tally.get("rows") == len(files))
    result = {"seconds": end - start, "images": last["rows"] - first["rows"]}
    result |= {step: (last[f"{step}_usec"] - first[f"{step}_usec"]) / 1e6 for step in STEPS}
    print(json.dumps(result | {"megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


def main() -> None:
    """Measure all ways and print the table."""
    cores = len(os.sched_getaffinity(0))
    print(f"{IMAGES} JPEG files of {WIDTH} x {HEIGHT} pixels, 256 patches each, {cores} cores")
    print(f"{'':<24}{'images/s':>10}{'ms/image':>10}{'peak MB':>9}   share of time: {', '.join(STEPS)}, rest")
    with tempfile.TemporaryDirectory() as folder:
        make_corpus(Path(folder))
        for way, (_, workers) in WAYS.items():
            command = [sys.executable, __file__, way, folder]
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
            spent = json.loads(done.stdout.splitlines()[-1])
            rate = spent["images"] / spent["seconds"]
            shares = [spent[step] / (spent["seconds"] * (workers or cores)) for step in STEPS]
            shown = ", ".join(f"{share:.1%}" for share in [*shares, 1 - sum(shares)])
            print(f"{way:<24}{rate:>10.1f}{1000 / rate:>10.1f}{spent['megabytes']:>9.0f}   {shown}")


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        measure(sys.argv[1], sys.argv[2])
