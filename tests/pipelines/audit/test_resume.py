"""Resume: what is done is kept, what changed or failed is judged again, and a killed run loses little."""

import json
import os
import shutil
import signal
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from killed import run_apart, wait_for_pieces
from PIL import Image

from pipelines.audit.command import audit
from pipelines.audit.config import AuditConfig, parse
from pipelines.audit.listing import find_runs, newest_run
from pipelines.audit.resume import find_earlier, made_by, split_done
from pipelines.audit.run import open_run, read_run
from pipelines.audit.table import AUDIT_SCHEMA, Row, to_row
from pipelines.audit.transform import AuditImages
from pipelines.cli import main
from pipelines.inputs import list_inputs
from q1net_core.errors import ConfigError
from q1net_core.estimator import finish
from q1net_core.records import ListedImage

ROOT = Path(__file__).parents[3]
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
THREADS = ("--direct_num_workers=2", "--direct_running_mode=multi_threading")
PHOTOGRAPH = ROOT / "tests" / "photographs" / "camera" / "airplane.png"


def table(*rows: Row) -> pa.Table:
    return pa.Table.from_pylist(list(rows), AUDIT_SCHEMA)


def done(image: ListedImage, **values: Any) -> Row:
    return to_row(finish(image)) | {"processed_at": NOW} | values


IMAGE = ListedImage("s3://b/a.jpg", 100, "etag", NOW, "old")


@pytest.mark.parametrize(
    ("listed", "judged"),
    [
        (IMAGE, False),
        (replace(IMAGE, group="new"), False),
        (ListedImage("s3://b/a.jpg"), False),
        (replace(IMAGE, size_bytes=101), True),
        (replace(IMAGE, version="other"), True),
        (replace(IMAGE, modified=NOW + timedelta(microseconds=1)), True),
        (replace(IMAGE, uri="s3://b/b.jpg"), True),
    ],
)
def test_an_image_is_done_while_the_listing_tells_no_change(listed: ListedImage, judged: bool) -> None:
    images, kept = split_done([listed], [table(done(IMAGE))])
    assert images == ([listed] if judged else [])
    assert kept.to_pylist() == ([] if judged else [done(IMAGE) | {"group": listed.group}])


def test_of_several_rows_the_newest_is_carried_once() -> None:
    later = done(IMAGE, processed_at=NOW + timedelta(hours=1), quality=40.0)
    for tables in ([table(later), table(done(IMAGE))], [table(done(IMAGE), later, later)]):
        judged, kept = split_done([IMAGE], tables)
        assert (judged, kept["quality"].to_pylist()) == ([], [40.0])


def test_names_that_look_alike_in_print_are_judged_again() -> None:
    not_text, literal = ListedImage(os.fsdecode(b"/p/caf\xe9.jpg")), ListedImage(r"/p/caf\xe9.jpg")
    judged, kept = split_done([not_text, literal], [table(done(not_text))])
    assert (judged, len(kept)) == ([not_text, literal], 0)


def test_a_signed_url_is_the_same_image_with_its_next_signature() -> None:
    before, now = (ListedImage(f"https://h/a.jpg?X-Signature={signature}") for signature in ("abc", "def"))
    judged, kept = split_done([now], [table(done(before))])
    assert (judged, len(kept)) == ([], 1)


@given(st.sets(st.integers(0, 30)), st.lists(st.lists(st.integers(0, 30), max_size=12), max_size=3))
def test_every_input_is_judged_or_carried_exactly_once(listed: set[int], earlier: list[list[int]]) -> None:
    images = [ListedImage(f"{number}.jpg") for number in sorted(listed)]
    tables = [table(*(done(ListedImage(f"{number}.jpg")) for number in numbers)) for numbers in earlier]
    judged, kept = split_done(images, tables)
    assert Counter([image.uri for image in judged] + kept["uri"].to_pylist()) == Counter(i.uri for i in images)
    assert set(kept["uri"].to_pylist()) == {f"{number}.jpg" for number in listed & {n for ns in earlier for n in ns}}


# Whole runs -----------------------------------------------------------------------------------------------------------


