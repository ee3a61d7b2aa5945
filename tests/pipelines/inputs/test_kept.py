"""How a run keeps its inputs, and their groups."""

from datetime import UTC, datetime
from itertools import count, groupby
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.inputs import assign_group, group_by, kept, read_inputs, take_turns, write_inputs
from pipelines.inputs.kept import archive_of
from q1net_core.errors import ConfigError
from q1net_core.records import ListedImage, Member

# As Python names a file whose name is the Latin-1 bytes of café.jpg.
LATIN_1_URI = "/photos/caf\udce9.jpg"


def test_groups_are_the_first_capture_on_the_uri() -> None:
    expression = group_by(r"photos/([^/]+)/(\d+)?")
    image = ListedImage("s3://b/photos/cats/12.jpg", 5, "v", None)
    assert assign_group(image, expression) == ListedImage("s3://b/photos/cats/12.jpg", 5, "v", None, "cats")
    assert assign_group(ListedImage("s3://b/other/1.jpg"), expression).group is None
    assert assign_group(ListedImage("1.jpg"), group_by("^(x)?1")).group is None
    assert assign_group(ListedImage(LATIN_1_URI), group_by(r"/([^/]+)\.jpg")).group == r"caf\xe9"


@given(st.lists(st.integers(0, 3), max_size=30), st.integers(1, 5), st.lists(st.integers(0, 2), max_size=40))
def test_inputs_are_shared_by_turns(archives: list[int], size: int, order: list[int]) -> None:
    """Whoever takes a turn when: every input goes to one of three, an archive that is had as a whole to one alone."""
    images = [
        ListedImage(f"/a{archive}.tgz#{place}", member=Member("gzip", place, 1))
        if archive
        else ListedImage(f"/{place}")
        for place, archive in enumerate(archives)
    ]
    with TemporaryDirectory() as folder:
        files, _ = write_inputs(images, folder)
        turns = count()
        takers = [take_turns(files, size, lambda: next(turns)) for _ in range(3)]
        taken: list[list[ListedImage]] = [[], [], []]
        for taker in order:
            taken[taker] += next(takers[taker], [])
        for mine, rest in zip(taken, takers, strict=True):
            for batch in rest:
                assert 1 <= len(batch) <= size
                mine += batch
    assert sorted(image.uri for mine in taken for image in mine) == sorted(image.uri for image in images)
    for archive, group in groupby(images, archive_of):
        members = set(group)
        assert not archive or sum(not members.isdisjoint(mine) for mine in taken) == 1


@pytest.mark.parametrize(("pattern", "message"), [("(", "not a regular expression"), ("photos/", "expected a capture")])
def test_useless_group_expressions_are_refused(pattern: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        group_by(pattern)
    assert repr(pattern) in str(caught.value)


def test_kept_inputs_come_back_as_they_were_from_several_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "INPUTS_PER_FILE", 2)
    images = [
        ListedImage(LATIN_1_URI, 5, "etag", datetime(2020, 9, 13, 12, 26, 40, 250_001, UTC), "x"),
        ListedImage("s3://b/日本.jpg"),
        ListedImage("/p/zero.jpg", 0, None, datetime(1969, 12, 31, tzinfo=UTC), ""),
        ListedImage("/p/4.jpg", 1 << 40),
        ListedImage(
            "/p/5.tar#a.jpg", carried=(("year", "2020"), ("site", None)), member=Member("stored", 512, 1 << 40)
        ),
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
    monkeypatch.setattr(kept, "INPUTS_PER_FILE", 2)
    uris, count = write_inputs((ListedImage(f"{number}.jpg") for number in range(4)), str(tmp_path))
    assert (len(uris), count) == (2, 4)
