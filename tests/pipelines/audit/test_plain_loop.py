"""The audit's rows are those of a plain loop without Beam, whatever weights and estimators judge."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from audits import (
    BOTH,
    LATTICE,
    ONE_THREAD,
    Q1NET,
    TWO_THREADS,
    as_stored,
    audit_of,
    change,
    execute,
    rows_without_beam,
    run_folders,
    without_time,
)
from odd_files import BROKEN_LINKS, ODD_FILES
from pictures import PHOTOGRAPHS

from pipelines.audit.command import start_run
from pipelines.audit.config import AuditConfig
from pipelines.audit.inputs import list_images
from pipelines.audit.run import read_run
from pipelines.audit.table import AUDIT_SCHEMA, to_row
from q1net_core.estimator import estimate_image
from q1net_core.network.predictor import Predictor
from q1net_core.network.weights import read_weights
from q1net_core.settings import AUTO, CLEAN_WEIGHTS, ROBUST_WEIGHTS

# Equivalence ----------------------------------------------------------------------------------------------------------


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
