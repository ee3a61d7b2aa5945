"""Each input has exactly one row: what is missing, doubled or of no input is told by name, and nothing is committed."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from hypothesis import given
from hypothesis import strategies as st

from pipelines.audit import parts as module
from pipelines.audit.accounting import DOUBLED, FOREIGN, MISSING, find_differences, put_in_buckets
from pipelines.audit.commit import commit_pieces
from pipelines.audit.pieces import write_piece
from pipelines.audit.run import CommitRun, open_run, read_run
from pipelines.audit.table import AUDIT_SCHEMA, Row, to_row
from pipelines.inputs import write_inputs
from q1net_core.estimator import finish
from q1net_core.records import ListedImage

IMAGES = [ListedImage(f"s3://b/{number:02d}.jpg", group="ab"[number % 2]) for number in range(20)]
ROWS = [to_row(finish(image)) for image in IMAGES]
OTHERS = [to_row(finish(ListedImage(f"s3://b/other{number}.jpg"))) for number in range(5)]


Commit = Callable[..., str]


def commit_by_beam(rows: list[Row], folder: Path, images: list[ListedImage] = IMAGES, by_group: bool = False) -> str:
    """Commit rows for inputs as an audit on a cluster does; returns the run's uri."""
    uri = f"{folder}/run_id=1"
    uris, count = write_inputs(images, uri)
    tables = [pa.Table.from_pylist(some, AUDIT_SCHEMA) for some in (rows[:7], rows[7:])]
    with beam.Pipeline("FnApiRunner", PipelineOptions([])) as pipeline:
        files = pipeline | "Files" >> beam.Create(uris)
        _ = pipeline | "Rows" >> beam.Create(tables) | CommitRun(uri, count, {"run_id": "1"}, by_group, files)
    return uri


def commit_here(rows: list[Row], folder: Path, images: list[ListedImage] = IMAGES, by_group: bool = False) -> str:
    """Commit rows for inputs as an audit on this machine does; returns the run's uri."""
    uri = f"{folder}/run_id=1"
    uris, count = write_inputs(images, uri)
    for some in (rows[:7], rows[7:]):
        if some:
            write_piece(uri, pa.Table.from_pylist(some, AUDIT_SCHEMA))
    return commit_pieces(uri, count, {"run_id": "1"}, uris, by_group)


@pytest.fixture(params=[commit_by_beam, commit_here], ids=["by Beam", "here"])
def commit(request: pytest.FixtureRequest) -> Commit:
    chosen: Commit = request.param
    return chosen


@pytest.fixture(params=[1, 3], ids=["one part", "several parts"])
def parts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROWS_PER_PART", -(-len(IMAGES) // request.param))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda rows: rows[1:], r"19 rows for 20 inputs; inputs without a row: 1 \(s3://b/00\.jpg\); it is not"),
        (lambda rows: [*rows, rows[4]], r"21 rows for 20 inputs; rows too many of an input: 1 \(s3://b/04\.jpg\); it"),
        (lambda rows: [*rows, OTHERS[0]], r"21 rows for 20 inputs; rows of no input: 1 \(s3://b/other0\.jpg\); it is"),
        # As many rows as inputs, and yet not theirs.
        (
            lambda rows: [*rows[2:], rows[9], OTHERS[1]],
            r"20 rows for 20 inputs; inputs without a row: 2 \(s3://b/00\.jpg, s3://b/01\.jpg\); "
            r"rows of no input: 1 \(s3://b/other1\.jpg\); rows too many of an input: 1 \(s3://b/09\.jpg\); it is not",
        ),
        (
            lambda _: OTHERS * 4,
            r"20 rows for 20 inputs; inputs without a row: 20 \((s3://b/\d\d\.jpg, ){3}\.\.\.\); ",
        ),
    ],
    ids=["missing", "doubled", "foreign", "all three", "many"],
)
def test_rows_that_are_not_those_of_the_inputs_are_named_and_not_committed(
    change: Callable[[list[Row]], list[Row]], told: str, commit: Commit, parts: None, tmp_path: Path
) -> None:
    with pytest.raises(RuntimeError, match=told):
        commit(change(ROWS), tmp_path)
    assert not (tmp_path / "run_id=1" / "_run.json").exists()


@pytest.mark.parametrize("by_group", [False, True])
def test_one_row_for_each_input_is_committed_in_any_order(
    by_group: bool, commit: Commit, parts: None, tmp_path: Path
) -> None:
    uri = commit(ROWS[::-1], tmp_path, by_group=by_group)
    assert sorted(row["uri"] for row in read_run(uri).to_pylist()) == [image.uri for image in IMAGES]
    assert open_run(uri)["totals"]["rows"] == len(IMAGES)


def test_inputs_that_look_alike_in_print_have_a_row_each(commit: Commit, tmp_path: Path) -> None:
    images = [ListedImage("/p/caf\udce9.jpg"), ListedImage(r"/p/caf\xe9.jpg")]
    rows = [to_row(finish(image)) for image in images]
    assert read_run(commit(rows, tmp_path / "whole", images)).num_rows == 2
    with pytest.raises(RuntimeError, match=r"1 rows for 2 inputs; inputs without a row: 1 \(/p/caf"):
        commit(rows[:1], tmp_path / "cut", images)


@given(st.lists(st.integers(0, 9)), st.lists(st.integers(0, 9)), st.integers(1, 4))
def test_differences_are_those_of_multisets(inputs: list[int], rows: list[int], buckets: int) -> None:
    sides: dict[int, dict[str, list[bytes]]] = {bucket: {"inputs": [], "rows": []} for bucket in range(buckets)}
    for side, numbers in (("inputs", inputs), ("rows", rows)):
        for half in (numbers[::2], numbers[1::2]):
            for bucket, digests in put_in_buckets(map(str, half), buckets):
                sides[bucket][side].append(digests)
    found: Counter[str] = Counter()
    for difference in (each for keyed in sides.items() for each in find_differences(keyed)):
        found[difference.kind] += difference.count
    extra = Counter(rows) - Counter(inputs)
    wanted = {
        MISSING: (Counter(inputs) - Counter(rows)).total(),
        DOUBLED: sum(count for number, count in extra.items() if number in inputs),
        FOREIGN: sum(count for number, count in extra.items() if number not in inputs),
    }
    assert found == Counter(wanted)
