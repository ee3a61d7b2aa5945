"""The audit as a whole: it equals the plain computation, every input is one row, and nothing half-done is committed."""

import json
import os
import re
import shutil
import struct
import subprocess
import sys
import uuid
import zlib
from collections.abc import Callable
from dataclasses import asdict, replace
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions, StandardOptions
from apache_beam.testing.util import assert_that
from PIL import Image

from pipelines import AuditImages
from pipelines.audit.command import AuditConfig, Run, build, list_images, parse, start_run
from pipelines.audit.run import read_run
from pipelines.audit.table import AUDIT_SCHEMA, SCHEMA_VERSION, Row, to_row
from pipelines.cli import main
from pipelines.runtime import counters
from pipelines.runtime.local import run_pipeline
from q1net_core import storage
from q1net_core.errors import ConfigError, WeightsError
from q1net_core.estimator import estimate_image
from q1net_core.network.predictor import Predictor
from q1net_core.network.weights import read_weights
from q1net_core.settings import AUTO, CLEAN_WEIGHTS, ROBUST_WEIGHTS, EstimatorSettings

PHOTOGRAPHS = Path(__file__).parents[2] / "photographs"
ONE_THREAD = ["--direct_num_workers=1", "--direct_running_mode=in_memory"]
TWO_THREADS = ["--direct_num_workers=2", "--direct_running_mode=multi_threading"]
ACCELERATOR = "type:nvidia-tesla-t4;count:1;install-nvidia-driver"
MAX_BYTES, MAX_PIXELS = 30_000, 40_000
LATIN_1_NAME = os.fsdecode(b"caf\xe9.jpg")


def photograph(width: int = 64, height: int = 48) -> Image.Image:
    return (
        Image.open(PHOTOGRAPHS / "camera" / "airplane.png").convert("RGB").crop((300, 200, 300 + width, 200 + height))
    )


