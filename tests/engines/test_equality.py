"""Two hundred varied images give the same rows on this machine, with any workers, batches and replays."""

from collections import Counter
from pathlib import Path

import pytest
from corpus import IMAGES
from rows import Row, audited_rows, check_counts, check_rows, read_counts

from pipelines import inference
from q1net_core.records import Status


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
    [
        (["--workers=1"], 1),
        (["--direct_num_workers=3", "--direct_running_mode=multi_threading"], 7),
        (["--direct_runner_bundle_repeat=1"], 64),
    ],
    ids=["one thread, batches of 1", "threads, batches of 7", "bundles replayed, batches of 64"],
)
def test_threads_batches_and_replays_give_the_rows_of_the_plain_loop(
    flags: list[str], images: int, corpus: Path, expected: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inference, "IMAGES_PER_BATCH", images)
    check_rows(audited_rows([corpus], tmp_path, flags), expected)
    assert read_counts(tmp_path)["inference_request_batch_size"]["max"] == images
    if "--direct_runner_bundle_repeat=1" not in flags:
        check_counts(tmp_path, expected)


@pytest.mark.parametrize(
    "flags",
    [["--workers=2"], ["--direct_num_workers=2", "--direct_running_mode=multi_processing"]],
    ids=["ours", "Beam's"],
)
def test_processes_give_the_rows_of_the_plain_loop(
    flags: list[str], corpus: Path, expected: list[Row], tmp_path: Path
) -> None:
    check_rows(audited_rows([corpus], tmp_path, flags), expected)
    check_counts(tmp_path, expected)
