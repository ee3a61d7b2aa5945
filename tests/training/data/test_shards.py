"""Training from shards: every row once an epoch, mixed anew, resumable anywhere; validation images whole again."""

import json
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from hashlib import sha256
from itertools import islice, product
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pictures import make_picture
from PIL import Image

from pipelines.shards import command as shards
from q1net_core.codecs.jpeg import compress_jpeg
from q1net_core.codecs.table import CODECS
from q1net_core.errors import ConfigError
from q1net_core.patches import cut_windows, sample_patches
from training.config import TrainConfig, preset
from training.data import shards as shard_reader
from training.data.photographs import Batch
from training.data.shards import (
    ShardDataset,
    ShardFile,
    find_originals,
    mix,
    number_places,
    open_dataset,
    read_images,
    read_shard,
    shard_batches,
    shard_data,
    shard_patch_sets,
)

LEVELS = (10, 40, 70, 100)
PER_IMAGE = 9


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of fifteen small pictures at four levels, a few files for train and valid."""
    base = tmp_path_factory.mktemp("dataset")
    (base / "images" / "DIV2K_train_HR").mkdir(parents=True)
    for seed in range(12):
        Image.fromarray(make_picture(seed, 96, 128)).save(base / "images" / f"{seed:02d}.png")
    for seed in range(12, 15):
        Image.fromarray(make_picture(seed, 96, 128)).save(base / "images" / "DIV2K_train_HR" / f"07{seed}.png")
    make(base / "images", base / "shards")
    return base / "shards"


def make(images: Path, output: Path, *more: str) -> None:
    arguments = ["--images", str(images), "--output", str(output), "--levels", ",".join(map(str, LEVELS))]
    assert shards.run([*arguments, "--patches-per-image", str(PER_IMAGE), "--rows-per-shard", "100", *more]) == 0


@pytest.fixture(autouse=True)
def small_pools(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two files at a time."""
    monkeypatch.setattr(shard_reader, "POOL_ROWS", 120)


@pytest.fixture
def copied(folder: Path, tmp_path: Path) -> Path:
    shutil.copytree(folder, tmp_path / "shards")
    return tmp_path / "shards"


def config(**changes: object) -> TrainConfig:
    return preset("smoke", batch_size=16, **changes)


def rows_of(batches: Iterator[Batch]) -> Counter[bytes]:
    return Counter(
        patch.tobytes() + bytes([int(level)])
        for patches, levels in batches
        for patch, level in zip(patches, levels, strict=True)
    )


def test_every_row_comes_once_in_an_epoch_and_in_another_order_in_the_next(folder: Path) -> None:
    dataset = open_dataset(str(folder))
    rows = dataset.rows("train")
    growing = config(batch_growth=((2, 32),))
    assert rows > 240
    # Sixteen and sixteen, then by thirty-two.
    whole, rest = divmod(rows - 32, 32)
    batches = list(islice(shard_batches(dataset, growing), 2 + 2 * whole + 2))
    assert [len(levels) for _, levels in batches[:4]] == [16, 16, 32, 32]
    patches = np.concatenate([patches for patches, _ in batches])
    levels = np.concatenate([levels for _, levels in batches])
    first, second = (slice(start, start + rows) for start in (0, rows))
    files = (read_shard(dataset, file) for file in dataset.files["train"])
    stored = Counter(
        patch + bytes([level])
        for t in files
        for patch, level in zip(t["patch"].to_pylist(), t["level"].to_pylist(), strict=True)
    )
    assert rows_of(iter([(patches[first], levels[first])])) == stored
    assert rest
    seen_again = rows_of(iter([(patches[second], levels[second])]))
    assert not seen_again - stored
    assert not np.array_equal(patches[:64], patches[rows : rows + 64])
    assert (patches.dtype, levels.dtype, patches.shape[1:]) == (np.uint8, np.float32, (16, 16, 3))


@pytest.mark.parametrize("start", [1, 7, 40])
def test_batches_depend_on_seed_and_step_alone(folder: Path, start: int) -> None:
    dataset = open_dataset(str(folder))
    growing = config(batch_growth=((3, 32), (20, 48)))
    expected = next(islice(shard_batches(dataset, growing), start, None))
    resumed = next(shard_batches(dataset, growing, start))
    assert np.array_equal(expected[0], resumed[0])
    assert np.array_equal(expected[1], resumed[1])
    other = next(shard_batches(dataset, config(seed=2), start))
    assert not np.array_equal(expected[0][:16], other[0])


def test_neighbours_in_the_mix_are_one_place_at_several_levels() -> None:
    places = np.random.default_rng(1).permutation(np.repeat(np.arange(50), 8))
    order = mix(np.random.default_rng(2), places, 4)
    assert sorted(order) == list(range(400))
    runs = places[order].reshape(-1, 4)
    assert (runs == runs[:, :1]).all()
    assert np.abs(np.diff(runs[:, 0])).mean() > 10
    assert not np.array_equal(order, mix(np.random.default_rng(3), places, 4))
    assert sorted(mix(np.random.default_rng(2), places[:397], 4)) == list(range(397))


