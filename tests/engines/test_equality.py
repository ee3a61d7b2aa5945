"""Two hundred varied images give the same rows on every engine, with any workers, batches and replays."""

import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster import job_service
from corpus import IMAGES, write_corpus

from pipelines import inference
from pipelines.audit.command import audit, parse
from pipelines.audit.run import read_run
from pipelines.audit.table import Stamp, to_row
from pipelines.inputs import list_inputs
from q1net_core.estimator import EstimatorSettings, estimate_image
from q1net_core.network.predictor import Predictor
from q1net_core.network.weights import read_weights
from q1net_core.records import Status

Row = dict[str, Any]
SETTINGS = EstimatorSettings(patches=16)
FLOATS_WITHIN = 1e-4


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def expected(corpus: Path) -> list[Row]:
    """The rows of a plain loop, without Beam."""
    weights = read_weights(SETTINGS.weights)
    model, rule, stamp = Predictor(weights), SETTINGS.rule_of(weights), Stamp(weights.variant, weights.sha256)
    rows = [to_row(estimate_image(image, model, SETTINGS, rule), stamp) for image in list_inputs([str(corpus)])]
    return sorted(rows, key=lambda row: row["uri"])


@pytest.fixture(scope="module")
def portable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    with job_service(tmp_path_factory.mktemp("portable")) as flags:
        yield flags


def check_rows(found: list[Row], expected: list[Row]) -> None:
    """Fail, with the differences, unless all rows are the same but for the time of processing."""
    found = sorted(found, key=lambda row: row["uri"])
    assert Counter(row["uri"] for row in found) == Counter(row["uri"] for row in expected)
    different = [
        (row["uri"], name, row[name], wanted[name])
        for row, wanted in zip(found, expected, strict=True)
        for name in wanted.keys() | row.keys()
        if name != "processed_at" and not same(row[name], wanted[name])
    ]
    assert different == []


def same(value: Any, wanted: Any) -> bool:
    if isinstance(value, float) and isinstance(wanted, float):
        return math.isclose(value, wanted, rel_tol=0, abs_tol=FLOATS_WITHIN)
    return bool(value == wanted)


def audit_corpus(corpus: Path, output: Path, flags: list[str]) -> list[Row]:
    config, options = parse([str(corpus), f"--output={output}", f"--patches={SETTINGS.patches}", *flags])
    rows: list[Row] = read_run(audit(config, options)).to_pylist()
    return rows


def test_the_corpus_is_varied(expected: list[Row]) -> None:
    assert len(expected) == IMAGES
    statuses = Counter(row["status"] for row in expected)
    assert statuses.keys() >= {Status.OK, Status.EMPTY, Status.UNSUPPORTED, Status.TOO_SMALL, Status.TOO_LARGE}
    assert statuses[Status.OK] > IMAGES * 0.8
    assert len({row["format"] for row in expected}) >= 8
    assert len({row["verdict"] for row in expected}) >= 4
    assert {row["quality_source"] for row in expected} >= {"lattice", "q1net", None}


def test_a_difference_would_be_seen(expected: list[Row]) -> None:
    numbered = next(number for number, row in enumerate(expected) if row["q1net_quality"] is not None)
    changed = [*expected]
    changed[numbered] = expected[numbered] | {"q1net_quality": expected[numbered]["q1net_quality"] + 0.001}
    for wrong in (changed, expected[1:], [*expected, expected[0]]):
        with pytest.raises(AssertionError):
            check_rows(wrong, expected)


@pytest.mark.parametrize(
    ("flags", "images"),
    [("--workers=1", 1), ("--workers=3", 7), ("--direct_runner_bundle_repeat=1", 64)],
    ids=["one thread, batches of 1", "threads, batches of 7", "bundles replayed, batches of 64"],
)
def test_threads_batches_and_replays_give_the_rows_of_the_plain_loop(
    flags: str, images: int, corpus: Path, expected: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inference, "IMAGES_PER_BATCH", images)
    check_rows(audit_corpus(corpus, tmp_path, [flags]), expected)


def test_a_job_service_with_worker_processes_gives_the_rows_of_the_plain_loop(
    portable: list[str], corpus: Path, expected: list[Row], tmp_path: Path
) -> None:
    check_rows(audit_corpus(corpus, tmp_path, portable), expected)


@pytest.mark.slow
def test_processes_give_the_rows_of_the_plain_loop(corpus: Path, expected: list[Row], tmp_path: Path) -> None:
    flags = ["--direct_num_workers=2", "--direct_running_mode=multi_processing"]
    check_rows(audit_corpus(corpus, tmp_path, flags), expected)
