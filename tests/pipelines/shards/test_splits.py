"""Which split an image belongs to, whatever its name and its copies."""

from collections import Counter
from dataclasses import replace
from hashlib import sha256

import pytest

from pipelines.shards.images import Finding
from pipelines.shards.splits import assign_splits, choose_split, div2k_split


@pytest.mark.parametrize(
    ("uri", "split"),
    [
        ("/data/DIV2K/DIV2K_train_HR/0001.png", "train"),
        ("gs://b/DIV2K_train_HR/0700.png", "train"),
        ("DIV2K_train_HR/0701.png", "valid"),
        ("/DIV2K_train_HR/0800.webp", "valid"),
        ("/DIV2K_valid_HR/0801.png", "test"),
        ("/DIV2K_valid_HR/0900.png", "test"),
        ("/DIV2K_train_LR_bicubic/X2/0705x2.png", "valid"),
        ("/DIV2K_valid_LR_mild/0900x4m.png", "test"),
        ("/DIV2K_train_HR/0801.png", None),
        ("/DIV2K_train_HR/0000.png", None),
        ("/DIV2K_valid_HR/0800.png", None),
        ("/DIV2K_valid_HR/0901.png", None),
        ("/DIV2K_train_HR/10001.png", None),
        ("/MyDIV2K_train_HR/0001.png", None),
        ("/photos/0001.png", None),
    ],
)
def test_div2k_is_recognised_by_its_folders(uri: str, split: str | None) -> None:
    assert div2k_split(uri) == split


def test_other_images_are_split_by_their_pixels_and_copies_follow_div2k() -> None:
    fingerprints = [sha256(b"%d" % number).hexdigest() for number in range(4500)]
    counts = Counter(choose_split(fingerprint, ["/photos/1.png"]) for fingerprint in fingerprints)
    assert abs(counts["train"] - 3500) < 120
    assert abs(counts["valid"] - 500) < 90
    assert abs(counts["test"] - 500) < 90
    for fingerprint in fingerprints[:20]:
        assert choose_split(fingerprint, ["/a/1.png", "/DIV2K_valid_HR/0801.png"]) == "test"
        uris = ["/DIV2K_valid_HR/0801.png", "/DIV2K_train_HR/0001.png"]
        assert choose_split(fingerprint, uris) == choose_split(fingerprint, uris[::-1]) == "train"


def test_sources_are_the_same_in_whatever_order_images_were_looked_at() -> None:
    uris = [f"/a/DIV2K_train_HR/07{number:02d}.png" for number in range(1, 8)] + ["/a/copy.png", "/a/x\udce9.png"]
    findings = [Finding(uri, f"{number:064x}") for number, uri in enumerate(uris)]
    findings[7] = replace(findings[7], fingerprint=findings[2].fingerprint)
    sources = assign_splits(findings, "/a/")
    assert assign_splits(findings[::-1], "/a/") == sources
    assert [source.uri for source in sources] == sorted(uris)
    assert all(f"/a/{source.name}" == source.uri for source in sources)
    splits = {source.name: source.split for source in sources}
    assert splits["copy.png"] == splits["DIV2K_train_HR/0703.png"] == "valid"
    for split in set(splits.values()):
        indices = [source.index for source in sources if source.split == split]
        assert indices == list(range(len(indices)))
