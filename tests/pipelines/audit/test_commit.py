"""The commit of an audit on this machine: little memory for each row, parts of a fixed size, nothing left behind."""

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from rooms import ROOT

from pipelines.audit import parts as module
from pipelines.audit.commit import commit_pieces
from pipelines.audit.pieces import write_piece
from pipelines.audit.run import open_run, read_run
from pipelines.audit.spill import group_on_disk
from pipelines.audit.table import AUDIT_SCHEMA, to_row
from pipelines.inputs import write_inputs
from q1net_core.estimator import finish
from q1net_core.records import ListedImage

# 2 million images are to fit into 2 GB.
BYTES_PER_ROW = 1000
# Commits one run after the other, in small parts, and prints the peak of memory in KiB after each.
COMMIT = """
import sys
from pathlib import Path
from memory import peak_kibibytes
from pipelines.audit import parts, spill
from pipelines.audit.commit import commit_pieces

parts.ROWS_PER_PART = spill.ROWS_AT_A_TIME = 2_500
for uri, images in zip(sys.argv[1::2], map(int, sys.argv[2::2]), strict=True):
    commit_pieces(uri, images, {"run_id": "1"}, sorted(map(str, Path(uri, "_inputs").iterdir())))
    print(peak_kibibytes())
"""


def listed(images: int) -> Iterator[ListedImage]:
    return (ListedImage(f"s3://bucket-of-photographs/{n % 7}/IMG_{n:09d}.jpg", n, f"{n:032x}") for n in range(images))


def make_rows(images: int) -> pa.Table:
    """Rows of listed images, as the lattice makes them."""
    found = {
        "status": "ok", "format": "JPEG", "mode": "RGB", "header_match": "libjpeg", "header_tables_md5": "0" * 32,
        "subsampling": "4:2:0", "lattice_match": "libjpeg", "lattice_ties": [50, 51], "verdict": "single",
        "quality": 50.0, "quality_source": "lattice", "processed_at": datetime(2026, 11, 22, tzinfo=UTC),
    }  # fmt: skip
    row = to_row(finish(ListedImage("s3://b/a.jpg"))) | found
    rows = pa.Table.from_pylist([row], AUDIT_SCHEMA).take([0] * images)
    for name in ("uri", "size_bytes", "version"):
        at = AUDIT_SCHEMA.get_field_index(name)
        column = pa.array([getattr(image, name) for image in listed(images)])
        rows = rows.set_column(at, AUDIT_SCHEMA.field(name), column)
    return rows


def start_run(folder: Path, images: int) -> str:
    """A run whose images are all judged, before its commit; returns its uri."""
    write_inputs(listed(images), str(folder))
    rows = make_rows(images)
    for at in range(0, images, 1000):
        write_piece(str(folder), rows.slice(at, 1000))
    return str(folder)


def test_the_commit_takes_little_memory_for_each_row(tmp_path: Path) -> None:
    sizes = (5_000, 20_000)
    runs = [word for size in sizes for word in (start_run(tmp_path / str(size), size), str(size))]
    done = subprocess.run(
        [sys.executable, "-c", COMMIT, *runs], check=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        cwd=ROOT, env={"PYTHONPATH": f"{ROOT}:{ROOT / 'tests' / 'support'}"},
    )  # fmt: skip
    few, many = map(int, done.stdout.split())
    assert 1024 * (many - few) < BYTES_PER_ROW * (sizes[1] - sizes[0])
    assert open_run(runs[2])["totals"]["rows"] == sizes[1]


@pytest.mark.parametrize("by_group", [False, True])
def test_parts_are_committed_and_nothing_else_is_left(
    by_group: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROWS_PER_PART", 1000)
    uri = start_run(tmp_path / "run", 2500)
    files = [str(path) for path in (tmp_path / "run" / "_inputs").iterdir()]
    assert commit_pieces(uri, 2500, {"run_id": "1"}, files, by_group, carried=7) == uri
    assert read_run(uri).sort_by("size_bytes") == make_rows(2500)
    assert open_run(uri)["totals"] == {"rows": 2500, "ok": 2500, "carried": 7}
    parts = {file["name"].partition("/")[0] for file in open_run(uri)["files"]}
    assert len(open_run(uri)["files"]) == 3
    assert {path.name for path in Path(uri).iterdir()} == {"_inputs", "_pieces", "summary.json", "_run.json", *parts}


def test_a_damaged_piece_stops_the_commit(tmp_path: Path) -> None:
    uri = start_run(tmp_path / "run", 10)
    (piece,) = (tmp_path / "run" / "_pieces").iterdir()
    piece.write_bytes(piece.read_bytes()[:-1])
    with pytest.raises(ValueError, match="is not the file that was committed"):
        commit_pieces(uri, 10, {"run_id": "1"}, [])
    assert {path.name for path in Path(uri).iterdir()} == {"_inputs", "_pieces"}


def test_groups_on_disk_are_those_of_the_keys(tmp_path: Path) -> None:
    def keyed() -> Iterator[tuple[int, pa.Table]]:
        for number in range(12):
            yield number % 5, pa.table({"number": [number, -number]})

    found = {
        key: [table["number"].to_pylist() for table in tables] for key, tables in group_on_disk(keyed(), tmp_path / "a")
    }
    assert found == {key: [[number, -number] for number in range(12) if number % 5 == key] for key in range(5)}
    assert list((tmp_path / "a").iterdir()) == []
