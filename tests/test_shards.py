"""Shards: rows equal the plain computation, files depend on images and seed alone, nothing is silently skipped."""

import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from hashlib import sha256
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from pictures import make_picture
from PIL import Image

from pipelines import shards
from pipelines.cli import main
from pipelines.shard_files import SHARD_SCHEMA, ShardRows, encode_example, frame, to_table
from pipelines.shards import (
    Shard,
    ShardsConfig,
    Source,
    choose_split,
    commit,
    cut_rows,
    div2k_split,
    fingerprint_of,
    make_shards,
    pack_rows,
    row_keys,
    start,
)
from q1net_core import storage
from q1net_core.codecs import compress_jpeg
from q1net_core.errors import ConfigError
from q1net_core.records import UInt8Array

ONE_THREAD = PipelineOptions(["--runner=FnApiRunner"])
LEVELS = (5, 40, 95)
PLACES = 20
IMAGES = 12


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small lossless pictures in two folders; 00 and its copy have the same pixels in different files."""
    folder = tmp_path_factory.mktemp("images")
    for number in range(IMAGES - 1):
        path = folder / ("even" if number % 2 == 0 else "odd") / f"{number:02d}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(make_picture(number)).save(path)
    Image.fromarray(make_picture(0)).save(folder / "odd" / "copy.bmp")
    return folder


def configure(images: Path, output: Path, **changes: Any) -> ShardsConfig:
    config = ShardsConfig(str(images), str(output), levels=LEVELS, patches_per_image=PLACES, rows_per_shard=150)
    return replace(config, **changes)


def files_of(output: Path) -> dict[str, str]:
    """Names and digests of all shards."""
    return {str(path.relative_to(output)): sha256(path.read_bytes()).hexdigest() for path in output.glob("split=*/*")}


def rows_of(output: Path) -> list[dict[str, Any]]:
    return [row for path in sorted(output.glob("split=*/*")) for row in pq.ParquetFile(path).read().to_pylist()]


@pytest.fixture(scope="module")
def made(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("made") / "shards"
    make_shards(configure(images, output, phases="all"), ONE_THREAD)
    return output


def test_rows_are_those_of_whole_images_compressed_and_cut(images: Path, made: Path) -> None:
    rows = rows_of(made)
    assert len(rows) == IMAGES * PLACES * len(LEVELS)
    pixels = {str(path.relative_to(images)): np.asarray(Image.open(path)) for path in images.glob("*/*")}
    whole = {(name, level): compress_jpeg(pixels[name], level) for name in pixels for level in LEVELS}
    for row in rows:
        y, x = row["y"], row["x"]
        cut = whole[row["source"], row["level"]][y : y + 16, x : x + 16]
        assert row["patch"] == cut.tobytes()
        assert (y - row["phase_y"]) % 8 == (x - row["phase_x"]) % 8 == 4
        assert -4 <= min(row["phase_y"], row["phase_x"]) <= max(row["phase_y"], row["phase_x"]) <= 3
    seen = Counter((row["source"], row["y"], row["x"], row["level"]) for row in rows)
    places = {(source, y, x): seen[source, y, x, LEVELS[0]] for source, y, x, _ in seen}
    for (source, y, x), times in places.items():
        assert [seen[source, y, x, level] for level in LEVELS] == [times] * len(LEVELS)
    assert Counter(source for source, _, _ in places) == Counter(dict.fromkeys(pixels, PLACES))


def test_an_image_and_its_copy_are_in_one_split(made: Path) -> None:
    splits = {(row["source"], row["split"]) for row in rows_of(made)}
    assert len(splits) == IMAGES
    assert dict(splits)["even/00.png"] == dict(splits)["odd/copy.bmp"]
    for path in made.glob("split=*/*"):
        assert set(pq.ParquetFile(path).read()["split"].to_pylist()) == {path.parent.name.removeprefix("split=")}


def test_the_dataset_file_counts_what_the_shards_hold(images: Path, made: Path) -> None:
    dataset = json.loads((made / "dataset.json").read_text())
    rows = rows_of(made)
    for split, about in dataset["splits"].items():
        levels = Counter(row["level"] for row in rows if row["split"] == split)
        assert about["rows_by_level"] == {str(level): levels[level] for level in LEVELS}
        assert about["rows"] == levels.total() == about["images"] * PLACES * len(LEVELS)
        count = -(-about["rows"] // 150)
        names = [file["name"] for file in dataset["files"] if file["name"].startswith(f"split={split}/")]
        assert names == [f"split={split}/part-{number:05d}-of-{count:05d}.parquet" for number in range(count)]
    assert {file["name"]: file["sha256"] for file in dataset["files"]} == files_of(made)
    for file in dataset["files"]:
        assert file["bytes"] == (made / file["name"]).stat().st_size
        assert file["rows"] == pq.ParquetFile(made / file["name"]).metadata.num_rows < 2 * 150
    assert dataset["seed"] == 0
    assert dataset["arguments"]["images"] == str(images)
    assert dataset["versions"]["libjpeg_turbo"]


def test_files_have_the_documented_schema(made: Path) -> None:
    assert {pq.ParquetFile(path).schema_arrow == SHARD_SCHEMA for path in made.glob("split=*/*")} == {True}


def test_rows_are_shuffled_over_and_inside_shards(made: Path) -> None:
    paths = sorted(made.glob("split=train/*"))
    assert len(paths) > 2
    sources = [pq.ParquetFile(path).read()["source"].to_pylist() for path in paths]
    assert len({frozenset(names) for names in sources}) == 1
    for names in sources:
        neighbours = sum(one == other for one, other in pairwise(names))
        assert neighbours < 2.5 * len(names) / len(set(names))


@pytest.mark.parametrize(
    "flags",
    [
        ["--direct_num_workers=2", "--direct_running_mode=multi_threading"],
        ["--direct_runner_bundle_repeat=1"],
        "rounds",
    ],
    ids=["two workers", "bundles repeated", "in rounds"],
)
def test_the_same_seed_gives_the_same_bytes_however_it_runs(
    flags: list[str] | str, images: Path, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if flags == "rounds":
        monkeypatch.setattr(shards, "memory_bytes", lambda: 300_000 * 16)
        flags = []
        assert shards.count_rounds(IMAGES, configure(images, tmp_path), ONE_THREAD) == 2
    make_shards(configure(images, tmp_path, phases="all"), PipelineOptions(["--runner=FnApiRunner", *flags]))
    assert files_of(tmp_path) == files_of(made)


def test_rounds_keep_the_shuffle_within_half_of_the_memory(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shards.memory_bytes() > 1 << 28
    monkeypatch.setattr(shards, "memory_bytes", lambda: 1 << 34)
    config = ShardsConfig(str(images), str(tmp_path))
    assert [shards.count_rounds(count, config, ONE_THREAD) for count in (1, 218, 219, 900)] == [1, 1, 2, 5]


def test_on_a_cluster_one_round_is_enough(images: Path, tmp_path: Path) -> None:
    assert shards.count_rounds(10**6, configure(images, tmp_path), PipelineOptions(["--runner=DataflowRunner"])) == 1


def test_another_seed_gives_other_places_in_the_same_splits(images: Path, made: Path, tmp_path: Path) -> None:
    make_shards(configure(images, tmp_path, phases="all", seed=1), ONE_THREAD)
    splits = [{(row["source"], row["split"]) for row in rows_of(output)} for output in (made, tmp_path)]
    assert splits[0] == splits[1]
    places = [{(row["source"], row["y"], row["x"]) for row in rows_of(output)} for output in (made, tmp_path)]
    assert len(places[0] & places[1]) < 0.3 * len(places[0])


def test_fewer_levels_keep_the_places_and_the_order() -> None:
    config = ShardsConfig("i", "o", levels=(5, 40, 95), patches_per_image=4)
    source = Source("i/a", "a", "00" * 32, "train")
    keys = row_keys(source, config)
    assert np.array_equal(row_keys(source, replace(config, levels=(40,))), keys[1:2])
    assert np.array_equal(row_keys(replace(source, uri="j/a"), config), keys)
    others = [replace(source, name="b"), replace(source, name="a\udce9")]
    assert (
        len(np.unique([keys, row_keys(source, replace(config, seed=1)), *(row_keys(o, config) for o in others)])) == 48
    )


def test_keys_are_spread_evenly() -> None:
    config = ShardsConfig("i", "o", patches_per_image=64)
    keys = np.concatenate([row_keys(Source("", f"{number}.png", ""), config).ravel() for number in range(10)])
    assert len(np.unique(keys)) == 64_000
    counts = np.bincount((keys % np.uint64(16)).astype(int))
    assert np.abs(counts - 4000).max() < 5 * 4000**0.5


def test_tfrecords_hold_the_same_rows_as_read_by_tensorflow(images: Path, tmp_path: Path) -> None:
    import tensorflow as tf

    few = configure(images / "even", tmp_path / "a", format="tfrecord", patches_per_image=4, phases="all")
    make_shards(few, ONE_THREAD)
    make_shards(replace(few, output=str(tmp_path / "b"), format="parquet"), ONE_THREAD)
    numbers = {name: tf.io.FixedLenFeature([], tf.int64) for name in ("level", "y", "x", "phase_y", "phase_x")}
    texts = {name: tf.io.FixedLenFeature([], tf.string) for name in ("patch", "source", "split")}
    paths = sorted((tmp_path / "a").glob("split=*/*"))
    assert [path.suffix for path in paths] == [".tfrecord"] * len(paths)
    records = [
        tf.io.parse_single_example(record, numbers | texts)
        for record in tf.data.TFRecordDataset([str(path) for path in paths])
    ]
    rows = [{name: value.numpy() for name, value in record.items()} for record in records]
    texts_read = [row | {name: row[name].decode() for name in ("source", "split")} for row in rows]
    assert texts_read == rows_of(tmp_path / "b")
    assert len(rows) == 6 * 4 * len(LEVELS)


def test_an_example_is_framed_and_encoded_by_hand() -> None:
    example = encode_example(["a", "b"], (b"\x01\x02", -1))
    a = b"\x0a\x0b\x0a\x01a\x12\x06\x0a\x04\x0a\x02\x01\x02"
    b = b"\x0a\x13\x0a\x01b\x12\x0e\x1a\x0c\x0a\x0a" + b"\xff" * 9 + b"\x01"
    assert example == b"\x0a\x22" + a + b
    assert frame(b"")[:12] == bytes(8) + (frame(b"")[8:12])
    assert len(frame(example)) == len(example) + 16


def test_a_table_does_not_depend_on_the_order_of_arrival() -> None:
    config = ShardsConfig("i", "o", levels=LEVELS, patches_per_image=6)
    sources = [Source(f"i/{name}", name, f"{number:064x}", "train") for number, name in enumerate("abc")]
    packed = [rows for source in sources for _, rows in pack_rows(source, make_picture(1), 1, config)]
    assert to_table(packed) == to_table(packed[::-1])
    twice = [replace(rows, keys=np.zeros_like(rows.keys)) for rows in packed]
    assert to_table(twice) == to_table(twice[::-1])


def test_rounds_and_shards_part_the_rows_of_an_image() -> None:
    config = ShardsConfig("i", "o", levels=LEVELS, patches_per_image=10)
    source, pixels = Source("i/a", "a", "0" * 64, "test"), make_picture(1)

    def rows(packed: list[tuple[tuple[str, int], ShardRows]]) -> pa.Table:
        assert all((rows.keys % np.uint64(5) == number).all() for (_, number), rows in packed)
        return to_table([rows for _, rows in packed])

    together = list(pack_rows(source, pixels, 5, config))
    assert [key for key, _ in together] == [("test", number) for number in range(5)]
    parts = [list(pack_rows(source, pixels, 5, config, number, 3)) for number in range(3)]
    assert [[number for (_, number), _ in part] for part in parts] == [[0, 3], [1, 4], [2]]
    assert rows([rows for part in parts for rows in part]) == rows(together)


@pytest.mark.parametrize(
    ("uri", "split"),
    [
        ("/data/DIV2K/DIV2K_train_HR/0001.png", "train"),
        ("gs://b/DIV2K_train_HR/0700.png", "train"),
        ("DIV2K_train_HR/0701.png", "valid"),
        ("/DIV2K_train_HR/0800.webp", "valid"),
        ("/DIV2K_valid_HR/0801.png", "test"),
        ("/DIV2K_valid_HR/0900.png", "test"),
        ("/DIV2K_train_LR_bicubic/X2/0705x2.png", "valid"),
        ("/DIV2K_valid_LR_mild/0900x4m.png", "test"),
        ("/DIV2K_train_HR/0801.png", None),
        ("/DIV2K_train_HR/0000.png", None),
        ("/DIV2K_valid_HR/0800.png", None),
        ("/DIV2K_valid_HR/0901.png", None),
        ("/DIV2K_train_HR/10001.png", None),
        ("/MyDIV2K_train_HR/0001.png", None),
        ("/photos/0001.png", None),
    ],
)
def test_div2k_is_recognised_by_its_folders(uri: str, split: str | None) -> None:
    assert div2k_split(uri) == split


def test_other_images_are_split_by_their_pixels_and_copies_follow_div2k() -> None:
    fingerprints = [sha256(b"%d" % number).hexdigest() for number in range(4500)]
    counts = Counter(choose_split(fingerprint, ["/photos/1.png"]) for fingerprint in fingerprints)
    assert abs(counts["train"] - 3500) < 120
    assert abs(counts["valid"] - 500) < 90
    assert abs(counts["test"] - 500) < 90
    for fingerprint in fingerprints[:20]:
        assert choose_split(fingerprint, ["/a/1.png", "/DIV2K_valid_HR/0801.png"]) == "test"
        uris = ["/DIV2K_valid_HR/0801.png", "/DIV2K_train_HR/0001.png"]
        assert choose_split(fingerprint, uris) == choose_split(fingerprint, uris[::-1]) == "train"


def test_the_fingerprint_is_of_the_picture_whatever_its_shape() -> None:
    pixels = make_picture(1)
    assert fingerprint_of(pixels) == fingerprint_of(pixels.copy())
    assert len({fingerprint_of(array) for array in (pixels, pixels[::-1], pixels.reshape(96, 80, 3))}) == 3


def encode(pixels: UInt8Array, format: str) -> bytes:
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, format)
    return buffer.getvalue()


def test_unusable_images_stop_the_run_by_name_and_a_mended_corpus_runs_into_the_same_folder(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus, output = tmp_path / "corpus", tmp_path / "out"
    corpus.mkdir()
    bad = {
        "broken.png": encode(make_picture(1), "PNG")[:3000],
        "empty.png": b"",
        "lossy.png": encode(make_picture(1), "JPEG"),
        "small.png": encode(make_picture(1, 32, 32), "PNG"),
        "text.png": b"<html>",
    }
    for name, content in (bad | {"good.png": encode(make_picture(1), "PNG")}).items():
        (corpus / name).write_bytes(content)
    (corpus / "gone.png").symlink_to(corpus / "nowhere.png")
    flags = ["--levels", "50", "--patches-per-image", "5"]
    arguments = ["shards", "--images", str(corpus), "--output", str(output), *flags]
    assert main(arguments) == 2
    printed = capsys.readouterr().err
    assert "q1net shards: 6 images cannot be used" in printed
    for line in (
        f"{corpus}/broken.png: corrupt: ",
        f"{corpus}/empty.png: empty: ",
        f"{corpus}/gone.png: missing: ",
        f"{corpus}/lossy.png: unsupported: image is JPEG; expected a lossless one",
        f"{corpus}/small.png: too_small: image is 32 x 32 pixels and holds 4 of the 5 blocks wanted",
        f"and 1 more, in {output}/unusable.json",
    ):
        assert f"\n  {line}" in printed
    listed = json.loads((output / "unusable.json").read_text())["images"]
    assert [Path(image["uri"]).name for image in listed] == sorted([*bad, "gone.png"])
    assert sorted(path.name for path in output.iterdir()) == ["_inputs", "unusable.json"]
    for name in [*bad, "gone.png"]:
        (corpus / name).unlink()
    assert main(arguments) == 0
    assert sorted(path.name.split("=")[0] for path in output.iterdir()) == ["_inputs", "dataset.json", "split"]
    assert "dataset: " in capsys.readouterr().out


def test_a_killed_run_is_replaced(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configure(images, tmp_path)

    def fail(*_: object) -> None:
        raise OSError("killed")

    monkeypatch.setattr(shards, "commit", fail)
    with pytest.raises(Exception, match="killed"):
        make_shards(configure(images, tmp_path, patches_per_image=30, seed=4), ONE_THREAD)
    monkeypatch.undo()
    killed = files_of(tmp_path)
    assert killed
    assert not (tmp_path / "dataset.json").exists()
    dataset = make_shards(config, ONE_THREAD)
    assert files_of(tmp_path) == {file["name"]: file["sha256"] for file in dataset["files"]}
    assert not set(killed.values()) & set(files_of(tmp_path).values())


def test_a_finished_dataset_is_never_touched(made: Path, images: Path) -> None:
    before = files_of(made)
    with pytest.raises(ConfigError, match=r"already has a finished dataset \(dataset\.json\); choose another"):
        make_shards(configure(images, made), ONE_THREAD)
    assert files_of(made) == before


def test_files_of_others_are_never_touched(images: Path, tmp_path: Path) -> None:
    (tmp_path / "split=train").mkdir()
    (tmp_path / "split=train" / "mine.parquet").write_bytes(b"x")
    with pytest.raises(ConfigError, match="split=train, which no run of q1net shards left there"):
        start(configure(images, tmp_path))
    assert (tmp_path / "split=train" / "mine.parquet").exists()


@pytest.mark.parametrize("change", ["other pixels", "gone"])
def test_an_image_that_changes_on_the_way_stops_the_run(change: str, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(make_picture(1)).save(path)
    source = Source(str(path), "a.png", fingerprint_of(make_picture(1)), "train")
    config = ShardsConfig("i", "o", levels=(50,), patches_per_image=3)
    assert len(list(cut_rows(source, {"train": 1}, [], config, 0, 1))) == 1
    if change == "gone":
        path.unlink()
    else:
        Image.fromarray(make_picture(2)).save(path)
    with pytest.raises(RuntimeError, match=r"a\.png (changed while|was usable before)"):
        list(cut_rows(source, {"train": 1}, [], config, 0, 1))


def test_missing_rows_are_not_committed(tmp_path: Path) -> None:
    config = ShardsConfig("i", str(tmp_path), levels=(5, 6), patches_per_image=3)
    shard = Shard("n", "train", 5, 1, "", Counter({5: 3, 6: 2}))
    with pytest.raises(RuntimeError, match="split train has 2 rows of level 6 instead of 3; nothing is committed"):
        commit(None, [shard], {"train": 1}, config)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--levels", "0-5"], r"levels are [0, 1, 2, 3, 4, 5]; expected some of 1..100"),
        (["--patches-per-image", "0"], "patches_per_image is 0; expected at least 1"),
        (["--rows-per-shard", "99"], "rows_per_shard is 99; expected at least 100"),
        (["--seed", "-1"], "seed is -1; expected at least 0"),
        (["--images", "/nonexistent/*.png"], "no image matches '/nonexistent/*.png'"),
        (["--sead=1"], "unknown flags or values: --sead=1"),
    ],
)
def test_mistakes_stop_the_command_before_any_work(
    arguments: list[str], message: str, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["shards", "--images", str(images), "--output", f"{tmp_path}/out", *arguments]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("q1net shards: ")
    assert message in printed
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("name", "value"), [("codec", "h266"), ("phases", "some"), ("format", "csv"), ("levels", ())])
def test_impossible_configurations_are_refused(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=rf"{name} (is|are) .*; expected "):
        replace(ShardsConfig("i", "o"), **{name: value})


def test_no_tensorflow_is_loaded(images: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from pipelines.cli import main\n"
        f"assert main(['shards', '--images', {str(images / 'odd')!r}, '--output', {str(tmp_path)!r}, '--levels', '9',"
        " '--patches-per-image', '2', '--format', 'tfrecord']) == 0\n"
        "print([name for name in ('tensorflow', 'keras', 'jax') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_removing_is_of_files_and_folders_and_of_nothing(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "c").write_bytes(b"")
    for name in ("a", "c", "d"):
        storage.remove(str(tmp_path / name))
    assert not list(tmp_path.iterdir())
