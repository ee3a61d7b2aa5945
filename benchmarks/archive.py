"""Archives of many images on this machine: speed, peak memory, and what a kill costs.

`python benchmarks/archive.py --images 200,2000,20000` with any flags of `q1net audit`. The images are links to a few
hundred crops of the bundled photographs, at all kinds of levels. Each audit is a process of its own. With --kill one is
killed with SIGKILL when half of its images are done, and started again with --resume.

Peak memory is the sum of the peaks of all processes of an audit, an upper bound: pages that they share count in each.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

TESTS = Path(__file__).parents[1] / "tests"
sys.path.insert(0, str(TESTS / "support"))

from processes import watched  # noqa: E402

PHOTOGRAPHS = TESTS / "photographs"
DIFFERENT = 300
# An audit that writes how many images are finished to a file, ten times a second.
AUDIT = """
import sys, threading, time
from pathlib import Path
from pipelines.cli import main
from pipelines.runtime import counters
from pipelines.runtime.quiet import end_process

def tell():
    while True:
        Path(sys.argv[1]).write_text(str(counters.tally().get("rows", 0)))
        time.sleep(0.1)

threading.Thread(target=tell, daemon=True).start()
end_process(main(sys.argv[2:]))
"""


def make_archive(folder: Path, images: int, side: int) -> None:
    """Crops of photographs as JPEG, PNG and WebP, and links to them."""
    (folder / "different").mkdir()
    photographs = [Image.open(path).convert("RGB") for path in sorted(PHOTOGRAPHS.glob("*/*.*g"))]
    crops = []
    for number in range(DIFFERENT):
        photo = photographs[number % len(photographs)]
        x, y = (number * 37) % (photo.width - side), (number * 53) % (photo.height - side)
        kind = ("jpg", "jpg", "png", "webp")[number // len(photographs) % 4]
        crops.append(folder / "different" / f"{number}.{kind}")
        options = {} if kind == "png" else {"quality": 30 + number % 70}
        photo.crop((x, y, x + side, y + side)).save(crops[-1], **options)
    (folder / "images").mkdir()
    for number in range(images):
        crop = crops[number % DIFFERENT]
        os.link(crop, folder / "images" / f"{number:07d}{crop.suffix}")


def start(folder: Path, output: str, flags: list[str]) -> subprocess.Popen[bytes]:
    arguments = ["audit", str(folder / "images"), "--output", str(folder / output), "--no-report", *flags]
    command = [sys.executable, "-c", AUDIT, str(folder / "finished"), *arguments]
    (folder / "finished").write_text("0")
    with open(folder / "log", "ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log)


def finished(folder: Path) -> int:
    return int((folder / "finished").read_text() or 0)


def newest(folder: Path, output: str) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = json.loads(max((folder / output).glob("run_id=*/_run.json")).read_text())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", default="2000", help="sizes of archives, by commas (%(default)s)")
    parser.add_argument("--side", type=int, default=96)
    parser.add_argument("--kill", action="store_true", help="kill one run at half, and resume it")
    options, flags = parser.parse_known_args()
    print("{:>8}{:>9}{:>10}{:>12}{:>14}".format("images", "seconds", "images/s", "CPU ms each", "peak MiB"))
    for images in map(int, options.images.split(",")):
        with tempfile.TemporaryDirectory() as name:
            make_archive(Path(name), images, options.side)
            print(audit_whole(Path(name), flags), flush=True)
            if options.kill:
                print(audit_killed(Path(name), images, flags), flush=True)


def audit_whole(folder: Path, flags: list[str]) -> str:
    begin = time.monotonic()
    with watched() as processes:
        if start(folder, "whole", flags).wait():
            sys.exit((folder / "log").read_text()[-3000:])
    seconds = time.monotonic() - begin
    rows = newest(folder, "whole")["totals"]["rows"]
    cpu = 1000 * sum(process.cpu for process in processes.values()) / rows
    peak = sum(process.peak for process in processes.values()) / 1024
    return f"{rows:>8}{seconds:>9.0f}{rows / seconds:>10.1f}{cpu:>12.1f}{peak:>14.0f}"


def audit_killed(folder: Path, images: int, flags: list[str]) -> str:
    process = start(folder, "killed", flags)
    while finished(folder) < images // 2:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = finished(folder)
    begin = time.monotonic()
    assert start(folder, "killed", [*flags, "--resume"]).wait() == 0, (folder / "log").read_text()[-3000:]
    seconds = time.monotonic() - begin
    totals = newest(folder, "killed")["totals"]
    again = done - totals["carried"]
    return (f"killed after {done} of {images}; {totals['carried']} rows kept, {again} done again, "
          f"{again / images:.1%} of all; {totals['rows']} rows in the end, "
          f"{seconds:.0f} s to finish")  # fmt: skip


if __name__ == "__main__":
    main()
