"""Patches a second: the reader of shards alone, patches made on the fly, training from shards: `make bench-training`.

All in one run. The reader must be well above training, or the step starves. Compare the ratios: absolute figures drift
with the machine, and training is of q1net-k8 on whatever device Keras finds.
"""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from shards import make_image

from pipelines.shards import command as shards
from training.config import TrainConfig, preset
from training.data.photographs import Batch, batches, prefetch
from training.data.shards import ShardDataset, open_dataset, shard_batches
from training.trainer import new_model

IMAGES = 16
PER_IMAGE = 64
BATCH = 256
STEPS = 100


def make_dataset(folder: Path) -> None:
    """Shards of crops of one picture at all levels: about 70,000 rows in the split for training."""
    picture = make_image()
    (folder / "images").mkdir()
    for number in range(IMAGES):
        crop = picture[number * 16 : number * 16 + 512, number * 48 : number * 48 + 512]
        Image.fromarray(crop).save(folder / "images" / f"{number:02d}.png", compress_level=1)
    arguments = ["--images", str(folder / "images"), "--output", str(folder / "shards"), "--rows-per-shard", "8192"]
    if shards.run([*arguments, "--patches-per-image", str(PER_IMAGE)]):
        raise SystemExit("no shards were made")


def rate_of(stream: Iterator[Batch], patches: int) -> float:
    """Patches a second of a reader, after its first batch."""
    next(stream)
    start, seen = time.perf_counter(), 0
    while seen < patches:
        seen += len(next(stream)[1])
    return seen / (time.perf_counter() - start)


def training_rate(config: TrainConfig, dataset: ShardDataset) -> float:
    """Patches a second of training, after the steps that build the graph."""
    model = new_model(config)
    model.fit(prefetch(shard_batches(dataset, config)), steps_per_epoch=3, shuffle=False, verbose=0)
    stream = prefetch(shard_batches(dataset, config))
    start = time.perf_counter()
    model.fit(stream, steps_per_epoch=STEPS, shuffle=False, verbose=0)
    return STEPS * BATCH / (time.perf_counter() - start)


def main() -> None:
    """Measure and print the table."""
    config: TrainConfig = preset("cpu", batch_size=BATCH)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_dataset(folder)
        dataset = open_dataset(str(folder / "shards"))
        corpus = [np.asarray(Image.open(path)) for path in sorted((folder / "images").iterdir())]
        rates = {
            "shards, reader alone": rate_of(shard_batches(dataset, config), 4 * dataset.rows("train")),
            "on the fly, reader alone": rate_of(batches(corpus, config), STEPS * BATCH),
            "training from shards": training_rate(config, dataset),
        }
        rows = dataset.rows("train")
        print(f"batches of {BATCH} from {rows:,} rows of shards, {config.variant}")
        for what, rate in rates.items():
            print(f"{what:<26}{rate:>10,.0f} patches/s{rate / rates['training from shards']:>8.1f}x")


if __name__ == "__main__":
    main()
