"""Manifests of every kind: uris once in order, groups and carried columns, and what is wrong with others."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from memory import at_most

from pipelines.inputs import read_manifest, write_inputs
from pipelines.inputs.patterns import refuse_local
from q1net_core.errors import ConfigError
from q1net_core.records import ListedImage

# As Python names a file whose name is the Latin-1 bytes of café.jpg.
LATIN_1_URI = "/photos/caf\udce9.jpg"
TABLES = (".csv", ".jsonl", ".parquet", ".csv.gz", ".jsonl.gz", ".parquet.gz")


def write_manifest(folder: Path, kind: str, rows: list[dict[str, object]]) -> str:
    """Rows as a manifest of one kind; every row has the same columns."""
    path = folder / f"manifest{kind}"
    plain = folder / f"manifest{kind.removesuffix('.gz')}"
    if ".parquet" in kind:
        pq.write_table(pa.Table.from_pylist(rows), plain)
    elif ".jsonl" in kind:
        plain.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        lines = [",".join(rows[0]), *(",".join(str(value) for value in row.values()) for row in rows)]
        plain.write_text("\n".join(lines) + "\n")
    if kind.endswith(".gz"):
        path.write_bytes(gzip.compress(plain.read_bytes()))
    return str(path)


def uris_and_groups(manifest: str, column: str | None = None) -> list[tuple[str, str | None]]:
    return [(image.uri, image.group) for image in read_manifest(manifest, column)]


@pytest.mark.parametrize("kind", TABLES)
def test_manifests_give_uris_once_in_order_with_groups(kind: str, tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"uri": "s3://b/2.jpg", "platform": "chat", "year": 2020},
        {"uri": "/p/1 é.jpg", "platform": "forum", "year": 2021},
        {"uri": "s3://b/2.jpg", "platform": "later", "year": 2022},
    ]
    manifest = write_manifest(tmp_path, kind, rows)
    assert uris_and_groups(manifest) == [("s3://b/2.jpg", None), ("/p/1 é.jpg", None)]
    assert uris_and_groups(manifest, "platform") == [("s3://b/2.jpg", "chat"), ("/p/1 é.jpg", "forum")]
    assert uris_and_groups(manifest, "year") == [("s3://b/2.jpg", "2020"), ("/p/1 é.jpg", "2021")]
    first, second = read_manifest(manifest, "platform", ["year", "platform"])
    assert first.carried == (("year", "2020"), ("platform", "chat"))
    assert second.carried == (("year", "2021"), ("platform", "forum"))


@pytest.mark.parametrize("kind", [".txt", ".txt.gz"])
def test_a_list_of_uris_has_one_a_line(kind: str, tmp_path: Path) -> None:
    content = b"s3://b/1.jpg\r\n\n/photos/caf\xe9.jpg\ns3://b/1.jpg\n/p/ with spaces, and commas.jpg "
    path = tmp_path / f"list{kind}"
    path.write_bytes(gzip.compress(content) if kind.endswith(".gz") else content)
    uris = ["s3://b/1.jpg", LATIN_1_URI, "/p/ with spaces, and commas.jpg "]
    assert uris_and_groups(str(path)) == [(uri, None) for uri in uris]
    with pytest.raises(ConfigError, match="is a list of uris; expected"):
        list(read_manifest(str(path), "platform"))


def test_csv_groups_stay_as_written(tmp_path: Path) -> None:
    groups = ["007", "1.10", "true", "2020-01-02", "NA", ""]
    rows: list[dict[str, object]] = [{"uri": f"{number}", "group": group} for number, group in enumerate(groups)]
    for some in (rows, rows[:1], rows[1:2], rows[2:3]):
        expected = [(row["uri"], row["group"] or None) for row in some]
        assert uris_and_groups(write_manifest(tmp_path, ".csv", some), "group") == expected


def test_missing_groups_are_none(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"uri": "a.jpg", "group": "x"}, {"uri": "b.jpg", "group": None}]
    for kind in (".jsonl", ".parquet"):
        assert uris_and_groups(write_manifest(tmp_path, kind, rows), "group") == [("a.jpg", "x"), ("b.jpg", None)]
    (tmp_path / "some.jsonl").write_text('{"uri": "a.jpg"}\n\n{"uri": "b.jpg", "group": 2}\n')
    assert uris_and_groups(f"{tmp_path}/some.jsonl", "group") == [("a.jpg", None), ("b.jpg", "2")]


def test_the_uri_column_may_itself_be_the_group(tmp_path: Path) -> None:
    for kind in TABLES:
        assert uris_and_groups(write_manifest(tmp_path, kind, [{"uri": "a.jpg"}]), "uri") == [("a.jpg", "a.jpg")]


def test_the_inputs_of_one_run_are_a_manifest_for_another(tmp_path: Path) -> None:
    (uri,), _ = write_inputs([ListedImage(LATIN_1_URI, group="x")], str(tmp_path))
    assert uris_and_groups(uri, "group") == [(LATIN_1_URI, "x")]


def test_manifest_kinds_are_known_by_extension_in_any_case(tmp_path: Path) -> None:
    (tmp_path / "M.CSV").write_text("uri\na.jpg\n")
    assert uris_and_groups(f"{tmp_path}/M.CSV") == [("a.jpg", None)]
    with pytest.raises(ConfigError, match=r"manifest is 'list\.md'; expected a name ending in .*\.csv"):
        list(read_manifest("list.md"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.csv", None, "cannot be read: FileNotFound"),
        ("m.parquet", b"not parquet", "cannot be read"),
        ("m.jsonl", b"{not json", "cannot be read"),
        ("m.jsonl", b"[1]\n", "line 1 is no object"),
        ("m.csv.gz", b"uri\na.jpg\n", "cannot be read: BadGzipFile"),
        ("m.csv", b"", "cannot be read"),
        ("m.csv", b"uri,other\n1\n", "line 2 has not as many cells as the header, 2"),
        ("m.csv", b"uri,other\n1,2,3\n", "line 2 has not as many cells as the header, 2"),
        ("m.csv", b"uri\ncaf\xe9.jpg\n", "cannot be read"),
        ("m.csv", b"url,other\n1,2\n", "has no column 'uri'; it has url, other"),
        ("m.csv", b"uri\n", "has no rows"),
        ("m.txt", b"\n", "has no rows"),
        ("m.csv", b'uri,g\na.jpg,1\n"",2\n', "has a row without uri"),
        ("m.jsonl", b'{"uri": "a.jpg"}\n{"uri": null}\n', "has a row without uri"),
    ],
)
def test_unusable_manifests_say_what_is_wrong(name: str, content: bytes | None, message: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=message) as caught:
        list(read_manifest(f"{tmp_path}/{name}"))
    assert name in str(caught.value)


def test_a_damaged_parquet_manifest_is_a_config_error(tmp_path: Path) -> None:
    path = Path(write_manifest(tmp_path, ".parquet", [{"uri": f"image-{number}.jpg"} for number in range(1000)]))
    content = bytearray(path.read_bytes())
    content[200:400] = bytes(200)
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="cannot be read"):
        list(read_manifest(str(path)))


@pytest.mark.parametrize("kind", TABLES)
def test_a_missing_column_is_named(kind: str, tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path, kind, [{"uri": "a.jpg", "site": "x"}])
    with pytest.raises(ConfigError, match=r"has no column 'platform'; it has (uri, site|site, uri)"):
        list(read_manifest(manifest, "platform"))
    with pytest.raises(ConfigError, match=r"has no column 'date'; it has (uri, site|site, uri)"):
        list(read_manifest(manifest, carry=["site", "date"]))


def test_local_files_in_a_manifest_are_refused_where_they_are_not_welcome(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path, ".csv", [{"uri": "gs://b/a.jpg"}, {"uri": "/etc/passwd"}])
    with pytest.raises(ConfigError, match="--remote-only: /etc/passwd"):
        list(read_manifest(manifest, check=refuse_local))


@pytest.mark.slow
@pytest.mark.parametrize("kind", [".txt", ".csv", ".jsonl", ".parquet"])
def test_a_million_lines_are_never_in_memory(kind: str, tmp_path: Path) -> None:
    """A million inputs as objects would take some 700 MiB."""
    uris = [f"s3://bucket/photographs of the year/image-{number:07d}.jpg" for number in range(1_000_000)]
    path = tmp_path / f"million{kind}"
    if kind == ".parquet":
        pq.write_table(pa.table({"uri": uris}), path)
    else:
        lines = (json.dumps({"uri": uri}) for uri in uris) if kind == ".jsonl" else uris
        path.write_text(("uri\n" if kind == ".csv" else "") + "\n".join(lines) + "\n")
    with at_most(250 * 1024):
        files, count = write_inputs(read_manifest(str(path)), f"{tmp_path}/run")
    assert (count, len(files)) == (1_000_000, 100)