def photograph(quality: int, to: Path) -> None:
    Image.open(PHOTOGRAPH).convert("RGB").crop((300, 200, 364, 248)).save(to, "JPEG", quality=quality)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three images that work and one that is cut short."""
    made = tmp_path / "images"
    made.mkdir()
    for name, quality in (("a.jpg", 30), ("b.jpg", 60), ("c.jpg", 90)):
        photograph(quality, made / name)
    (made / "d.jpg").write_bytes((made / "c.jpg").read_bytes()[:-300])
    return made


def audit_folder(engine: tuple[str, ...], folder: Path, output: Path, *flags: str) -> tuple[list[Row], dict[str, Any]]:
    """Rows by uri and `_run.json` of an audit by the lattice alone."""
    config, options = parse([str(folder), "--output", str(output), "--estimators", "lattice", *engine, *flags])
    uri = audit(config, options)
    return sorted(read_run(uri).to_pylist(), key=lambda row: row["uri"]), open_run(uri)


run_audit = partial(audit_folder, ())


def names(rows: list[Row]) -> list[str]:
    return [Path(row["uri"]).name for row in rows]


def again(rows: list[Row], before: list[Row]) -> set[str]:
    """Names of the images that were judged since."""
    known = {(row["uri"], row["processed_at"]) for row in before}
    return {Path(row["uri"]).name for row in rows if (row["uri"], row["processed_at"]) not in known}


@pytest.mark.parametrize("engine", [("--workers", "2"), THREADS], ids=["processes", "Beam's threads"])
def test_resume_retries_the_failed_takes_the_new_and_drops_nothing(
    engine: tuple[str, ...], folder: Path, tmp_path: Path
) -> None:
    run_audit = partial(audit_folder, engine)
    first, run = run_audit(folder, tmp_path / "out", "--resume")
    assert (names(first), run["totals"]["carried"]) == (["a.jpg", "b.jpg", "c.jpg", "d.jpg"], 0)
    second, run = run_audit(folder, tmp_path / "out", "--resume")
    assert (again(second, first), run["totals"]) == ({"d.jpg"}, {"rows": 4, "ok": 3, "carried": 3})
    photograph(45, folder / "b.jpg")
    shutil.copy(folder / "c.jpg", folder / "d.jpg")
    photograph(75, folder / "e.jpg")
    (folder / "a.jpg").unlink()
    third, run = run_audit(folder, tmp_path / "out", "--resume", "--group", r"/([ce])\.jpg")
    assert (names(third), again(third, second)) == (["b.jpg", "c.jpg", "d.jpg", "e.jpg"], {"b.jpg", "d.jpg", "e.jpg"})
    assert [(row["quality"], row["group"]) for row in third] == [(45, None), (90, "c"), (90, None), (75, "e")]
    # A smaller input between did not make anybody forget.
    run_audit(folder / "e.jpg", tmp_path / "out", "--resume")
    fourth, run = run_audit(folder, tmp_path / "out", "--resume", "--partition-by-group", "--group", r"/([ce])\.jpg")
    assert (again(fourth, third), run["totals"]["carried"]) == (set(), 4)
    fifth, run = run_audit(folder, tmp_path / "out", "--resume")
    assert (again(fifth, third), [row["group"] for row in fifth]) == (set(), [None] * 4)
    assert newest_run(str(tmp_path / "out")).endswith(run["run_id"])


def test_rows_of_other_settings_are_not_used(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_audit(folder, tmp_path / "out")
    rows, run = run_audit(folder, tmp_path / "out", "--resume", "--max-bytes", "100000")
    assert (len(rows), run["totals"]["carried"]) == (4, 0)
    assert "1 earlier runs are of other weights or settings" in capsys.readouterr().err


def test_which_runs_share_rows(weights_uri: str) -> None:
    def about(**settings: Any) -> dict[str, Any]:
        config = AuditConfig("out", ("in",), settings=replace(AuditConfig("out", ("in",)).settings, **settings))
        transform = AuditImages(**settings)
        weights = [
            {"variant": w.variant, "sha256": w.sha256, "fusion": w.rule.fusion, "threshold": w.rule.threshold}
            for w in transform.weights.values()
        ]
        said = {"arguments": config.to_json(), "weights": weights, "versions": {"schema_version": 3}}
        stored: dict[str, Any] = json.loads(json.dumps(said))
        return stored

    assert made_by(about()) == made_by(about())
    for other in ({"patches": 16}, {"threshold": 1.0}, {"weights": weights_uri}, {"estimators": ("lattice",)}):
        assert made_by(about()) != made_by(about(**other)), other
    older = about()
    del older["arguments"]["cascade"]
    assert made_by(older) == made_by(about())
    newer = about() | {"versions": {"schema_version": 4}}
    assert made_by(newer) != made_by(about())


def test_damaged_earlier_runs_lose_and_double_nothing(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    first, run = run_audit(folder, output)
    part = output / f"run_id={run['run_id']}" / "part-00000-of-00001.parquet"
    whole = part.read_bytes()
    for spoilt in (whole[:-40], whole[:200] + b"\0" + whole[201:], b""):
        part.write_bytes(spoilt)
        rows, run = run_audit(folder, tmp_path / "out", "--resume")
        assert (names(rows), run["totals"]["carried"]) == (names(first), 0)
        assert "their images are judged again" in caplog.text
        shutil.rmtree(output / f"run_id={run['run_id']}")
    part.write_bytes(whole)
    committed = part.with_name("_run.json")
    committed.write_text(committed.read_text()[:300])
    rows, run = run_audit(folder, tmp_path / "out", "--resume")
    assert (names(rows), run["totals"]["carried"]) == (names(first), 0)
    assert main(["runs", str(output)]) == 0
    printed = capsys.readouterr()
    assert [line.split()[1] for line in printed.out.splitlines()[2:]] == ["committed", "damaged"]
    assert "_run.json is not JSON" in printed.err


@pytest.mark.parametrize("workers", ["1", "2"])
def test_after_kill_9_finished_work_is_kept_to_a_piece(folder: Path, tmp_path: Path, workers: str) -> None:
    for number in range(400):
        shutil.copy(folder / f"{'abc'[number % 3]}.jpg", folder / f"{number:03d}.jpg")
    output = tmp_path / "out"
    process = run_apart(folder, output, "--workers", workers)
    wait_for_pieces(process, output, 12)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    (killed,) = find_runs(str(output))
    assert killed.committed is None
    # A half-written file, as another file system may leave it, and a temporary one.
    pieces = Path(killed.uri) / "_pieces"
    whole = next(pieces.glob("*.parquet"))
    (pieces / f"{'0' * 64}.parquet").write_bytes(whole.read_bytes()[:100])
    (pieces / ".x.tmp").write_bytes(b"half")
    kept = len(list(pieces.glob("*.parquet"))) - 1
    assert kept >= 12
    rows, run = run_audit(folder, output, "--resume")
    assert Counter(row["uri"] for row in rows) == Counter(image.uri for image in list_inputs([str(folder)]))
    # A piece holds ten rows, but for the failed ones; the file that is cut short is one of 404.
    assert 10 * kept - 1 <= run["totals"]["carried"] <= 10 * kept < 404
    assert not (output / f"run_id={run['run_id']}" / "_pieces").exists()


def test_runs_are_listed_with_what_is_kept_of_them(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    assert main(["runs", str(output)]) == 2
    assert "no run in" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="no committed run"):
        newest_run(str(output))
    _, run = run_audit(folder, output)
    (output / f"run_id={run['run_id']}" / "_run.json").rename(tmp_path / "_run.json")
    assert main(["runs", str(output)]) == 1
    assert capsys.readouterr().out.splitlines()[2].split()[1:5] == ["not", "committed", "4", "0"]
    (tmp_path / "_run.json").rename(output / f"run_id={run['run_id']}" / "_run.json")
    assert main(["runs", str(output)]) == 0
    line = capsys.readouterr().out.splitlines()[2].split()
    assert line[:9] == [run["run_id"], "committed", "4", "4", "0", "corrupt", "1,", "ok", "3"]


def test_earlier_files_of_an_output_without_runs(tmp_path: Path) -> None:
    assert find_earlier(str(tmp_path / "gone"), {}) == ([], 0)