def test_places_are_numbered_the_same_at_every_level(folder: Path) -> None:
    dataset = open_dataset(str(folder))
    table = read_shard(dataset, dataset.files["train"][0])
    numbers = number_places(table)
    places = list(zip(*(table[name].to_pylist() for name in ("source", "y", "x")), strict=True))
    assert len(set(zip(numbers.tolist(), places, strict=True))) == len(set(places)) == len(set(numbers.tolist()))


def test_validation_images_are_put_together_again(folder: Path) -> None:
    dataset = open_dataset(str(folder))
    stacks, truth = shard_patch_sets(dataset, "valid", (40, 55, 100), 4)
    sources = {name for file in dataset.files["valid"] for name in read_shard(dataset, file)["source"].to_pylist()}
    assert stacks.shape == (2 * len(sources), 4, 16, 16, 3)
    assert truth.tolist() == [40, 100] * len(sources)
    ys, xs = (grid.ravel() for grid in np.meshgrid(np.arange(4, 80, 8), np.arange(4, 112, 8), indexing="ij"))
    for source, images in zip(sorted(sources), stacks.reshape(-1, 2, 4, 16, 16, 3), strict=True):
        picture = np.asarray(Image.open(folder.parent / "images" / source))
        for level, patches in zip((40, 100), images, strict=True):
            windows = cut_windows(compress_jpeg(picture, level), ys, xs, 16)
            assert all((windows == patch).all(axis=(1, 2, 3)).any() for patch in patches)
    assert set(shard_patch_sets(dataset, "valid", (1, 2), 4)[1]) == set(LEVELS)
    assert shard_patch_sets(dataset, "valid", (40,), 64)[0].shape[1] == PER_IMAGE


def hash_of(digests: Iterable[str]) -> dict[str, object]:
    lines = sorted(digests)
    return {"files": len(lines), "sha256": sha256("\n".join(lines).encode()).hexdigest()}


@pytest.mark.parametrize("codec", ["jpeg", "webp"])
def test_lossless_validation_images_are_sampled_as_inference_samples_them(
    codec: str, folder: Path, tmp_path: Path
) -> None:
    if codec != "jpeg":
        make(folder.parent / "images", tmp_path / "other", "--codec", codec)
        folder = tmp_path / "other"
    dataset, data = open_dataset(str(folder)), shard_data(str(folder))
    tables = (read_shard(dataset, file) for file in dataset.files["valid"])
    sources = sorted({name for table in tables for name in table["source"].to_pylist()})
    originals = [Path(dataset.images) / source for source in sources]
    patch_sets, truth = data.inference_sets((40, 55, 100))
    assert truth.tolist() == [40, 100] * len(originals)
    for (path, level), patches in zip(product(originals, (40, 100)), patch_sets, strict=True):
        assert np.array_equal(patches, sample_patches(CODECS[codec].compress(np.asarray(Image.open(path)), level)))
    provenance = data.provenance()
    assert (provenance.codec, provenance.codec_versions) == (codec, dataset.versions)
    assert provenance.pictures == {
        "training": hash_of(file.sha256 for file in dataset.files["train"]),
        "validation": hash_of(sha256(path.read_bytes()).hexdigest() for path in originals),
    }


def test_validation_images_that_moved_are_asked_for_and_found_where_they_are_said_to_be(
    folder: Path, tmp_path: Path
) -> None:
    images = tmp_path / "images"
    shutil.copytree(folder.parent / "images", images)
    make(images, tmp_path / "shards")
    expected = shard_data(str(tmp_path / "shards")).provenance()
    valid = find_originals(open_dataset(str(tmp_path / "shards")), "valid")
    (tmp_path / "valid").mkdir()
    shutil.move(valid[0], tmp_path / "valid")
    with pytest.raises(
        ConfigError, match=rf"where {len(valid) - 1} of the {len(valid)} images of the split 'valid' are"
    ):
        shard_data(str(tmp_path / "shards"))
    for path in valid[1:]:
        shutil.move(path, tmp_path / "valid")
    moved = shard_data(str(tmp_path / "shards"), validation_images=str(tmp_path / "valid"))
    assert moved.provenance() == expected
    shutil.rmtree(images)
    with pytest.raises(ConfigError, match=r"images that are gone: .*; give the lossless images of the split"):
        shard_data(str(tmp_path / "shards"))


def test_a_folder_that_is_no_finished_dataset_is_refused(copied: Path) -> None:
    (copied / "dataset.json").unlink()
    with pytest.raises(ConfigError, match=r"no dataset\.json that can be used .* expected the --output of a finished"):
        open_dataset(str(copied))


