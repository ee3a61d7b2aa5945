"""The command as a whole: every input is one row, people are told, and nothing half-done is committed."""

import json
import os
import re
import shutil
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import apache_beam as beam
import pytest
from audits import (
    ONE_THREAD,
    audit_of,
    configure,
    execute,
    run_folders,
)
from odd_files import BROKEN_LINKS, MAX_BYTES, MAX_PIXELS, ODD_FILES
from PIL import Image

from pipelines.audit.command import name_run, start_run
from pipelines.audit.config import AuditConfig
from pipelines.audit.run import read_run
from pipelines.audit.table import SCHEMA_VERSION
from pipelines.cli import main
from pipelines.inputs import kept
from pipelines.runtime import counters
from q1net_core import storage
from q1net_core.network.weights import read_weights

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
    assert names == sorted(names)
    assert all(name[8] == "T" and name[15:17] == "Z-" for name in names)


def test_names_of_runs_sort_within_a_second() -> None:
    second = datetime(2026, 11, 22, 4, 59, 20, tzinfo=UTC)
    times = [second + timedelta(microseconds=number) for number in (0, 16, 999, 50_000, 500_000, 999_999, 1_000_000)]
    names = [name_run(time) for time in times]
    assert names == sorted(names)
    assert all(re.fullmatch(r"20261122T04592[01]Z-[0-9a-f]{6}", name) for name in names)


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


def test_a_listing_that_fails_leaves_nothing(
    small_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(kept, "INPUTS_PER_FILE", 2)
    output = tmp_path / "out"
    output.mkdir()
    (output / "of another.txt").touch()
    arguments = ["audit", str(small_folder), f"{small_folder}/*.webp", "--output", str(output), "--estimators=lattice"]
    assert main(arguments) == 2
    assert "no image matches" in capsys.readouterr().err
    assert [path.name for path in output.iterdir()] == ["of another.txt"]


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
