"""docs/recipes.md: what it shows runs as it stands there, on a real run."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from pipelines.audit import command as audit
from pipelines.audit.bigquery import render_ddl
from pipelines.audit.table import AUDIT_SCHEMA

ROOT = Path(__file__).parents[3]
RECIPES = (ROOT / "docs" / "recipes.md").read_text()
SQL = re.findall(r"^```sql\n(.*?)^```$", RECIPES, re.S | re.M)
(PYTHON,) = re.findall(r"^```python\n(.*?)^```$", RECIPES, re.S | re.M)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an output ``runs`` of two runs: an old one of one image, a new one of all and a broken file."""
    folder = tmp_path_factory.mktemp("recipes")
    (folder / "camera").mkdir()
    (folder / "camera" / "empty.jpg").touch()
    photographs = ROOT / "tests" / "photographs"
    flags = ["--estimators", "lattice", "--no-report", "--group", "(camera|messenger)/"]
    for inputs, output in (
        ([photographs / "camera" / "hats.jpg"], "runs"),
        ([photographs, folder / "camera"], "runs"),
        ([photographs, folder / "camera"], "hive"),
    ):
        hive = ["--partition-by-group"] if output == "hive" else []
        assert audit.run([*map(str, inputs), "--output", str(folder / output), *flags, *hive]) == 0
    # Not committed: not a run.
    (folder / "runs" / "run_id=99999999T000000Z-000000").mkdir()
    return folder


@pytest.fixture
def database(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[duckdb.DuckDBPyConnection]:
    """DuckDB after the first recipe, in the folder."""
    monkeypatch.chdir(folder)
    with duckdb.connect() as connection:
        connection.execute(SQL[0])
        yield connection


def rows_of(database: duckdb.DuckDBPyConnection, title: str) -> list[tuple[Any, ...]]:
    """What the recipe with this word in its first line gives."""
    (query,) = (text for text in SQL if title in text.splitlines()[0])
    found: list[tuple[Any, ...]] = database.execute(query).fetchall()
    return found


def test_the_newest_committed_run_is_the_view(database: duckdb.DuckDBPyConnection) -> None:
    assert database.execute("SELECT count(*), count(DISTINCT uri) FROM images").fetchall() == [(13, 13)]
    assert [name for name, *_ in database.execute("DESCRIBE images").fetchall()] == [*AUDIT_SCHEMA.names, "run_id"]


def test_levels_by_platform(database: duckdb.DuckDBPyConnection) -> None:
    rows = rows_of(database, "Which levels")
    assert rows == [
        ("camera", 70, 1, 20.0), ("camera", 80, 1, 20.0), ("camera", 85, 1, 20.0),
        ("messenger", 35, 1, 16.7), ("messenger", 40, 1, 16.7), ("messenger", 50, 1, 16.7),
    ]  # fmt: skip


def test_files_whose_header_lies(database: duckdb.DuckDBPyConnection) -> None:
    ((uri, header, quality, low, high),) = rows_of(database, "header promises")
    assert (Path(uri).name, header, quality) == ("rafting.jpg", 95, 40)
    assert low <= quality <= high


def test_what_could_not_be_judged(database: duckdb.DuckDBPyConnection) -> None:
    ((status, example, images),) = rows_of(database, "could not be judged")
    assert (status, images, "0 bytes" in example) == ("empty", 1, True)


def test_hive_folders_give_the_same_rows(database: duckdb.DuckDBPyConnection) -> None:
    hive = "read_parquet('hive/run_id=*/group=*/part-*.parquet', hive_partitioning = true)"
    columns = 'uri, "group", quality, verdict'
    plain = database.execute(f"SELECT {columns} FROM images ORDER BY uri").fetchall()
    assert database.execute(f"SELECT {columns} FROM {hive} ORDER BY uri").fetchall() == plain
    assert "hive_partitioning = true" in RECIPES


def test_polars(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {}
    exec(PYTHON, names)
    shares = names["shares"]
    assert isinstance(shares, pl.DataFrame)
    assert shares.select("group", "verdict", "images").rows() == [
        ("camera", "single", 5), ("camera", "unsure", 1),
        ("messenger", "single", 3), ("messenger", "stripped", 2), ("messenger", "recompressed", 1),
    ]  # fmt: skip
    assert shares["share"].sum() == pytest.approx(2)


def test_the_statement_for_bigquery_has_all_columns_and_stands_in_the_document() -> None:
    ddl = render_ddl("dataset.images")
    assert re.findall(r"^  `(\w+)` ", ddl, re.M) == AUDIT_SCHEMA.names
    for line in ("`uri` STRING NOT NULL", "`group` STRING,", "`lattice_ties` ARRAY<INT64>", "`quality` FLOAT64"):
        assert line in ddl
    (shown,) = (text for text in SQL if text.startswith("CREATE TABLE"))
    assert shown.strip() == ddl
