"""`--resume`: rows of earlier runs that still hold are carried over; all other images are judged.

An image is done if an earlier row of the same uri has the status ``ok``, was made by the same weights and settings, and
the file has the same size, version and time of change, as far as the listing tells them.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.pvalue import TaggedOutput

from pipelines.audit.listing import find_runs
from pipelines.audit.parts import part_of, split_by
from pipelines.audit.pieces import FOLDER, list_pieces, write_piece
from pipelines.audit.run import read_rows
from pipelines.audit.spill import gather, group_on_disk, make_room, read_spilled, spill
from pipelines.audit.table import AUDIT_SCHEMA
from pipelines.files import JSON
from pipelines.inputs import SpreadInputs, read_inputs, write_inputs
from pipelines.inputs.kept import inputs_in, read_tables, uris_in
from pipelines.runtime import counters
from q1net_core import storage
from q1net_core.errors import ImageError
from q1net_core.records import ListedImage, Status
from q1net_core.settings import EstimatorSettings

CARRIED = "carried"
# Of how many images those are matched with earlier rows at once, on one machine, whose buckets are the same.
IMAGES_AT_A_TIME = 10_000
PLACE = "place"
# Columns that tell if a file is still the same one, where the listing knows them.
UNCHANGED = ("size_bytes", "version", "modified")


@dataclass(frozen=True, slots=True)
class EarlierFile:
    """A file with rows of an earlier run, as that run lists it."""

    run_uri: str
    listed: JSON


def made_by(about: JSON) -> JSON:
    """What of a run's `_run.json` its answers depend on: two runs of the same can share rows."""
    defaults = asdict(EstimatorSettings())
    # JSON has lists only; which weights a run was asked for is told by those that it took.
    settings = {name: about["arguments"].get(name, default) for name, default in defaults.items() if name != "weights"}
    keys = ("variant", "sha256", "fusion", "threshold")
    return {
        "settings": settings | {"estimators": list(settings["estimators"])},
        "weights": sorted([used[key] for key in keys] for used in about["weights"]),
        "schema_version": about["versions"]["schema_version"],
    }


def find_earlier(output: str, about: JSON) -> tuple[list[EarlierFile], int]:
    """Files of all runs of an output that share rows with a run, and how many runs there are that do not."""
    found, others = [], 0
    for run in find_runs(output):
        known = run.committed or run.started
        if known is None:
            continue
        if made_by(known) != made_by(about):
            others += 1
            continue
        listed = run.committed["files"] if run.committed else list_pieces(run.uri)
        found += [EarlierFile(run.uri, file) for file in listed]
    return found, others


def read_earlier(file: EarlierFile) -> pa.Table:
    """The rows of an earlier run's file that are worth keeping; none of a file that is gone or damaged.

    Nothing is lost with such a file: its images are judged again.
    """
    try:
        rows = read_rows(file.run_uri, {key: file.listed[key] for key in ("name", "sha256")})
    except (ImageError, ValueError) as error:
        logging.warning("rows of an earlier run cannot be used, their images are judged again: %s", error)
        return AUDIT_SCHEMA.empty_table()
    return rows.filter(pa.compute.equal(rows["status"], Status.OK.value))


def is_unchanged(image: ListedImage, row: dict[str, Any]) -> bool:
    """Whether a file is still the one that a row tells of, by all that the listing knows of it."""
    return all(getattr(image, name) in (None, row[name]) for name in UNCHANGED)


def split_done(images: Iterable[ListedImage], earlier: Sequence[pa.Table]) -> tuple[list[ListedImage], pa.Table]:
    """Images that are to be judged, and the newest rows of those that are done, with what the listing says of them."""
    images, rows = list(images), pa.concat_tables([AUDIT_SCHEMA.empty_table(), *earlier])
    told = rows.select(["uri", "processed_at", *UNCHANGED]).to_pylist()
    newest: dict[str, int] = {}
    for place, row in enumerate(told):
        if row["uri"] not in newest or row["processed_at"] > told[newest[row["uri"]]]["processed_at"]:
            newest[row["uri"]] = place
    # Rows have uris as they are printed, without secrets and in text. Of two that look alike nobody can tell whose row
    # it is; a signed URL is the same image with its next signature.
    names = [storage.printable_uri(image.uri) for image in images]
    alike = Counter(names)
    judged: list[ListedImage] = []
    stayed: list[ListedImage] = []
    places: list[int] = []
    for image, name in zip(images, names, strict=True):
        kept = newest.get(name)
        if kept is None or alike[name] > 1 or not is_unchanged(image, told[kept]):
            judged.append(image)
        else:
            places.append(kept)
            stayed.append(image)
    done = rows.take(pa.array(places, pa.int64()))
    at = AUDIT_SCHEMA.get_field_index("group")
    done = done.set_column(at, AUDIT_SCHEMA.field("group"), pa.array([image.group for image in stayed], pa.string()))
    for number, (name, _) in enumerate(images[0].carried if images else ()):
        done = done.append_column(name, pa.array([image.carried[number][1] for image in stayed], pa.string()))
    return judged, done


