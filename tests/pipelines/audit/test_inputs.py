"""Inputs listed by the engine's workers are those that the starting process lists, and the rows are the same."""

import io
import tarfile
import uuid
import zipfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.util import assert_that, equal_to
from audits import LATTICE, ONE_THREAD, audit_of, execute, without_time

from pipelines.audit.command import start_run
from pipelines.audit.config import AuditConfig
from pipelines.audit.inputs import ListImages, list_images
from pipelines.audit.run import open_run
from pipelines.inputs import read_inputs
from q1net_core import storage
from q1net_core.errors import ConfigError
from q1net_core.records import ListedImage
from q1net_core.settings import EstimatorSettings


@pytest.fixture
def corpus(small_folder: Path) -> Path:
    """Images, folders of images, archives, a folder within a folder, links, and what is no input."""
    content = {path.name: path.read_bytes() for path in small_folder.iterdir()}
    for folder in ("2020", "2021/deep", "[x]", "empty"):
        (small_folder / folder).mkdir(parents=True)
    for name in ("2020/a.jpg", "2020/b.jpg", "2021/c.jpg", "2021/deep/d.jpg", "[x]/a.jpg", "2021.jpg"):
        (small_folder / name).write_bytes(content[f"{name[-5]}.jpg"] if name[-5] in "abcd" else content["a.jpg"])
    with tarfile.open(small_folder / "2021" / "t.tar", "w") as tar:
        for name, data in sorted(content.items()):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    with zipfile.ZipFile(small_folder / "z.zip", "w") as zipped:
        zipped.writestr("in/a.jpg", content["a.jpg"])
    (small_folder / "cut.tar").write_bytes((small_folder / "2021" / "t.tar").read_bytes()[:1600])
    pq.write_table(pa.table({"image": [content["a.jpg"], content["b.jpg"]]}), small_folder / "p.parquet")
    (small_folder / "link.jpg").symlink_to(small_folder / "2020", target_is_directory=True)
    (small_folder / "dead.jpg").symlink_to(small_folder / "gone")
    (small_folder / "notes.txt").touch()
    return small_folder


@pytest.fixture
def manifest(corpus: Path) -> Path:
    path = corpus / "m.csv"
    rows = [("a.jpg", "x", "1"), ("z.zip", "y", "2"), ("gone.jpg", "y", ""), ("a.jpg", "z", "3"), ("z.zip", "", "4")]
    path.write_text("uri,site,year\n" + "".join(f"{corpus}/{name},{site},{year}\n" for name, site, year in rows))
    return path


def make_config(output: Path, *inputs: str, **values: Any) -> AuditConfig:
    return AuditConfig(str(output), inputs, settings=EstimatorSettings(estimators=LATTICE), **values)


def check_workers(config: AuditConfig, expected: list[ListedImage]) -> None:
    """Fail unless the files that workers write list what is expected, and the number is right."""

    def check(uris: list[str]) -> None:
        assert Counter(image for uri in uris for image in read_inputs(uri)) == Counter(expected)

    with beam.Pipeline("FnApiRunner", PipelineOptions([])) as pipeline:
        uris, total = pipeline | ListImages(config, f"{config.output}/run_id=1")
        assert_that(total, equal_to([len(expected)]), "total")
        assert_that(uris, check, "uris")


CASES = {
    "a folder": (("{}",), {}),
    "duplicates across globs": (("{}/2021", "{}/**/*.jpg", "{}/*.jpg", "{}/a.jpg", "{}"), {}),
    "archives": (("{}/z.zip", "{}/p.parquet", "{}/cut.tar", "{}/2021/t.tar#a.jpg", "{}/2021/t.tar"), {}),
    "excludes and groups": (("{}", "{}/*.zip"), {"exclude": ("2020/", "*#b.jpg"), "group": r"/(\d{4})/"}),
    "a manifest": ((), {"manifest": "{}/m.csv", "group_column": "site", "carry": ("year",)}),
}


@pytest.mark.parametrize("name", CASES)
def test_workers_list_what_the_starting_process_lists(name: str, manifest: Path, tmp_path: Path) -> None:
    patterns, values = CASES[name]
    filled = {key: value.format(manifest.parent) if key == "manifest" else value for key, value in values.items()}
    config = make_config(tmp_path / "out", *(pattern.format(manifest.parent) for pattern in patterns), **filled)
    expected = list(list_images(config))
    assert len(expected) >= 3
    # Of the same uri the same one is taken, with its group and what it carries.
    check_workers(config, expected)


def test_workers_list_the_folders_of_a_store(corpus: Path, tmp_path: Path) -> None:
    base = f"memory://q1net-inputs/{uuid.uuid4().hex}"
    for path in corpus.rglob("*.*"):
        if path.is_file():
            storage.write_bytes(f"{base}/{path.relative_to(corpus)}", path.read_bytes())
    config = make_config(tmp_path / "out", base, f"{base}/2020/*.jpg")
    expected = list(list_images(config))
    assert len(expected) > 10
    check_workers(config, expected)


@pytest.mark.parametrize("resumed", [False, True])
def test_rows_are_the_same_whoever_lists(resumed: bool, corpus: Path, tmp_path: Path) -> None:
    config = make_config(tmp_path / "out", str(corpus), f"{corpus}/*.zip", group=r"/(\d{4})/", partition_by_group=True)
    expected = execute(config, start_run(config, audit_of(config)), ONE_THREAD)
    again = replace(config, resume=True) if resumed else config
    run = start_run(again, audit_of(config), on_engine=True)
    assert (run.images, run.input_files, bool(run.earlier)) == (None, [], resumed)
    rows = execute(again, run, ONE_THREAD)
    assert without_time(rows) == without_time(expected)
    ok = sum(row["status"] == "ok" for row in expected)
    about = open_run(run.uri)
    assert about["totals"] == {"rows": len(expected), "ok": ok, "carried": ok if resumed else 0}
    assert about["inputs"]["listed"] == len(expected)
    assert all(Path(run.uri, "_inputs", name).exists() for name in about["inputs"]["files"])


@pytest.mark.parametrize(
    ("patterns", "values", "message"),
    [
        (("{}", "{}/*.webp"), {}, r"no image matches '.*/\*\.webp'"),
        (("{}/empty",), {}, "no image matches '.*/empty'"),
        (("{}",), {"exclude": ("*",)}, r"--exclude leaves no image: \*"),
    ],
)
def test_mistakes_that_only_listing_finds_end_the_job_before_an_image_is_read(
    patterns: tuple[str, ...], values: dict[str, Any], message: str, corpus: Path, tmp_path: Path
) -> None:
    config = make_config(tmp_path / "out", *(pattern.format(corpus) for pattern in patterns), **values)
    run = start_run(config, audit_of(config), on_engine=True)
    with pytest.raises(Exception, match=message):
        execute(config, run, ONE_THREAD)
    assert not Path(run.uri, "_pieces").exists()
    assert not Path(run.uri, "_run.json").exists()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"inputs": ("/nowhere/photos",)}, "no image matches '/nowhere/photos'"),
        ({"group": "("}, "not a regular expression"),
        ({"remote_only": True}, "--remote-only: "),
    ],
)
def test_other_mistakes_are_found_before_the_job(
    values: dict[str, Any], message: str, small_folder: Path, tmp_path: Path
) -> None:
    config = replace(make_config(tmp_path / "out", str(small_folder)), **values)
    with pytest.raises(ConfigError, match=message):
        start_run(config, audit_of(config), on_engine=True)
    assert not (tmp_path / "out").exists()
