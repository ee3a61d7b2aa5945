"""INPUTs: each image once, without those left out; memory does not grow with their number."""

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.inputs.patterns import distinct, excluding, leave_out, list_inputs, refuse_local
from q1net_core.errors import ConfigError
from q1net_core.records import ListedImage


def names(images: Iterator[ListedImage]) -> list[str]:
    return [Path(image.uri).name for image in images]


def test_inputs_of_several_patterns_come_once_each(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.png", "c.txt"):
        (tmp_path / name).write_bytes(b"x")
    patterns = [f"{tmp_path}/b.png", str(tmp_path), f"{tmp_path}/*.jpg", f"{tmp_path}/c.txt"]
    assert names(list_inputs(patterns)) == ["b.png", "a.jpg", "c.txt"]


def test_a_pattern_without_match_is_named_even_if_others_match(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    with pytest.raises(ConfigError, match=r"no image matches '.*/gone/\*\.jpg'; expected"):
        list(list_inputs([str(tmp_path), f"{tmp_path}/gone/*.jpg"]))


def test_what_is_excluded_is_left_out(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.gif", "thumbs/c.jpg", "deep/thumbs/d.jpg", "thumbs.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert names(list_inputs([str(tmp_path)], ["*.gif", "thumbs/"])) == ["a.jpg", "thumbs.jpg"]
    assert names(list_inputs([str(tmp_path)], [f"{tmp_path}/deep/*"])) == ["a.jpg", "b.gif", "thumbs.jpg", "c.jpg"]
    with pytest.raises(ConfigError, match="--exclude leaves no image"):
        list(list_inputs([str(tmp_path)], ["*"]))


@pytest.mark.parametrize(
    ("glob", "matched", "kept"),
    [
        ("*.gif", "s3://b/x/a.gif", "s3://b/x/a.gif.jpg"),
        ("thumbs/", "s3://b/thumbs/x/a.jpg", "s3://b/mythumbs/a.jpg"),
        ("s3://b/x/*", "s3://b/x/y/a.jpg", "s3://c/x/a.jpg"),
        ("a.jpg", "s3://b/x/a.jpg", "s3://b/xa.jpg"),
        ("*.tar#private/*", "/d/1.tar#private/a.jpg", "/d/1.tar#public/a.jpg"),
    ],
)
def test_globs_match_a_uri_or_its_end(glob: str, matched: str, kept: str) -> None:
    assert excluding(["nothing", glob]).fullmatch(matched)
    assert not excluding(["nothing", glob]).fullmatch(kept)


def test_web_addresses_are_taken_as_they_are_given() -> None:
    url = "https://nowhere.invalid/a.php?id=1"
    assert [image.uri for image in list_inputs([url, url])] == [url]


@given(st.lists(st.text(st.characters(exclude_categories=()), max_size=3)))
def test_distinct_keeps_the_first_of_each_in_order(uris: list[str]) -> None:
    images = [ListedImage(uri, size_bytes=number) for number, uri in enumerate(uris) if uri[:1] < "\ud800" or not uri]
    expected = {image.uri: image for image in reversed(images)}
    assert list(distinct(images)) == sorted(expected.values(), key=lambda image: image.size_bytes or 0)


def test_what_has_been_seen_is_not_in_memory() -> None:
    count = 40_000
    images = (
        ListedImage(f"s3://bucket/a folder with a name/image-{number % (count // 2)}.jpg") for number in range(count)
    )
    tracemalloc.start()
    try:
        assert sum(1 for _ in distinct(images)) == count // 2
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "uri", ["/etc/passwd", "a.jpg", "file:///etc/passwd", "local://a", "simplecache::file:///x", "zip://a::/x"]
)
def test_local_files_are_refused(uri: str) -> None:
    with pytest.raises(ConfigError, match="--remote-only"):
        refuse_local(uri)


def test_urls_of_stores_are_not_refused() -> None:
    for uri in ("gs://b/a.jpg", "s3://b/a.tar#../../etc/passwd", "https://h/a.jpg"):
        refuse_local(uri)


def test_nothing_excluded_is_nothing_changed() -> None:
    assert list(leave_out([], [])) == []
