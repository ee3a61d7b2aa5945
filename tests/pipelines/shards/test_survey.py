"""What the first pass finds out is written, read back whole, and stops the command where an image cannot be used."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from pictures import compress, encode_jpeg, make_picture
from PIL import Image

from pipelines.shards import survey as survey_module
from pipelines.shards.config import ShardsConfig
from pipelines.shards.images import Finding, fingerprint_of
from pipelines.shards.survey import file_of, read_findings, refuse_unusable, survey, write_findings
from pipelines.shards.tiles import tiles_uri
from q1net_core.errors import ConfigError
from q1net_core.records import ListedImage


def test_an_image_is_usable_or_has_an_error_and_its_compression_is_seen(tmp_path: Path) -> None:
    config, work = ShardsConfig("i", "o", patches_per_image=4), str(tmp_path)
    pixels = compress(make_picture(3), 62)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    found = survey((ListedImage("a"), (tmp_path / "a.png").read_bytes()), config, work)
    assert found == Finding("a", fingerprint_of(pixels), "", 62.0, "exact")
    lossy = survey((ListedImage("b"), encode_jpeg(pixels, 62)), config, work)
    assert lossy == Finding("b", error="unsupported: image is JPEG; expected a lossless one, never compressed")


@pytest.mark.parametrize(
    ("changes", "kept"), [({}, True), ({"codec": "webp"}, False), ({"screen": "drop"}, False)], ids=str
)
def test_tiles_are_kept_of_what_will_be_cut_from_them(changes: dict[str, str], kept: bool, tmp_path: Path) -> None:
    Image.fromarray(compress(make_picture(3), 62)).save(tmp_path / "a.png")
    config = replace(ShardsConfig("i", "o", levels=(50,), patches_per_image=4), **changes)
    finding = survey((ListedImage("a"), (tmp_path / "a.png").read_bytes()), config, str(tmp_path))
    assert Path(tiles_uri(str(tmp_path), finding.fingerprint)).exists() is kept


def test_findings_are_read_back_from_all_files_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey_module, "FINDINGS_PER_FILE", 15)
    findings = [Finding(f"/a/{number}.png", "ff") for number in range(40)]
    for number in range(3):
        mine = [finding for finding in findings if file_of(finding, 3) == number]
        assert mine
        write_findings((number, mine[::-1]), str(tmp_path), 3)
    assert sorted(read_findings(str(tmp_path), 40), key=findings.index) == findings
    with pytest.raises(RuntimeError, match="found out about 40 of 41 images; start again"):
        read_findings(str(tmp_path), 41)


def test_unusable_images_are_listed_and_the_first_are_shown(tmp_path: Path) -> None:
    refuse_unusable([Finding("a", "ff")], str(tmp_path))
    assert not list(tmp_path.iterdir())
    bad = [Finding(f"{number}\udce9", error="empty: no bytes") for number in range(7)]
    with pytest.raises(ConfigError) as refused:
        refuse_unusable([*bad[::-1], Finding("a", "ff")], str(tmp_path))
    lines = str(refused.value).splitlines()
    assert lines[0] == "7 images cannot be used; mend or remove them and start again (nothing is skipped):"
    assert lines[1] == r"  0\xe9: empty: no bytes"
    assert lines[-1] == f"  and 2 more, in {tmp_path}/unusable.json"
    assert len(lines) == 7
    listed = json.loads((tmp_path / "unusable.json").read_text())["images"]
    assert [image["uri"] for image in listed] == [rf"{number}\xe9" for number in range(7)]
