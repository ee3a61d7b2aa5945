"""What an audit looks at, listed by the process that starts it or by the workers of a cluster, with the same result."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import AsList, AsSingleton

from pipelines.audit.config import AuditConfig
from pipelines.inputs import assign_group, group_by, list_inputs, read_manifest
from pipelines.inputs.kept import INPUTS_PER_FILE, write_inputs_file
from pipelines.inputs.manifests import read_rows
from pipelines.inputs.patterns import (
    digest_of,
    excluding,
    is_named,
    leave_out,
    list_folder,
    no_match,
    none_left,
    open_archive,
    refuse_local,
    split_pattern,
)
from q1net_core import storage
from q1net_core.records import ListedImage

# Where an input stands in the list: of two with the same uri the first counts.
Order = tuple[int, ...]
Ordered = tuple[Order, ListedImage]


def welcomes(config: AuditConfig) -> Callable[[str], None]:
    """What raises ConfigError for a uri that the config does not want."""
    return refuse_local if config.remote_only else lambda _: None


def list_images(config: AuditConfig) -> Iterator[ListedImage]:
    """The config's inputs with their groups, as they are found.

    Raises:
        ConfigError: there are none, they cannot be listed, or they are local where that is not welcome.
    """
    expression = group_by(config.group) if config.group else None
    if config.manifest:
        listed = read_manifest(config.manifest, config.group_column, config.carry, welcomes(config))
        images = leave_out(listed, config.exclude)
    else:
        for pattern in config.inputs:
            welcomes(config)(pattern)
        images = list_inputs(config.inputs, config.exclude)
    return (assign_group(image, expression) if expression else image for image in images)


def check_sources(config: AuditConfig) -> None:
    """What can be said before anything is listed; raises as list_images.

    A file or folder that is not there is found here, a glob that matches nothing by whoever lists.
    """
    if config.group:
        group_by(config.group)
    for pattern in config.inputs:
        welcomes(config)(pattern)
        if not (is_named(pattern) or set(pattern) & set("*?[") or storage.exists(pattern)):
            raise no_match(pattern)


def split_source(numbered: tuple[int, str], config: AuditConfig) -> Iterator[tuple[Order, ListedImage | str]]:
    """An INPUT or a manifest -> what it stands for, in order: inputs, archives unopened, and folders to be listed."""
    number, source = numbered
    found: Iterable[ListedImage | str]
    if config.manifest:
        found = read_rows(source, config.group_column, config.carry, welcomes(config))
    else:
        found = split_pattern(source)
    for place, each in enumerate(found):
        yield (number, place), each


def list_place(ordered: tuple[Order, ListedImage | str]) -> Iterator[Ordered]:
    """A folder -> its inputs, archives unopened; an input as it is."""
    order, found = ordered
    if isinstance(found, ListedImage):
        yield order, found
    else:
        for place, image in enumerate(list_folder(found)):
            yield (*order, place), image


def open_place(ordered: Ordered) -> Iterator[Ordered]:
    """An archive -> its members; any other input as it is."""
    order, image = ordered
    for place, member in enumerate(open_archive(image)):
        yield (*order, place), member


def pick_input(ordered: Ordered, config: AuditConfig) -> Iterator[tuple[bytes, Ordered]]:
    """An input with its group, by the digest of its uri, unless it is left out."""
    order, image = ordered
    if not (config.exclude and excluding(config.exclude).fullmatch(image.uri)):
        grouped = assign_group(image, re.compile(config.group)) if config.group else image
        yield digest_of(image.uri), (order, grouped)


def find_first(found: Iterable[Ordered]) -> Ordered:
    """The one that stands first in the list."""
    return min(found, key=itemgetter(0))


def keep_inputs(images: Sequence[ListedImage], run_uri: str) -> tuple[str, int]:
    """Write some inputs to a file of the run; returns its uri and how many they are."""
    return write_inputs_file(images, run_uri), len(images)


def check_listing(total: int, matched: Sequence[int], config: AuditConfig) -> int:
    """How many inputs there are.

    Raises:
        ConfigError: a pattern matches nothing, or everything is left out.
    """
    for number, pattern in enumerate(config.inputs):
        if number not in matched:
            raise no_match(pattern)
    if not total and config.exclude:
        raise none_left(config.exclude)
    return total


@dataclass
class ListImages(beam.PTransform):
    """The config's inputs, listed by workers -> uris of the files of the run that list them, and how many there are.

    A folder is split at its first level; then each folder there, and then each archive, is listed by some worker as it
    comes. Nothing is given before everything is listed and found right.

    Raises:
        ConfigError: in the job, as list_images.
    """

    config: AuditConfig
    run_uri: str

    def expand(self, root: Any) -> Any:
        """Two outputs: uris, and one number."""
        config = self.config
        sources = [config.manifest] if config.manifest else config.inputs
        listed = (
            root
            | "Sources" >> beam.Create(list(enumerate(sources)))
            | "Split" >> beam.FlatMap(split_source, config)
            | "SpreadFolders" >> beam.Reshuffle()
            | "ListFolder" >> beam.FlatMap(list_place)
            | "SpreadArchives" >> beam.Reshuffle()
            | "OpenArchive" >> beam.FlatMap(open_place)
        )
        matched = listed | "Source" >> beam.Map(lambda ordered: ordered[0][0]) | "Matched" >> beam.Distinct()
        kept = (
            listed
            | "Pick" >> beam.FlatMap(pick_input, config)
            | "First" >> beam.CombinePerKey(find_first)
            | "Image" >> beam.Map(lambda found: found[1][1])
            | "Batch" >> beam.BatchElements(INPUTS_PER_FILE, INPUTS_PER_FILE)
            | "KeepInputs" >> beam.Map(keep_inputs, self.run_uri)
            | "Keep" >> beam.Reshuffle()
        )
        total = (
            kept
            | "Count" >> beam.Map(itemgetter(1))
            | "Total" >> beam.CombineGlobally(sum)
            | "Check" >> beam.Map(check_listing, AsList(matched), config)
        )
        return kept | "Checked" >> beam.Map(lambda file, _: file[0], AsSingleton(total)), total
