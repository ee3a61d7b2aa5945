"""Which split an image belongs to, and in which order a split's images are."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable

from pipelines.shards.images import Finding, Source

# Shares of an unknown corpus, as the paper splits DIV2K: 700, 100, 100.
SPLIT_SHARES = {"train": 7, "valid": 1, "test": 1}
DIV2K = re.compile(r"(?:^|/)DIV2K_(train|valid)_[^/]+/(?:.*/)?(\d{4})(?:x\d+\w*)?\.\w+$")


def div2k_split(uri: str) -> str | None:
    """The split of an image of DIV2K, also of its downscaled versions: 0001-0700, 0701-0800, 0801-0900."""
    found = DIV2K.search(uri)
    number = int(found[2]) if found else 0
    if found and found[1] == "valid" and 801 <= number <= 900:
        return "test"
    if found and found[1] == "train" and 1 <= number <= 800:
        return "train" if number <= 700 else "valid"
    return None


def choose_split(fingerprint: str, uris: Iterable[str]) -> str:
    """The one split of all images with the same pixels: DIV2K's if one of them is of it, else by their hash."""
    known = [split for split in map(div2k_split, sorted(uris)) if split]
    if known:
        return known[0]
    share = int(fingerprint[:16], 16) % sum(SPLIT_SHARES.values())
    return [split for split, parts in SPLIT_SHARES.items() for _ in range(parts)][share]


def assign_splits(findings: Iterable[Finding], folder: str) -> list[Source]:
    """Usable images -> sources in order of their uris, the same whatever the order of the findings.

    Args:
        findings: of usable images.
        folder: the beginning of all uris, which names inside the corpus do not repeat.
    """
    ordered = sorted(findings, key=lambda finding: finding.uri)
    same: defaultdict[str, list[str]] = defaultdict(list)
    for finding in ordered:
        same[finding.fingerprint].append(finding.uri)
    split_of = {fingerprint: choose_split(fingerprint, uris) for fingerprint, uris in same.items()}
    counts = Counter[str]()
    sources = []
    for finding in ordered:
        split = split_of[finding.fingerprint]
        name = finding.uri.removeprefix(folder)
        sources.append(Source(finding.uri, name, finding.fingerprint, split, counts[split]))
        counts[split] += 1
    return sources