def encode(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def huge_png() -> bytes:
    """Header of a PNG that says 60000 x 60000 pixels, and a few bytes of them."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    )


def huge_jpeg() -> bytes:
    """A small JPEG whose frame header says 60000 x 60000 pixels."""
    encoded = encode(photograph())
    frame = encoded.index(b"\xff\xc0")
    return encoded[: frame + 5] + struct.pack(">HH", 60000, 60000) + encoded[frame + 9 :]


def deep_png() -> bytes:
    return encode(Image.fromarray(np.arange(64 * 48, dtype=np.uint16).reshape(48, 64) * 20), "PNG")


def palette_with_alpha() -> bytes:
    return encode(photograph().quantize(16), "PNG", transparency=bytes(range(0, 256, 16)))


def animation(kind: str) -> bytes:
    frames = [photograph(), photograph().transpose(Image.Transpose.FLIP_LEFT_RIGHT)]
    return encode(frames[0], kind, save_all=True, append_images=frames[1:], duration=50)


# Name -> content and the expected status, format and mode; listed as a folder, links below are added.
ODD_FILES: dict[str, tuple[Callable[[], bytes], str, str | None, str | None]] = {
    "zero.jpg": (lambda: b"", "empty", None, None),
    "truncated.jpg": (lambda: encode(photograph())[:-400], "corrupt", "JPEG", None),
    "page.jpg": (lambda: b"<!DOCTYPE html><html><body>403 Forbidden</body></html>", "unsupported", None, None),
    "noise.jpg": (lambda: bytes(range(256)) * 4, "unsupported", None, None),
    "huge.png": (huge_png, "too_large", None, None),
    "huge.jpg": (huge_jpeg, "too_large", "JPEG", None),
    "many_bytes.png": (lambda: encode(photograph(180, 180), "PNG"), "too_large", None, None),
    "many_pixels.jpg": (lambda: encode(photograph(201, 200)), "too_large", "JPEG", None),
    "pixels_at_the_limit.jpg": (lambda: encode(photograph(200, 200)), "ok", "JPEG", "RGB"),
    "tiny.png": (lambda: encode(photograph(8, 8), "PNG"), "too_small", "PNG", "RGB"),
    "narrow.jpg": (lambda: encode(photograph(64, 19)), "too_small", "JPEG", "RGB"),
    "one_patch.png": (lambda: encode(photograph(20, 20), "PNG"), "ok", "PNG", "RGB"),
    "cmyk.jpg": (lambda: encode(photograph().convert("CMYK")), "ok", "JPEG", "CMYK"),
    "grey.jpg": (lambda: encode(photograph().convert("L")), "ok", "JPEG", "L"),
    "deep.png": (deep_png, "ok", "PNG", "I;16"),
    "palette_with_alpha.png": (palette_with_alpha, "ok", "PNG", "P"),
    "animated.gif": (lambda: animation("GIF"), "ok", "GIF", "P"),
    "animated.webp": (lambda: animation("WEBP"), "ok", "WEBP", "RGB"),
    "progressive.jpg": (lambda: encode(photograph(), progressive=True), "ok", "JPEG", "RGB"),
    "really_jpeg.png": (lambda: encode(photograph()), "ok", "JPEG", "RGB"),
    LATIN_1_NAME: (lambda: encode(photograph()), "ok", "JPEG", "RGB"),
    "日本 #1 100%.jpg": (lambda: encode(photograph()), "ok", "JPEG", "RGB"),
}
BROKEN_LINKS = {"dead_link.jpg": "missing", "loop.jpg": "unreadable"}


@pytest.fixture(scope="module")
def odd_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("odd")
    for name, (make, *_) in ODD_FILES.items():
        (folder / name).write_bytes(make())
    (folder / "dead_link.jpg").symlink_to(folder / "gone.jpg")
    (folder / "loop.jpg").symlink_to(folder / "loop.jpg")
    return folder


@pytest.fixture
def small_folder(tmp_path: Path) -> Path:
    """Three images that work and one that does not."""
    folder = tmp_path / "images"
    folder.mkdir()
    for name, quality in (("a.jpg", 30), ("b.jpg", 60), ("c.jpg", 90)):
        (folder / name).write_bytes(encode(photograph(), quality=quality))
    (folder / "d.jpg").write_bytes(b"")
    return folder


def configure(
    output: Path | str, *inputs: Path | str, weights: str, patches: int = 16, manifest: str | None = None,
    group: str | None = None, group_column: str | None = None, accelerator: str | None = None, **settings: Any,
) -> AuditConfig:  # fmt: skip
    """A config from plain values, with few patches."""
    chosen = EstimatorSettings(weights=weights, patches=patches, **settings)
    return AuditConfig(
        str(output), tuple(map(str, inputs)), manifest, group, group_column, accelerator, settings=chosen
    )


def change(config: AuditConfig, **settings: Any) -> AuditConfig:
    """The config with other settings."""
    return replace(config, settings=replace(config.settings, **settings))


def audit_of(config: AuditConfig, redistribute: bool = True) -> AuditImages:
    """The transform of a config."""
    return AuditImages(accelerator=config.accelerator, redistribute=redistribute, **asdict(config.settings))


def execute(config: AuditConfig, run: Run, flags: list[str], redistribute: bool = True) -> list[Row]:
    """Run a started audit and read the committed rows, ordered by uri."""
    options = PipelineOptions(["--runner=FnApiRunner", *flags])
    transform = audit_of(config, redistribute)
    run_pipeline(lambda root: build(root, config, run, transform), options, "rows", run.images, "image")
    return sorted(read_run(run.uri).to_pylist(), key=lambda row: row["uri"])


def as_stored(rows: list[Row]) -> list[Row]:
    """Rows as the table keeps them: float32, microseconds."""
    return sorted(pa.Table.from_pylist(rows, AUDIT_SCHEMA).to_pylist(), key=lambda row: row["uri"])


def without_time(rows: list[Row]) -> list[Row]:
    assert all(row["processed_at"] is not None for row in rows)
    return [{name: value for name, value in row.items() if name != "processed_at"} for row in rows]


def run_folders(output: Path) -> list[Path]:
    return sorted(output.glob("run_id=*")) if output.exists() else []


# Equivalence ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def audited(weights_uri: str, odd_folder: Path) -> AuditConfig:
    group = r"/(camera|messenger)/"
    return configure("", PHOTOGRAPHS, odd_folder, weights=weights_uri, group=group, max_bytes=700_000)


@pytest.fixture(scope="module")
def model(weights_uri: str) -> Predictor:
    return Predictor(read_weights(weights_uri))


def rows_without_beam(config: AuditConfig, model: Predictor) -> list[Row]:
    """Rows of the plain loop over all images of a config."""
    settings, weights = config.settings, audit_of(config).weights
    records = [estimate_image(image, settings, weights, lambda _: model) for image in list_images(config)]
    return as_stored([to_row(record) for record in records])


Q1NET, LATTICE, BOTH = ("q1net",), ("lattice",), ("lattice", "q1net")


@pytest.mark.parametrize(
    ("flags", "redistribute", "threshold", "estimators", "cascade"),
    [
        (ONE_THREAD, True, 60.0, BOTH, False),
        (ONE_THREAD, False, 99.9, Q1NET, False),
        (TWO_THREADS, True, 0.0, BOTH, True),
        (TWO_THREADS, False, 60.0, Q1NET, False),
        (ONE_THREAD, False, 60.0, BOTH, True),
        (TWO_THREADS, True, 60.0, LATTICE, False),
        (ONE_THREAD, False, 60.0, LATTICE, False),
    ],
)
def test_the_pipeline_equals_the_plain_computation(
    flags: list[str],
    redistribute: bool,
    threshold: float,
    estimators: tuple[str, ...],
    cascade: bool,
    audited: AuditConfig,
    model: Predictor,
    tmp_path: Path,
) -> None:
    config = change(audited, threshold=threshold, estimators=estimators, cascade=cascade)
    config = replace(config, output=str(tmp_path))
    rows = execute(config, start_run(config, audit_of(config)), flags, redistribute)
    assert without_time(rows) == without_time(rows_without_beam(config, model))
    assert len(rows) == 12 + len(ODD_FILES) + len(BROKEN_LINKS)
    decoded = [row for row in rows if row["status"] == "ok"]
    answered = [row for row in decoded if row["quality"] is not None]
    if threshold == 99.9:
        assert (len(decoded) > 12, answered, {row["quality_source"] for row in decoded}) == (True, [], {None})
    elif estimators == Q1NET:
        assert len({row["quality"] for row in answered}) > 12
        assert all(row["q1net_confidence"] > threshold for row in answered)
        assert any(row["patches_used"] < row["patches"] for row in decoded) == (threshold > 0)
    else:
        assert len({row["lattice_quality"] for row in answered}) > 8
        assert any(row["patches"] for row in decoded) == (estimators == BOTH)
    assert {row["group"] for row in rows} == {"camera", "messenger", None}


# Which weights judge --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "cascade", "patches"), [(ONE_THREAD, False, 16), (TWO_THREADS, True, 16), (TWO_THREADS, False, AUTO)]
)
def test_the_pipeline_asks_the_network_that_the_lattice_chooses(
    flags: list[str], cascade: bool, patches: int | str, tmp_path: Path, audited: AuditConfig
) -> None:
    config = change(audited, weights=None, cascade=cascade, patches=patches)
    config = replace(config, output=str(tmp_path), inputs=(str(PHOTOGRAPHS),))
    rows = execute(config, start_run(config, audit_of(config)), flags)
    weights = audit_of(config).weights
    records = [estimate_image(image, config.settings, weights) for image in list_images(config)]
    # Of one image the same patches are the same call, whatever else is in its batch.
    assert without_time(rows) == without_time(as_stored([to_row(record) for record in records]))
    for row in rows:
        accepted = row["lattice_quality"] is not None
        expected = ROBUST_WEIGHTS if not accepted else None if cascade else CLEAN_WEIGHTS
        assert (row["variant"], row["weights_sha256"]) == (expected, expected and read_weights(expected).sha256)
    assert {row["variant"] for row in rows} == {ROBUST_WEIGHTS, None if cascade else CLEAN_WEIGHTS}
    early = [row["patches"] for row in rows if row["patches_stop"] == "agrees"]
    assert (patches == AUTO) == bool(early)
    assert all(row["patches"] in (*early, 256 if patches == AUTO else 16, 0) for row in rows)
    run = json.loads((run_folders(tmp_path)[0] / "_run.json").read_text())
    assert [used["source"] for used in run["weights"]] == list(config.settings.all_weights)


# Which estimators run -------------------------------------------------------------------------------------------------

OF_THE_LATTICE = {name for name in AUDIT_SCHEMA.names if name.startswith(("lattice_", "grid_"))}
OF_Q1NET = {
    "q1net_quality", "q1net_confidence", "q1net_spread", "patches", "patches_used", "patches_stop",
    "variant", "weights_sha256",
}  # fmt: skip


def test_a_cascade_gives_the_same_rows_but_for_q1net_where_the_lattice_accepts(
    audited: AuditConfig, model: Predictor
) -> None:
    config = change(audited, threshold=60.0)
    whole = without_time(rows_without_beam(config, model))
    cascade = without_time(rows_without_beam(change(config, cascade=True), model))
    accepted = [row["lattice_quality"] is not None for row in whole]
    assert 11 <= sum(accepted) < len(whole)
    for row, full, found in zip(cascade, whole, accepted, strict=True):
        changed = {name: row[name] for name in row if row[name] != full[name]}
        assert changed.keys() <= (OF_Q1NET if found else set())
        if found:
            assert (full["patches"] > 0, row["patches"], row["q1net_quality"]) == (True, 0, None)


def test_q1net_alone_leaves_the_lattice_out_and_asks_the_same_of_the_network(
    audited: AuditConfig, model: Predictor
) -> None:
    config = change(audited, threshold=0.0)
    both, alone = (rows_without_beam(change(config, estimators=estimators), model) for estimators in (BOTH, Q1NET))
    for row, full in zip(alone, both, strict=True):
        assert {row[name] for name in OF_THE_LATTICE} == {None}
        assert row["quality"] == row["q1net_quality"]
        if (full["grid_x"] or 0, full["grid_y"] or 0) == (0, 0):
            assert {name: row[name] for name in OF_Q1NET} == {name: full[name] for name in OF_Q1NET}


def test_the_lattice_alone_gives_the_same_lattice_and_no_more(audited: AuditConfig, model: Predictor) -> None:
    both, alone = (rows_without_beam(change(audited, estimators=estimators), model) for estimators in (BOTH, LATTICE))
    for row, full in zip(alone, both, strict=True):
        assert {name: row[name] for name in OF_THE_LATTICE} == {name: full[name] for name in OF_THE_LATTICE}
        assert {name: row[name] for name in OF_Q1NET} == dict.fromkeys(OF_Q1NET) | {"patches": 0, "patches_used": 0}
        assert row["quality"] == row["lattice_quality"]


def test_the_lattice_alone_needs_no_network(small_folder: Path, weights_uri: str, tmp_path: Path) -> None:
    arguments = ["audit", str(small_folder), "--weights", weights_uri, "--output", str(tmp_path / "out")]
    code = (
        "import os, sys\nfrom pipelines.cli import main\n"
        f"assert main({[*arguments, '--estimators', 'lattice']!r}) == 0\n"
        "loaded = {'keras', 'tensorflow'} & set(sys.modules)\nassert not loaded, loaded\n"
        # Ended as the command ends: Beam's threads may abort an ordinary end of the interpreter.
        "os._exit(0)\n"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (folder,) = run_folders(tmp_path / "out")
    rows = sorted(read_run(str(folder)).to_pylist(), key=lambda row: row["uri"])
    assert [row["quality_source"] for row in rows] == ["lattice"] * 3 + [None]
    assert [row["quality"] for row in rows] == [30, 60, 90, None]


def test_the_graph_has_no_inference_where_q1net_is_not_wanted(weights_uri: str) -> None:
    config = configure("memory://out", "x", weights=weights_uri, estimators=LATTICE)
    names = {transform.unique_name for transform in graph_of(config, True).transforms.values()}
    assert not any("RunInference" in name or "RedistributePatches" in name for name in names)
    assert any("SamplePatches" in name for name in names)


def test_what_an_audit_says_of_the_bundled_photographs(audited: AuditConfig, model: Predictor, tmp_path: Path) -> None:
    config = replace(change(audited, estimators=LATTICE), output=str(tmp_path), inputs=(str(PHOTOGRAPHS),))
    rows = execute(config, start_run(config, audit_of(config)), ONE_THREAD)
    told = {
        row["uri"].removeprefix(f"{PHOTOGRAPHS}/"): (
            row["lattice_quality"], row["lattice_match"], row["grid_x"], row["grid_y"], row["verdict"]
        )
        for row in rows
    }  # fmt: skip
    assert told == {
        "camera/airplane.png": (None, None, None, None, "unsure"),
        "camera/barn.jpg": (70, "photoshop", 0, 0, "single"),
        "camera/hats.jpg": (90, "exact", 0, 0, "single"),
        "camera/lighthouse.jpg": (85, "exact", 0, 0, "single"),
        "camera/parrots.jpg": (92, "exact", 0, 0, "single"),
        "camera/statue.jpg": (80, "exact", 0, 0, "single"),
        "messenger/chalet.png": (50, "exact", 5, 3, "stripped"),
        "messenger/houses.jpg": (75, "exact", 0, 0, "single"),
        "messenger/motocross.jpg": (35, "exact", 0, 0, "single"),
        "messenger/rafting.jpg": (40, "exact", 0, 0, "recompressed"),
        "messenger/sailing.jpg": (60, "exact", 0, 0, "single"),
        "messenger/wreck.png": (70, "exact", 0, 0, "stripped"),
    }
    by_name = {Path(row["uri"]).stem: row for row in rows}
    assert (by_name["rafting"]["lattice_last_quality"], by_name["rafting"]["header_quality"]) == (95, 95)
    assert by_name["barn"]["lattice_level"] == 7
    summary = json.loads((run_folders(tmp_path)[0] / "summary.json").read_text())
    assert summary["total"]["verdicts"] == {"recompressed": 1, "single": 8, "stripped": 2, "unsure": 1}


# One row for every input ----------------------------------------------------------------------------------------------


def test_every_input_is_one_row_whatever_it_is(odd_folder: Path, weights_uri: str, tmp_path: Path) -> None:
    config = configure(tmp_path, odd_folder, weights=weights_uri, max_bytes=MAX_BYTES, max_pixels=MAX_PIXELS)
    rows = execute(config, start_run(config, audit_of(config)), ONE_THREAD)
    names = [*ODD_FILES, *BROKEN_LINKS]
    assert [row["uri"] for row in rows] == sorted(storage.printable_uri(f"{odd_folder}/{name}") for name in names)
    by_uri = {row["uri"]: row for row in rows}
    for name, (make, status, kind, mode) in ODD_FILES.items():
        row = by_uri[storage.printable_uri(f"{odd_folder}/{name}")]
        assert (name, row["status"], row["format"], row["mode"]) == (name, status, kind, mode)
        assert row["size_bytes"] == len(make())
        assert row["modified"] is not None
    for name, status in BROKEN_LINKS.items():
        assert by_uri[f"{odd_folder}/{name}"]["status"] == status
    for row in rows:
        works = row["status"] == "ok"
        assert (row["error"] is None, row["patches"] > 0) == (works, works), row
        assert row["error"] is None or ("\n" not in row["error"] and len(row["error"]) > 10)
    assert (by_uri[f"{odd_folder}/huge.jpg"]["width"], by_uri[f"{odd_folder}/one_patch.png"]["patches"]) == (60000, 1)


def test_images_that_vanish_after_listing_are_rows(small_folder: Path, weights_uri: str, tmp_path: Path) -> None:
    config = configure(tmp_path / "out", small_folder, weights=weights_uri)
    run = start_run(config, audit_of(config))
    (small_folder / "b.jpg").unlink()
    (small_folder / "c.jpg").unlink()
    (small_folder / "c.jpg").mkdir()
    rows = execute(config, run, ONE_THREAD)
    assert [(Path(row["uri"]).name, row["status"]) for row in rows] == [
        ("a.jpg", "ok"), ("b.jpg", "missing"), ("c.jpg", "unreadable"), ("d.jpg", "empty")
    ]  # fmt: skip


def test_manifest_rows_are_rows_whether_or_not_they_exist(small_folder: Path, weights_uri: str, tmp_path: Path) -> None:
    uris = [f"{small_folder}/a.jpg", f"{small_folder}/gone.jpg", str(small_folder), "nosuch://bucket/x.jpg",
            "memory://q1net-audit/gone.jpg", f"{small_folder}/a.jpg"]  # fmt: skip
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("uri,site\n" + "".join(f"{uri},0{place}\n" for place, uri in enumerate(uris)))
    config = configure(tmp_path / "out", manifest=str(manifest), group_column="site", weights=weights_uri)
    rows = execute(config, start_run(config, audit_of(config)), ONE_THREAD)
    assert {row["uri"]: (row["status"], row["group"]) for row in rows} == {
        uris[0]: ("ok", "00"),
        uris[1]: ("missing", "01"),
        uris[2]: ("unreadable", "02"),
        uris[3]: ("unreadable", "03"),
        uris[4]: ("missing", "04"),
    }
    assert len(rows) == 5
    assert next(row for row in rows if row["uri"] == uris[0])["size_bytes"] == (small_folder / "a.jpg").stat().st_size


def test_replayed_bundles_double_no_rows(small_folder: Path, weights_uri: str, tmp_path: Path) -> None:
    config = configure(tmp_path / "out", small_folder, weights=weights_uri)
    before = counters.tally().get("rows", 0)
    rows = execute(config, start_run(config, audit_of(config)), ["--direct_runner_bundle_repeat=1"])
    assert counters.tally()["rows"] - before >= 8, "bundles were not replayed, so this proved nothing"
    assert [Path(row["uri"]).name for row in rows] == ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]


# The command ----------------------------------------------------------------------------------------------------------


def test_the_command_prints_results_and_commits(
    small_folder: Path, weights_uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    flags = ["--weights", weights_uri, "--patches", "16", "--output", str(output), "--group", r"/([ab])\.jpg"]
    assert main(["audit", str(small_folder), *flags]) == 0
    printed = capsys.readouterr()
    (folder,) = run_folders(output)
    assert f"run: {folder}" in printed.out
    assert "4 images: empty 1 (25 %), ok 3 (75 %)\nverdicts: single 3 (100 %)\n" in printed.out
    assert re.search(r"^4 images judged in \d+ s, [\d.]+ images per second$", printed.err, re.M)
    assert "<svg" in (folder / "report.html").read_text()
    assert [line.split()[0] for line in printed.out.splitlines()[2:6]] == ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
    assert "4/4" in printed.err
    run = json.loads((folder / "_run.json").read_text())
    assert run["inputs"] == {"listed": 4, "files": ["inputs-00000.parquet"]}
    assert (folder / "_inputs" / "inputs-00000.parquet").exists()
    assert run["run_id"] == folder.name.removeprefix("run_id=")
    assert run["totals"] == {"rows": 4, "ok": 3, "carried": 0}
    assert (run["arguments"]["threshold"], run["arguments"]["patches"]) == (None, 16)
    (weights,) = run["weights"]
    assert weights == {
        "source": weights_uri, "variant": "q1net-no-bottleneck", "sha256": read_weights(weights_uri).sha256,
        "fusion": "paper", "threshold": 60,
    }  # fmt: skip
    assert run["versions"]["schema_version"] == SCHEMA_VERSION
    assert run["versions"]["beam"] == beam.__version__
    summary = json.loads((folder / "summary.json").read_text())
    assert {group["group"]: group["images"] for group in summary["groups"]} == {None: 2, "a": 1, "b": 1}


def test_fail_on_tells_by_the_exit_status_which_images_must_not_be(
    small_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.open(small_folder / "a.jpg").save(small_folder / "stripped.png")
    output = tmp_path / "out"
    arguments = ["audit", str(small_folder), "--estimators", "lattice", "--output", str(output), "--no-report"]
    assert main([*arguments, "--fail-on", "recompressed,stripped"]) == 3
    error = capsys.readouterr().err.splitlines()[-1]
    assert error == f"q1net audit: --fail-on finds 1 stripped: {small_folder}/stripped.png"
    assert main([*arguments, "--fail-on", "recompressed"]) == 0
    runs = run_folders(output)
    assert all((folder / "_run.json").exists() and not (folder / "report.html").exists() for folder in runs)
    assert json.loads((runs[0] / "_run.json").read_text())["arguments"]["fail_on"] == ["recompressed", "stripped"]


def test_a_report_that_cannot_be_written_leaves_the_run(
    small_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("pipelines.audit.closing.write_report", fail)
    assert main(["audit", str(small_folder), "--estimators", "lattice", "--output", str(tmp_path / "out")]) == 1
    assert "is committed, but its report is not written: no space left" in capsys.readouterr().err
    assert (run_folders(tmp_path / "out")[0] / "_run.json").exists()


def test_runs_sort_by_the_time_they_started_and_stay_apart(small_folder: Path, tmp_path: Path) -> None:
    config = AuditConfig(str(tmp_path / "out"), (str(small_folder),))
    names = [start_run(config, audit_of(config)).uri.rpartition("run_id=")[2] for _ in range(3)]
    assert len(set(names)) == 3
    assert names == sorted(names, key=lambda name: name[:16])
    assert all(name[8] == "T" and name[15:17] == "Z-" for name in names)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{images}/gone/*.jpg"], r"no image matches '.*/gone/\*\.jpg'; expected a file, a folder"),
        (["{images}", "{images}/*.webp"], r"no image matches '.*/\*\.webp'"),
        (["nosuch://bucket/x"], "nosuch://bucket/x"),
        (["{images}", "--manifest", "{images}/m.csv"], "either INPUT... or --manifest; expected exactly one"),
        ([], "either INPUT... or --manifest; expected exactly one"),
        (["--manifest", "{images}/gone.csv"], "gone.csv cannot be read"),
        (["--manifest", "{images}/a.jpg"], r"expected a name ending in .*\.csv"),
        (["{images}", "--patches", "7"], "patches per image is 7; expected a square number from 16"),
        (["{images}", "--estimators", "lattice,exif"], "estimators are lattice, exif; expected some of lattice, q1net"),
        (["{images}", "--estimators", "lattice", "--cascade"], "cascade needs both estimators, lattice and q1net"),
        (["{images}", "--threshold", "100"], "confidence threshold is 100.0; expected 0 <= threshold < 100"),
        (["{images}", "--max-bytes", "0"], "max_bytes is 0, expected an integer of at least 1"),
        (["{images}", "--max-pixels", "-1"], "max_pixels is -1, expected"),
        (["{images}", "--group", "("], r"--group is '\(', not a regular expression"),
        (["{images}", "--group", "x"], "--group is 'x'; expected a capture"),
        (["{images}", "--partition-by-group"], "--partition-by-group needs groups"),
        (["{images}", "--fail-on", "bad,stripped"], "--fail-on has bad; expected some of single, recompressed"),
        (["{images}", "--group-column", "site"], "--group-column is 'site'; it needs --manifest"),
        (["--manifest", "m.csv", "--group", "(x)", "--group-column", "site"], "either --group or --group-column"),
        (["{images}", "--treshold", "50"], "unknown flags or values: --treshold 50; see q1net audit --help"),
        (["{images}", "--group-col=x"], "unknown flags or values: --group-col=x; see"),
        (["{images}", "--weights", "q1net-k999"], r"weights are 'q1net-k999'; expected the URI of a \.keras file"),
        (["{images}", "--weights", "{images}/gone.keras"], r"gone\.keras cannot be used: nothing at"),
    ],
)
def test_mistakes_stop_the_command_before_any_work(
    arguments: list[str],
    message: str,
    small_folder: Path,
    weights_uri: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / "out"
    given = [argument.format(images=small_folder) for argument in arguments]
    defaults = ["--output", str(output)] + ([] if "--weights" in given else ["--weights", weights_uri])
    assert main(["audit", *given, *defaults]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("q1net audit: ")
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1
    assert re.search(message, printed.err), printed.err
    assert not output.exists()


def test_weights_that_are_no_model_stop_the_command_although_their_card_agrees(
    small_folder: Path, weights_uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = b"not a Keras file"
    card = json.loads(Path(weights_uri).with_suffix(".json").read_text()) | {"sha256": sha256(content).hexdigest()}
    (tmp_path / "w.keras").write_bytes(content)
    (tmp_path / "w.json").write_text(json.dumps(card))
    arguments = [str(small_folder), "--weights", f"{tmp_path}/w.keras", "--output", str(tmp_path / "out")]
    assert main(["audit", *arguments]) == 2
    assert "are not a Keras model" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_input_whose_name_is_not_text_is_audited_and_named_in_the_run(
    small_folder: Path, weights_uri: str, tmp_path: Path
) -> None:
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")
    shutil.copytree(small_folder, folder)
    assert main(["audit", folder, "--weights", weights_uri, "--output", str(tmp_path / "out")]) == 0
    (committed,) = (tmp_path / "out").glob("*/_run.json")
    assert json.loads(committed.read_text())["arguments"]["inputs"] == [f"{tmp_path}/caf\\xe9"]


def test_weights_that_are_not_those_of_their_card_stop_the_command(
    small_folder: Path, weights_uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content, card = Path(weights_uri).read_bytes(), Path(weights_uri).with_suffix(".json").read_bytes()
    for spoilt in (content[:-1], content[:100] + b"\0" + content[101:], b""):
        (tmp_path / "w.keras").write_bytes(spoilt)
        (tmp_path / "w.json").write_bytes(card)
        arguments = [str(small_folder), "--weights", f"{tmp_path}/w.keras", "--output", str(tmp_path / "out")]
        assert main(["audit", *arguments]) == 2
        assert "sha256" in (error := capsys.readouterr().err)
        assert "fetch all files of these weights again" in error
    assert not (tmp_path / "out").exists()


def test_an_output_that_cannot_be_written_stops_the_command(
    small_folder: Path, weights_uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    arguments = [str(small_folder), "--weights", weights_uri, "--output", f"{tmp_path}/file/out"]
    assert main(["audit", *arguments]) == 2
    assert f"cannot write to output {tmp_path}/file/out" in capsys.readouterr().err
    assert (tmp_path / "file").read_bytes() == b""


def test_the_output_must_be_given(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["audit", "photos"])
    assert caught.value.code == 2
    assert "--output" in capsys.readouterr().err


def test_flags_of_beam_go_to_beam_with_their_values() -> None:
    config, options = parse(["a", "--project", "my-project", "b", "--output", "o", "--runner=PortableRunner"])
    assert (config.inputs, config.output) == (("a", "b"), "o")
    assert options.view_as(StandardOptions).runner == "PortableRunner"
    assert options.view_as(GoogleCloudOptions).project == "my-project"


def test_a_failing_job_commits_nothing(
    small_folder: Path, weights_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("a bug in fusion")

    monkeypatch.setattr("q1net_core.estimator.fuse_predictions", fail)
    output = tmp_path / "out"
    with pytest.raises(Exception, match="a bug in fusion"):
        main(["audit", str(small_folder), "--weights", weights_uri, "--output", str(output), *ONE_THREAD])
    (folder,) = run_folders(output)
    assert {path.name for path in folder.iterdir()} <= {"_inputs", "_pieces", "_started.json"}


def test_a_job_that_loses_rows_commits_nothing(small_folder: Path, weights_uri: str, tmp_path: Path) -> None:
    config = configure(tmp_path / "out", small_folder, weights=weights_uri)
    run = start_run(config, audit_of(config))
    with pytest.raises(Exception, match="has 4 rows for 5 inputs"):
        execute(config, replace(run, images=5), ONE_THREAD)
    assert not Path(run.uri, "_run.json").exists()


@pytest.mark.parametrize("store", ["s3_server", "gcs_server", "memory"])
def test_from_a_bucket_to_a_bucket(
    store: str,
    small_folder: Path,
    weights_uri: str,
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bucket = "memory://q1net-audit" if store == "memory" else request.getfixturevalue(store)
    base = f"{bucket}/{uuid.uuid4().hex}"
    for path in small_folder.iterdir():
        storage.write_bytes(f"{base}/photos/{path.name}", path.read_bytes())
    for suffix in (".keras", ".json"):
        storage.write_bytes(f"{base}/w{suffix}", Path(weights_uri).with_suffix(suffix).read_bytes())
    arguments = [f"{base}/photos/*.jpg", "--weights", f"{base}/w.keras", "--patches", "16", "--output", f"{base}/out"]
    assert main(["audit", *arguments]) == 0
    run_uri = capsys.readouterr().out.rpartition("run: ")[2].strip()
    assert run_uri.startswith(f"{base}/out/run_id=")
    assert storage.exists(f"{run_uri}/_run.json")
    rows = sorted(read_run(run_uri).to_pylist(), key=lambda row: row["uri"])
    assert [(row["uri"], row["status"]) for row in rows] == [
        (f"{base}/photos/{name}", status)
        for name, status in (("a.jpg", "ok"), ("b.jpg", "ok"), ("c.jpg", "ok"), ("d.jpg", "empty"))
    ]
    assert [row["size_bytes"] for row in rows] == [path.stat().st_size for path in sorted(small_folder.iterdir())]
    assert [row["header_quality"] for row in rows] == [30, 60, 90, None]
    if store != "memory":
        assert all(row["modified"] for row in rows)
        assert len({row["version"] for row in rows} - {None}) == 4


# As a step of another pipeline ----------------------------------------------------------------------------------------


def test_audit_images_works_in_any_pipeline(small_folder: Path, weights_uri: str) -> None:
    arguments = json.loads(json.dumps({"weights": weights_uri, "threshold": 1, "patches": 16, "max_bytes": 1 << 20,
                                       "max_pixels": 1 << 20, "accelerator": None, "redistribute": True,
                                       "estimators": ["lattice", "q1net"], "cascade": True}))  # fmt: skip
    uris = [f"{small_folder}/{name}.jpg" for name in ("a", "b", "d", "gone")]

    def check(rows: list[Row]) -> None:
        assert sorted((row["uri"], row["status"]) for row in rows) == list(
            zip(uris, ["ok", "ok", "empty", "missing"], strict=True)
        )
        assert all(list(row) == AUDIT_SCHEMA.names for row in rows)
        assert [row["group"] for row in rows] == [None] * 4
        sizes = {row["uri"]: row["size_bytes"] for row in rows}
        assert sizes[uris[0]] == (small_folder / "a.jpg").stat().st_size

    with beam.Pipeline("FnApiRunner", PipelineOptions([])) as pipeline:
        rows = pipeline | beam.Create(uris) | AuditImages(**arguments)
        assert_that(rows, check)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"patches": 7}, ConfigError),
        ({"threshold": -1}, ConfigError),
        ({"max_pixels": 0}, ConfigError),
        ({"estimators": ["exif"]}, ConfigError),
        ({"fusion": "mean"}, ConfigError),
    ],
)
def test_audit_images_refuses_mistakes_at_construction(arguments: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        AuditImages(**arguments)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [({"weights": "gone.keras"}, WeightsError), ({"fusion": "trimmed"}, ConfigError)],
)
def test_weights_that_cannot_be_used_are_found_before_a_pipeline_runs(
    arguments: dict[str, Any], error: type[Exception], weights_uri: str
) -> None:
    images = beam.Pipeline("FnApiRunner", PipelineOptions([])) | beam.Create(["a.jpg"])
    with pytest.raises(error):
        images | AuditImages(**{"weights": weights_uri} | arguments)


# What a distributed runner sees ---------------------------------------------------------------------------------------


def graph_of(config: AuditConfig, redistribute: bool) -> Any:
    pipeline = beam.Pipeline("FnApiRunner", PipelineOptions([]))
    build(pipeline, config, Run("memory://run_id=1", ["memory://x.parquet"], 1), audit_of(config, redistribute))
    return pipeline.to_runner_api().components


def hinted(components: Any) -> set[str]:
    """Names of the transforms that ask for an accelerator."""
    names = set()
    for transform in components.transforms.values():
        hints = components.environments[transform.environment_id].resource_hints if transform.environment_id else {}
        if any("accelerator" in hint for hint in hints):
            assert sorted(hints.values()) == [b"12000000000", ACCELERATOR.encode()]
            names.add(transform.unique_name)
    return names


@pytest.mark.parametrize("redistribute", [True, False])
def test_only_inference_asks_for_the_accelerator(redistribute: bool, weights_uri: str) -> None:
    config = configure("memory://out", "x", weights=weights_uri, accelerator=ACCELERATOR)
    components = graph_of(config, redistribute)
    names = hinted(components)
    inside = "EstimateImages/EstimateQuality q1net-no-bottleneck/RunInference"
    assert any(name.endswith("BeamML_RunInference") for name in names)
    assert all(name.startswith(inside) for name in names)
    (inference,) = (t for t in components.transforms.values() if t.unique_name == inside)
    (source,) = inference.inputs.values()
    producers = [t.unique_name for t in components.transforms.values() if source in t.outputs.values()]
    assert any("RedistributePatches" in name for name in producers) == redistribute
    reshuffles = [t for t in components.transforms.values() if t.spec.urn == "beam:transform:reshuffle:v1"]
    assert any("RedistributePatches" in t.unique_name for t in reshuffles) == redistribute
    grouped = [t for t in components.transforms.values() if t.spec.urn == "beam:transform:group_by_key:v1"]
    assert any(t.unique_name.startswith("Inputs/Spread") for t in grouped)


def test_each_network_has_its_own_step_and_all_of_them_the_accelerator() -> None:
    config = AuditConfig("memory://out", ("x",), accelerator=ACCELERATOR)
    names = hinted(graph_of(config, True))
    for variant in (CLEAN_WEIGHTS, ROBUST_WEIGHTS):
        inside = f"EstimateImages/EstimateQuality {variant}/RunInference"
        assert any(name.startswith(inside) and name.endswith("BeamML_RunInference") for name in names)
    assert all("EstimateQuality" in name for name in names)


def test_without_accelerator_nothing_is_hinted(weights_uri: str) -> None:
    assert hinted(graph_of(configure("memory://out", "x", weights=weights_uri), True)) == set()


def test_the_graph_holds_no_images_however_many_there_are(weights_uri: str) -> None:
    config = configure("memory://out", "x", weights=weights_uri)
    assert graph_of(config, True).ByteSize() < 200_000
