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
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from pictures import make_picture
from PIL import Image

from pipelines.cli import main
from pipelines.shards import command
from pipelines.shards.command import make_shards, parse
from pipelines.shards.config import ShardsConfig
from pipelines.shards.parquet import SHARD_SCHEMA
from pipelines.shards.plan import list_corpus
from q1net_core import storage
from q1net_core.codecs.jpeg import compress_jpeg
from q1net_core.codecs.table import CODECS
from q1net_core.errors import ConfigError
from q1net_core.records import UInt8Array

ONE_THREAD = PipelineOptions(["--runner=FnApiRunner"])
LEVELS = (5, 40, 95)
PLACES = 20
IMAGES = 16


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small lossless pictures in folders, some of DIV2K; 00 and its copy have the same pixels in different files."""
    folder = tmp_path_factory.mktemp("images")
    of_div2k = {11: "train_HR/0701", 12: "train_HR/0702", 13: "train_HR/0703", 14: "valid_HR/0801"}
    for number in range(IMAGES - 1):
        name = f"DIV2K_{of_div2k[number]}" if number in of_div2k else f"{('even', 'odd')[number % 2]}/{number:02d}"
        path = folder / f"{name}.png"
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
        # Two images of 60 rows fit into 150 where they stay whole.
        count = -(-about["rows"] // 150) if split == "train" else -(-about["images"] // 2)
        names = [file["name"] for file in dataset["files"] if file["name"].startswith(f"split={split}/")]
        assert names == [f"split={split}/part-{number:05d}-of-{count:05d}.parquet" for number in range(count)]
    assert {file["name"]: file["sha256"] for file in dataset["files"]} == files_of(made)
    for file in dataset["files"]:
        assert file["bytes"] == (made / file["name"]).stat().st_size
        assert file["rows"] == pq.ParquetFile(made / file["name"]).metadata.num_rows < 2 * 150
    assert (dataset["version"], dataset["seed"]) == (2, 0)
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


def test_images_to_validate_and_test_on_are_whole_and_in_order(made: Path) -> None:
    per_image = PLACES * len(LEVELS)
    for split, images in (("valid", 3), ("test", 1)):
        tables = [pq.ParquetFile(path).read() for path in sorted(made.glob(f"split={split}/*"))]
        assert all(len(table) % per_image == 0 for table in tables)
        order = [(row["source"], row["level"], row["y"], row["x"]) for table in tables for row in table.to_pylist()]
        assert order == sorted(order)
        assert len({source for source, *_ in order}) == len(order) / per_image == images


@pytest.mark.parametrize(
    "flags",
    [
        ["--direct_num_workers=2", "--direct_running_mode=multi_threading"],
        ["--direct_runner_bundle_repeat=1"],
        "on a cluster",
    ],
    ids=["two workers", "bundles repeated", "on a cluster"],
)
def test_the_same_seed_gives_the_same_bytes_however_it_runs(
    flags: list[str] | str, images: Path, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if flags == "on a cluster":
        # Rows then go through the engine's own shuffle.
        monkeypatch.setattr(command, "is_local", lambda options: False)
        flags = []
    make_shards(configure(images, tmp_path, phases="all"), PipelineOptions(["--runner=FnApiRunner", *flags]))
    assert files_of(tmp_path) == files_of(made)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith("_")) == ["_inputs", "_survey"]


def test_another_seed_gives_other_places_in_the_same_splits(images: Path, made: Path, tmp_path: Path) -> None:
    make_shards(configure(images, tmp_path, phases="all", seed=1), ONE_THREAD)
    splits = [{(row["source"], row["split"]) for row in rows_of(output)} for output in (made, tmp_path)]
    assert splits[0] == splits[1]
    places = [{(row["source"], row["y"], row["x"]) for row in rows_of(output)} for output in (made, tmp_path)]
    assert len(places[0] & places[1]) < 0.3 * len(places[0])


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
    assert sorted(path.name for path in output.iterdir()) == ["_inputs", "_survey", "unusable.json"]
    for name in [*bad, "gone.png"]:
        (corpus / name).unlink()
    assert main(arguments) == 0
    assert sorted(path.name.split("=")[0] for path in output.iterdir()) == [
        "_inputs",
        "_survey",
        "dataset.json",
        "split",
    ]
    assert "dataset: " in capsys.readouterr().out


def test_a_killed_run_is_replaced(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configure(images, tmp_path)

    def fail(*_: object) -> None:
        raise OSError("killed")

    monkeypatch.setattr(command, "commit_dataset", fail)
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
        list_corpus(configure(images, tmp_path))
    assert (tmp_path / "split=train" / "mine.parquet").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--levels", "0-5"], "levels [0] do not exist; expected some of 1..100"),
        (["--codec", "h264", "--levels", "52"], "levels [52] do not exist; expected some of 0..51"),
        (["--codec", "jpeg-save-for-web", "--levels", "95"], "expected some of 10, 20, 30, 40, 50, 51, 60, 70, 80, 90"),
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


@pytest.mark.parametrize(("name", "value"), [("codec", "h266"), ("phases", "some"), ("format", "csv")])
def test_impossible_configurations_are_refused(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=rf"{name} (is|are) .*; expected "):
        replace(ShardsConfig("i", "o"), **{name: value})


def test_levels_are_all_of_the_codec_unless_some_are_given() -> None:
    flags = ["--images", "i", "--output", "o"]
    levels = {name: parse([*flags, "--codec", name])[0].levels for name in CODECS}
    assert levels == {name: tuple(codec.levels) for name, codec in CODECS.items()}
    assert parse([*flags, "--codec", "hevc", "--levels", "0-51:17"])[0].levels == (0, 17, 34, 51)
    with pytest.raises(SystemExit):
        parse([*flags, "--levels", "9-5"])


def test_a_codec_that_is_not_installed_stops_the_command_before_any_work(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    assert main(["shards", "--images", str(images), "--output", f"{tmp_path}/out", "--codec", "h264"]) == 2
    assert "pip install '.[video]'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", CODECS)
def test_every_codec_makes_shards_of_whole_images_compressed_and_cut(name: str, images: Path, tmp_path: Path) -> None:
    codec, pictures = CODECS[name], images / "odd"
    levels = (codec.levels[0], codec.levels[-1])
    config = ShardsConfig(str(pictures), str(tmp_path), name, levels, patches_per_image=3, phases="all")
    dataset = make_shards(config, ONE_THREAD)
    rows = rows_of(tmp_path)
    assert len(rows) == len(list(pictures.iterdir())) * 3 * 2
    whole = {
        (path.name, level): codec.compress(np.asarray(Image.open(path)), level)
        for path in pictures.iterdir()
        for level in levels
    }
    for row in rows:
        y, x = row["y"], row["x"]
        assert row["patch"] == whole[row["source"], row["level"]][y : y + 16, x : x + 16].tobytes()
    assert dataset["arguments"]["codec"] == name
    assert dataset["versions"].items() >= codec.versions().items()
    splits = dataset["splits"].values()
    assert {
        level: sum(split["rows_by_level"][level] for split in splits) for level in map(str, levels)
    } == dict.fromkeys(map(str, levels), len(rows) // 2)


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


@pytest.mark.parametrize("screen", ["report", "drop"])
def test_images_that_were_compressed_before_are_named_and_dropped_if_wanted(
    screen: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, output = tmp_path / "images", tmp_path / "out"
    images.mkdir()
    for number in range(3):
        Image.fromarray(make_picture(number)).save(images / f"{number}.png")
    Image.fromarray(compress_jpeg(make_picture(3), 62)).save(images / "stripped.png")
    arguments = ["--images", str(images), "--output", str(output), "--levels", "50", "--patches-per-image", "4"]
    assert main(["shards", *arguments, "--screen", screen]) == 0
    dataset = json.loads((output / "dataset.json").read_text())
    assert dataset["screened"] == [{"uri": str(images / "stripped.png"), "quality": 62.0, "match": "exact"}]
    assert sum(split["images"] for split in dataset["splits"].values()) == (3 if screen == "drop" else 4)
    assert {row["source"] for row in rows_of(output)} >= {"0.png", "1.png", "2.png"}
    assert ("stripped.png" in {row["source"] for row in rows_of(output)}) is (screen == "report")
    assert "1 images were JPEG compressed before" in capsys.readouterr().out


def test_nothing_is_committed_if_all_images_were_compressed_before(tmp_path: Path) -> None:
    Image.fromarray(compress_jpeg(make_picture(3), 62)).save(tmp_path / "stripped.png")
    config = ShardsConfig(str(tmp_path), str(tmp_path / "out"), levels=(5,), patches_per_image=4, screen="drop")
    with pytest.raises(ConfigError, match="all 1 images were JPEG compressed before and dropped; expected images that"):
        make_shards(config, ONE_THREAD)
    assert not (tmp_path / "out" / "dataset.json").exists()
