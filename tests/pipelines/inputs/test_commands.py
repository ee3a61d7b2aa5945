"""Inputs of every kind through whole commands: an audit by the lattice, and predict."""

import gzip
import io
import json
import tarfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pictures import PHOTOGRAPHS

from pipelines.audit.run import read_run
from pipelines.audit.table import AUDIT_SCHEMA, Row
from pipelines.cli import main

PICTURES = {name: (PHOTOGRAPHS / name).read_bytes() for name in ("messenger/motocross.jpg", "messenger/wreck.png")}
LEVELS = {"messenger/motocross.jpg": 35.0, "messenger/wreck.png": 70.0}


def audited(output: Path, *arguments: object) -> list[Row]:
    """The rows of the newest run, by uri."""
    command = ["audit", *map(str, arguments), "--output", str(output), "--estimators=lattice", "--workers=2"]
    assert main(command) == 0
    run = max(output.glob("run_id=*"))
    return sorted(read_run(str(run)).to_pylist(), key=lambda row: row["uri"])


def make_archives(folder: Path) -> None:
    """The same pictures in one archive of each kind, and a broken one."""
    folder.mkdir()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar, zipfile.ZipFile(folder / "a.zip", "w") as zipped:
        for name, content in PICTURES.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
            zipped.writestr(name, content)
    (folder / "a.tar").write_bytes(buffer.getvalue())
    (folder / "a.tar.gz").write_bytes(gzip.compress(buffer.getvalue()))
    (folder / "cut.tar").write_bytes(buffer.getvalue()[: 512 + len(PICTURES["messenger/motocross.jpg"]) + 900])
    pq.write_table(pa.table({"jpg": list(PICTURES.values())}), folder / "a.parquet")


def test_an_audit_opens_archives(tmp_path: Path) -> None:
    folder = tmp_path / "archives"
    make_archives(folder)
    rows = audited(tmp_path / "runs", folder, f"{folder}/*.parquet", "--group", r"a\.([a-z.]+)#")
    names = [row["uri"].removeprefix(f"{folder}/") for row in rows]
    cells = [(row["group"], row["status"], row["lattice_quality"]) for row in rows]
    kinds = ("tar", "tar.gz", "zip")
    expected = {f"a.{kind}#{name}": (kind, "ok", LEVELS[name]) for kind in kinds for name in PICTURES}
    expected |= {f"a.parquet#{row}": ("parquet", "ok", level) for row, level in enumerate(LEVELS.values())}
    # The last member is cut short, and with it the archive.
    expected |= {f"cut.tar{end}": (None, "corrupt", None) for end in ("", "#messenger/wreck.png")}
    expected["cut.tar#messenger/motocross.jpg"] = (None, "ok", 35.0)
    assert dict(zip(names, cells, strict=True)) == expected
    assert "cut.tar is broken" in rows[names.index("cut.tar")]["error"]
    assert all(row["size_bytes"] for row in rows if row["status"] == "ok")


def test_columns_of_a_manifest_go_along_and_through_a_resume(tmp_path: Path) -> None:
    for name, content in PICTURES.items():
        (tmp_path / Path(name).name).write_bytes(content)
    manifest = tmp_path / "images.csv"
    arguments = (f"--manifest={manifest}", "--group-column=site", "--carry", "year", "site")
    manifest.write_text(f"uri,site,year\n{tmp_path}/motocross.jpg,chat,007\n{tmp_path}/gone.jpg,forum,\n")
    first = audited(tmp_path / "runs", *arguments)
    assert [(row["group"], row["year"], row["site"], row["status"]) for row in first] == [
        ("forum", None, "forum", "missing"),
        ("chat", "007", "chat", "ok"),
    ]
    assert list(first[0]) == [*AUDIT_SCHEMA.names, "year", "site"]
    manifest.write_text(f"uri,site,year\n{tmp_path}/motocross.jpg,mail,2020\n{tmp_path}/wreck.png,forum,2021\n")
    second = audited(tmp_path / "runs", *arguments, "--resume")
    assert [(row["year"], row["site"], row["status"]) for row in second] == [
        ("2020", "mail", "ok"),
        ("2021", "forum", "ok"),
    ]
    assert second[0]["processed_at"] == first[1]["processed_at"]


def test_failed_rows_are_a_manifest_again(tmp_path: Path) -> None:
    folder = tmp_path / "archives"
    make_archives(folder)
    rows = audited(tmp_path / "runs", f"{folder}/a.zip")
    manifest = tmp_path / "again.txt"
    manifest.write_text("".join(f"{row['uri']}\n" for row in rows))
    again = audited(tmp_path / "again", f"--manifest={manifest}")
    assert [(row["uri"], row["lattice_quality"]) for row in again] == [
        (row["uri"], row["lattice_quality"]) for row in rows
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--manifest", "{}/m.csv", "--remote-only"], "--remote-only: /etc/passwd"),
        (["{}", "--remote-only"], "--remote-only: "),
        (["{}", "--carry", "year"], "it needs --manifest"),
        (["--manifest", "{}/m.csv", "--carry", "status"], "--carry has 'status', which is a column already"),
        (["--manifest", "{}/m.csv", "--carry", "uri"], "--carry has 'uri', which is a column already"),
        (["--manifest", "{}/m.csv", "--carry", "year", "year"], "--carry has 'year', which is a column already"),
        (["--manifest", "{}/m.csv", "--exclude", "*passwd"], "--exclude leaves no image"),
    ],
)
def test_mistakes_stop_the_command(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "m.csv").write_text("uri,year\n/etc/passwd,2020\n")
    filled = [argument.format(tmp_path) for argument in arguments]
    assert main(["audit", *filled, "--output", f"{tmp_path}/runs"]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_predict_reads_members_of_archives(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_archives(tmp_path / "archives")
    archives = [f"{tmp_path}/archives/{name}" for name in ("a.tar.gz", "a.zip#messenger/wreck.png", "a.parquet")]
    assert main(["predict", *archives, "--exclude", "*#0", "--estimators=lattice", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["lattice_quality"] for row in rows] == [35, 70, 70, 70]