def share_out(keyed: tuple[int, dict[str, Iterable[Any]]]) -> Iterator[Any]:
    """One bucket of inputs and earlier rows -> ListedImages, and a table on the output CARRIED."""
    _, found = keyed
    judged, kept = split_done(found["images"], list(found["earlier"]))
    yield from judged
    if len(kept):
        counters.inc("rows_carried", len(kept))
        counters.inc("rows", len(kept))
        yield TaggedOutput(CARRIED, kept)


def put_in_buckets(table: pa.Table, buckets: int) -> Iterator[tuple[int, pa.Table]]:
    """Earlier rows by the bucket of their uri."""
    return split_by(table, [part_of(uri, buckets) for uri in table["uri"].to_pylist()])


def bucket_inputs(input_files: Iterable[str], buckets: int) -> Iterator[tuple[int, pa.Table]]:
    """Inputs by the bucket that their earlier row would be in, with their place in the list."""
    at = 0
    for table in chain.from_iterable(map(read_tables, input_files)):
        numbered = table.append_column(PLACE, pa.array(range(at, at + len(table))))
        at += len(table)
        yield from split_by(numbered, [part_of(uri, buckets) for uri in uris_in(table)])


def carry_over(
    run_uri: str, input_files: Sequence[str], images: int, earlier: Iterable[EarlierFile]
) -> tuple[list[str], int]:
    """What SkipDone does, on this machine: rows of earlier runs that still hold become pieces of this run.

    Inputs and rows meet on disk, some thousands at a time in memory; what is to be judged keeps its order.

    Returns:
        uris of files that list the images to judge, beside the pieces, and how many these images are.
    """
    buckets = max(1, -(-images // IMAGES_AT_A_TIME))
    done = np.zeros(images, np.bool_)
    with make_room(run_uri) as room:
        kept_tables = gather(map(read_earlier, earlier))
        rows = spill(chain.from_iterable(put_in_buckets(table, buckets) for table in kept_tables), room / "rows")
        for bucket, tables in group_on_disk(bucket_inputs(input_files, buckets), room / "inputs"):
            listed = pa.concat_tables(tables)
            bucket_images = list(inputs_in(listed))
            judged, kept = split_done(bucket_images, list(read_spilled(rows[bucket])) if bucket in rows else [])
            to_judge = {image.uri for image in judged}
            done[listed[PLACE].to_numpy()] = [image.uri not in to_judge for image in bucket_images]
            if len(kept):
                write_piece(run_uri, kept)
    every_input = chain.from_iterable(map(read_inputs, input_files))
    rest = (image for image, is_done in zip(every_input, done, strict=True) if not is_done)
    return write_inputs(rest, storage.join(run_uri, FOLDER))


def put_in_bucket(image: ListedImage, buckets: int) -> tuple[int, ListedImage]:
    """An image with the bucket that its earlier row would be in."""
    return part_of(storage.printable_uri(image.uri), buckets), image


@dataclass
class SkipDone(beam.PTransform):
    """Uris of files that list the inputs of a run -> ListedImages to judge, and on CARRIED tables of rows.

    Inputs and earlier rows meet in buckets of a part's size, so that no worker needs to hold more than one.

    Args:
        earlier: files of earlier runs.
        buckets: how many, a number or a side input.
    """

    earlier: list[EarlierFile]
    buckets: Any

    def expand(self, input_files: beam.PCollection[str]) -> Any:
        """Two outputs: the main one, ``judge``, and CARRIED."""
        images = (
            input_files
            | "ReadInputs" >> beam.FlatMap(read_inputs)
            | "ByBucket" >> beam.Map(put_in_bucket, self.buckets)
        )
        earlier = (
            input_files.pipeline
            | "EarlierFiles" >> beam.Create(self.earlier)
            | "ReadEarlier" >> beam.Map(read_earlier)
            | "InBuckets" >> beam.FlatMap(put_in_buckets, self.buckets)
        )
        shared = (
            {"images": images, "earlier": earlier}
            | "Meet" >> beam.CoGroupByKey()
            | "ShareOut" >> beam.FlatMap(share_out).with_outputs(CARRIED, main="judge")
        )
        return shared.judge | "Spread" >> SpreadInputs(), shared[CARRIED]
