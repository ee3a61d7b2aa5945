"""What the command does itself: list the images before the first pass, and decide after it what the second does."""

import os
import shutil
from collections import Counter
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from pipelines.inputs import list_inputs, write_inputs
from pipelines.shards.config import ShardsConfig
from pipelines.shards.images import Finding, Source, write_lines
from pipelines.shards.parquet import PATCH_BYTES
from pipelines.shards.splits import SPLIT_SHARES, assign_splits
from pipelines.shards.survey import read_findings, refuse_unusable
from q1net_core import storage
from q1net_core.codecs.table import CODECS
from q1net_core.errors import ConfigError

SOURCES_PER_FILE = 50_000
# On its way, a row takes its patch, key, level and position; a position takes a tile of 48 x 48 pixels at most.
ROW_BYTES = PATCH_BYTES + 32
TILE_BYTES = 48 * 48 * 3


@dataclass(frozen=True, slots=True)
class Corpus:
    """The images of a dataset to be made: the files that list them, how many they are, and how all uris begin."""

    files: list[str]
    images: int
    folder: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What the second pass does: the files of its sources, the images of each split, those compressed before."""

    files: list[str]
    images: dict[str, int]
    screened: list[dict[str, Any]]


def list_corpus(config: ShardsConfig) -> Corpus:
    """Check the output, sweep away what a killed run left there, list the images.

    Raises:
        ConfigError: the codec is not installed; the output has a finished dataset, or files that are no run's remains.
    """
    CODECS[config.codec].versions()
    storage.ensure_writable(config.output)
    if storage.exists(storage.join(config.output, "dataset.json")):
        raise ConfigError(
            f"output {config.output} already has a finished dataset (dataset.json); choose another, or delete it first"
        )
    images = list(list_inputs([config.images]))
    inputs = storage.join(config.output, "_inputs")
    splits = (storage.join(config.output, f"split={split}") for split in SPLIT_SHARES)
    leftovers = [folder for folder in splits if storage.exists(folder)]
    if leftovers and not storage.exists(inputs):
        raise ConfigError(f"output has {leftovers[0]}, which no run of q1net shards left there; choose another output")
    # _inputs goes last: as long as it is there, what lies beside it is known to be a killed run's.
    others = (storage.join(config.output, name) for name in ("_work", "_survey", "unusable.json", "_inputs"))
    for leftover in [*leftovers, *others]:
        storage.remove(leftover)
    files, count = write_inputs(images, config.output)
    shared = os.path.commonprefix([images[0].uri, images[-1].uri])  # noqa: RUF071 (cut at a slash below)
    return Corpus(files, count, shared[: shared.rfind("/") + 1])


def make_work(config: ShardsConfig, images: int, local: bool) -> str:
    """A folder for what the passes hand on: in the output, but on this machine if it runs the passes.

    Raises:
        ConfigError: on this machine there is no room for the rows of so many images.
    """
    work = storage.join(config.output, "_work")
    if not local:
        return work
    folder = Path(mkdtemp(prefix="q1net-shards-")) if "://" in config.output else Path(work)
    folder.mkdir(parents=True, exist_ok=True)
    needed = images * (config.rows_per_image * ROW_BYTES + config.patches_per_image * TILE_BYTES)
    free = shutil.disk_usage(folder).free
    if needed > free:
        folder.rmdir()
        raise ConfigError(
            f"rows on their way need {needed / 1e9:.1f} GB of disk in {folder.parent}, "
            f"where {free / 1e9:.1f} GB are free; "
            "make room, choose another output (or TMPDIR, where the output is remote), or fewer patches or levels"
        )
    return str(folder)


def plan_shards(config: ShardsConfig, corpus: Corpus) -> Plan:
    """What the first pass found -> what the second is to do.

    Raises:
        ConfigError: some images cannot be used, which unusable.json then lists, or none is left.
    """
    findings = read_findings(config.output, corpus.images)
    refuse_unusable(findings, config.output)
    screened = [finding for finding in findings if finding.quality is not None]
    if config.screen == "drop":
        findings = [finding for finding in findings if finding.quality is None]
    if not findings:
        raise ConfigError(
            f"all {len(screened)} images were JPEG compressed before and dropped; expected images that never were, or "
            "--screen report to use them all the same"
        )
    sources = assign_splits(findings, corpus.folder)
    return Plan(
        write_sources(sources, config.output),
        dict(Counter(source.split for source in sources)),
        sorted(map(describe_screened, screened), key=itemgetter("uri")),
    )


def describe_screened(finding: Finding) -> dict[str, Any]:
    """What dataset.json says of an image that was compressed before."""
    return {"uri": storage.printable_uri(finding.uri), "quality": finding.quality, "match": finding.match}


def write_sources(sources: list[Source], output: str) -> list[str]:
    """Keep the sources with their splits in the output, for the workers to read; returns the files' uris."""
    parts = [sources[start : start + SOURCES_PER_FILE] for start in range(0, len(sources), SOURCES_PER_FILE)]
    return [
        write_lines(storage.join(output, "_survey", f"sources-{number:05d}-of-{len(parts):05d}.jsonl"), part)
        for number, part in enumerate(parts)
    ]
