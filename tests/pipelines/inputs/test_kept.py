"""Inputs by pattern and by manifest, their groups, and how a run keeps them."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import inputs as sources
from pipelines.inputs import assign_group, group_by, list_inputs, read_inputs, read_manifest, write_inputs
from q1net_core.errors import ConfigError
from q1net_core.records import ListedImage

# As Python names a file whose name is the Latin-1 bytes of café.jpg.
LATIN_1_URI = "/photos/caf\udce9.jpg"


def write_manifest(folder: Path, kind: str, rows: list[dict[str, object]]) -> str:
    """Rows as a manifest of one kind; every row has the same columns."""
    path = folder / f"manifest{kind}"
    if kind == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif kind == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        lines = [",".join(rows[0]), *(",".join(str(value) for value in row.values()) for row in rows)]
        path.write_text("\n".join(lines) + "\n")
    return str(path)


def uris_and_groups(manifest: str, column: str | None = None) -> list[tuple[str, str | None]]:
    return [(image.uri, image.group) for image in read_manifest(manifest, column)]


def test_inputs_of_several_patterns_come_once_each(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.png", "c.txt"):
        (tmp_path / name).write_bytes(b"x")
    patterns = [f"{tmp_path}/b.png", str(tmp_path), f"{tmp_path}/*.jpg", f"{tmp_path}/c.txt"]
    assert [Path(image.uri).name for image in list_inputs(patterns)] == ["b.png", "a.jpg", "c.txt"]


def test_a_pattern_without_match_is_named_even_if_others_match(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    with pytest.raises(ConfigError, match=r"no image matches '.*/gone/\*\.jpg'; expected"):
        list(list_inputs([str(tmp_path), f"{tmp_path}/gone/*.jpg"]))


@pytest.mark.parametrize("kind", [".csv", ".jsonl", ".parquet"])
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


def test_the_uri_column_may_itself_be_the_group(tmp_path: Path) -> None:
    assert uris_and_groups(write_manifest(tmp_path, ".csv", [{"uri": "a.jpg"}]), "uri") == [("a.jpg", "a.jpg")]


def test_the_inputs_of_one_run_are_a_manifest_for_another(tmp_path: Path) -> None:
    (uri,), _ = write_inputs([ListedImage(LATIN_1_URI, group="x")], str(tmp_path))
    assert uris_and_groups(uri, "group") == [(LATIN_1_URI, "x")]


def test_manifest_kinds_are_known_by_extension_in_any_case(tmp_path: Path) -> None:
    (tmp_path / "M.CSV").write_text("uri\na.jpg\n")
    assert uris_and_groups(f"{tmp_path}/M.CSV") == [("a.jpg", None)]
    with pytest.raises(ConfigError, match=r"manifest is 'list\.txt'; expected a name ending in .*\.csv"):
        list(read_manifest("list.txt"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.csv", None, "cannot be read: nothing at"),
        ("m.parquet", b"not parquet", "cannot be read"),
        ("m.jsonl", b"{not json", "cannot be read"),
        ("m.csv", b"", "cannot be read"),
        ("m.csv", b"uri,other\n1\n", "cannot be read"),
        ("m.csv", b"uri\ncaf\xe9.jpg\n", "cannot be read"),
        ("m.csv", b"url,other\n1,2\n", "has no column 'uri'; it has url, other"),
        ("m.csv", b"uri\n", "has no rows"),
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


def test_a_missing_group_column_is_named(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path, ".csv", [{"uri": "a.jpg", "site": "x"}])
    with pytest.raises(ConfigError, match="has no column 'platform'; it has uri, site"):
        list(read_manifest(manifest, "platform"))


def test_groups_are_the_first_capture_on_the_uri() -> None:
    expression = group_by(r"photos/([^/]+)/(\d+)?")
    image = ListedImage("s3://b/photos/cats/12.jpg", 5, "v", None)
    assert assign_group(image, expression) == ListedImage("s3://b/photos/cats/12.jpg", 5, "v", None, "cats")
    assert assign_group(ListedImage("s3://b/other/1.jpg"), expression).group is None
    assert assign_group(ListedImage("1.jpg"), group_by("^(x)?1")).group is None
    assert assign_group(ListedImage(LATIN_1_URI), group_by(r"/([^/]+)\.jpg")).group == r"caf\xe9"


@pytest.mark.parametrize(("pattern", "message"), [("(", "not a regular expression"), ("photos/", "expected a capture")])
def test_useless_group_expressions_are_refused(pattern: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        group_by(pattern)
    assert repr(pattern) in str(caught.value)


def test_kept_inputs_come_back_as_they_were_from_several_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "INPUTS_PER_FILE", 2)
    images = [
        ListedImage(LATIN_1_URI, 5, "etag", datetime(2020, 9, 13, 12, 26, 40, 250_001, UTC), "x"),
        ListedImage("s3://b/日本.jpg"),
        ListedImage("/p/zero.jpg", 0, None, datetime(1969, 12, 31, tzinfo=UTC), ""),
        ListedImage("/p/4.jpg", 1 << 40),
        ListedImage("/p/5.jpg"),
    ]
    uris, count = write_inputs(iter(images), str(tmp_path))
    assert count == 5
    assert [Path(uri).name for uri in uris] == [f"inputs-0000{number}.parquet" for number in range(3)]
    back = [list(read_inputs(uri)) for uri in uris]
    assert [len(part) for part in back] == [2, 2, 1]
    assert [image for part in back for image in part] == images
    modified = back[0][0].modified
    assert modified is not None
    assert modified.tzinfo is UTC


def test_full_files_are_followed_by_no_empty_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "INPUTS_PER_FILE", 2)
    uris, count = write_inputs((ListedImage(f"{number}.jpg") for number in range(4)), str(tmp_path))
    assert (len(uris), count) == (2, 4)
