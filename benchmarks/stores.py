"""Images per second from object stores on this machine, with and without injected faults: `make bench-stores`.

Emulators of S3 and Google Cloud Storage serve photographs over loopback connections, directly and through a proxy that
answers some requests with 503, breaks some connections and delays some answers. The images are read as the pipeline
reads them, several at a time, without decoding. The emulators take most of the time: compare the rows with each other.
"""

import os
import sys
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))

import emulators  # noqa: E402
from faulty_proxy import Faults  # noqa: E402

from pipelines.transforms import READS_AT_A_TIME  # noqa: E402
from q1net_core import storage  # noqa: E402
from q1net_core.estimator import read_image  # noqa: E402
from q1net_core.images.decode import Limits  # noqa: E402
from q1net_core.listing import list_images  # noqa: E402
from q1net_core.markdown import to_markdown  # noqa: E402
from q1net_core.records import ImageRecord, ListedImage  # noqa: E402

COPIES = 10
FAULTS = {
    "none, no proxy": None,
    "none": Faults(),
    "5 % 503, resets or cuts": Faults(unavailable=0.03, reset=0.01, cut=0.01, seed=1),
    "10 % delayed by 0.2 s": Faults(slow=0.1, delay=0.2, seed=2),
}


def read_all(images: list[ListedImage]) -> tuple[float, int]:
    """Seconds, and how many images could not be read."""
    start = time.perf_counter()
    with ThreadPoolExecutor(READS_AT_A_TIME) as pool:
        read = list(pool.map(lambda image: read_image(image, Limits()), images))
    return time.perf_counter() - start, sum(isinstance(found, ImageRecord) for found in read)


def measure(server: str, bucket: str) -> list[list[str]]:
    """A row for each kind of faults."""
    base = f"{bucket}/{uuid.uuid4().hex}"
    for path in sorted((ROOT / "tests" / "photographs").glob("*/*.jpg")):
        for copy in range(COPIES):
            storage.write_bytes(f"{base}/{copy}/{path.name}", path.read_bytes())
    images = list(list_images(base))
    rows = []
    for name, faults in FAULTS.items():
        with ExitStack() as stack:
            done = stack.enter_context(emulators.through_faults(server, faults)).done if faults else Counter[str]()
            seconds, lost = read_all(images)
        injected = sum(done.values()) - done["none"]
        rows.append([bucket[:2], name, f"{len(images) / seconds:.0f}", str(injected), str(lost)])
    return rows


@pytest.mark.parametrize("server", ["s3_server", "gcs_server"])
def test_stores(server: str, request: pytest.FixtureRequest) -> None:
    rows = measure(server, request.getfixturevalue(server))
    print("\n" + to_markdown(["store", "faults", "images per second", "faults injected", "images lost"], rows))


if __name__ == "__main__":
    # The emulators are fixtures.
    os.chdir(ROOT)
    sys.exit(pytest.main([__file__, "-q", "-s", "-n", "0", "-p", "no:cacheprovider"], plugins=[emulators]))