def test_other_formats_are_refused_with_what_to_do(folder: Path, tmp_path: Path) -> None:
    make(folder.parent / "images", tmp_path / "records", "--format", "tfrecord")
    with pytest.raises(
        ConfigError, match="are tfrecord files; training reads parquet: make them with --format parquet"
    ):
        open_dataset(str(tmp_path / "records"))


def test_shards_without_validation_images_are_refused(copied: Path) -> None:
    about = json.loads((copied / "dataset.json").read_text())
    about["files"] = [file for file in about["files"] if "valid" not in file["name"]]
    (copied / "dataset.json").write_text(json.dumps(about))
    with pytest.raises(ConfigError, match="no rows in the split 'valid'; make them from more images"):
        open_dataset(str(copied))


@pytest.mark.parametrize("split", ["train", "valid"])
def test_a_byte_that_changed_is_noticed_when_its_file_is_read(split: str, copied: Path) -> None:
    dataset = open_dataset(str(copied))
    file = dataset.files[split][-1]
    path = copied / file.name
    content = bytearray(path.read_bytes())
    # Of a patch: Parquet itself would not notice.
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    message = f"{file.name} is not the file that dataset.json lists: its sha256 is .*, expected {file.sha256}; copy it"
    reading = islice(shard_batches(dataset, config()), 100) if split == "train" else read_images(dataset, split, LEVELS)
    with pytest.raises(ConfigError, match=message):
        list(reading)


def test_a_missing_shard_is_named(copied: Path) -> None:
    dataset = open_dataset(str(copied))
    for file in dataset.files["train"]:
        (copied / file.name).unlink()
    with pytest.raises(ConfigError, match=r"shard .*parquet cannot be read: .* make the shards again"):
        next(shard_batches(dataset, config()))


def make_version_1(folder: Path) -> None:
    """What q1net wrote at first: the rows of every split shuffled over its files, and no version in dataset.json."""
    about = json.loads((folder / "dataset.json").read_text())
    del about["version"]
    for split in ("valid", "test"):
        files = [file for file in about["files"] if file["name"].startswith(f"split={split}/")]
        table = pa.concat_tables([pq.read_table(folder / file["name"]) for file in files])
        order = np.random.default_rng(1).permutation(len(table))
        for file, rows in zip(files, np.array_split(order, len(files)), strict=True):
            pq.write_table(table.take(rows), folder / file["name"])
            content = (folder / file["name"]).read_bytes()
            file |= {"rows": len(rows), "bytes": len(content), "sha256": sha256(content).hexdigest()}
    (folder / "dataset.json").write_text(json.dumps(about))


@pytest.mark.parametrize("levels", [(40, 100), (10,), LEVELS])
def test_datasets_of_version_1_give_the_same_images(levels: tuple[int, ...], folder: Path, copied: Path) -> None:
    make_version_1(copied)
    new, old = open_dataset(str(folder)), open_dataset(str(copied))
    assert (new.version, old.version) == (2, 1)
    for split in ("valid", "test"):
        patches, truth = shard_patch_sets(old, split, levels, 4)
        expected = shard_patch_sets(new, split, levels, 4)
        assert np.array_equal(patches, expected[0])
        assert np.array_equal(truth, expected[1])
    assert np.array_equal(next(shard_batches(old, config()))[0], next(shard_batches(new, config()))[0])


def test_datasets_of_a_later_version_are_refused(copied: Path) -> None:
    about = json.loads((copied / "dataset.json").read_text())
    (copied / "dataset.json").write_text(json.dumps(about | {"version": 3}))
    with pytest.raises(ConfigError, match="has version 3; this q1net reads 1 and 2: install the one that made"):
        open_dataset(str(copied))


def test_images_are_read_one_file_at_a_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = open_dataset(str(folder))
    read: list[str] = []

    def read_and_note(dataset: ShardDataset, file: ShardFile) -> pa.Table:
        read.append(file.name)
        return read_shard(dataset, file)

    monkeypatch.setattr(shard_reader, "read_shard", read_and_note)
    names = [file.name for file in dataset.files["valid"]]
    per_file = [file.rows // (PER_IMAGE * len(LEVELS)) for file in dataset.files["valid"]]
    assert len(names) > 1
    images = read_images(dataset, "valid", (40,))
    for number, count in enumerate(per_file, 1):
        for _ in range(count):
            assert len(next(images)) == PER_IMAGE
            assert read == names[:number]
    assert next(images, None) is None


def test_classifier_refuses_levels_it_has_no_class_for(folder: Path) -> None:
    dataset = replace(open_dataset(str(folder)), levels=(0, 51))
    with pytest.raises(ConfigError, match=r"levels 0\.\.51; q1net-classifier has a class for each of 1\.\.100 alone"):
        next(shard_batches(dataset, config(variant="q1net-classifier")))


def test_shards_cannot_be_altered(folder: Path) -> None:
    with pytest.raises(ConfigError, match="'noise', which needs whole images"):
        shard_data(str(folder)).altered("noise", 4)
