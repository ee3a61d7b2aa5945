"""How a run keeps its inputs, and their groups."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipelines.inputs import assign_group, group_by, kept, read_inputs, write_inputs
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
