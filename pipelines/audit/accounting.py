"""Every listed input has exactly one row, and no row is of anything else: a run's files matched input by input.

Inputs and rows meet as digests of their uris as printed, in buckets of about a part's size, so that a million of them
take 16 bytes each. Names are read again only where the two differ.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from itertools import chain, islice
from typing import Any

import apache_beam as beam
import pyarrow.parquet as pq

from pipelines import files
from pipelines.inputs.kept import read_uris
from pipelines.inputs.patterns import DIGEST_BYTES, digest_of

# Digests of each kind that a bucket tells of, and names of each kind that people read.
SHOWN = 3
# Of how many rows on one machine those are compared at once whose digests fall together.
DIGESTS_AT_A_TIME = 10_000
MISSING, DOUBLED, FOREIGN = "inputs without a row", "rows too many of an input", "rows of no input"


@dataclass(frozen=True, slots=True)
class Difference:
    """Of one kind in one bucket: how many, and digests of the first of them."""

    kind: str
    count: int
    digests: tuple[bytes, ...]


def read_row_uris(part: files.Part, run_uri: str) -> Iterator[str]:
    """The uris of the rows of a written part; raises as files.read_part."""
    file = pq.ParquetFile(BytesIO(files.read_part(run_uri, asdict(part))))
    for batch in file.iter_batches(columns=["uri"]):
        yield from batch["uri"].to_pylist()


def put_in_buckets(uris: Iterable[str], buckets: int) -> Iterator[tuple[int, bytes]]:
    """Digests of uris, those of a bucket joined."""
    joined: dict[int, bytearray] = {}
    for digest in map(digest_of, uris):
        joined.setdefault(int.from_bytes(digest[:8]) % buckets, bytearray()).extend(digest)
    return ((bucket, bytes(digests)) for bucket, digests in joined.items())


def bucket_inputs(input_file: str, buckets: int) -> Iterator[tuple[int, bytes]]:
    """The inputs of a file, as put_in_buckets."""
    return put_in_buckets(read_uris(input_file), buckets)


def bucket_rows(part: files.Part, run_uri: str, buckets: int) -> Iterator[tuple[int, bytes]]:
    """The rows of a written part, as put_in_buckets."""
    return put_in_buckets(read_row_uris(part, run_uri), buckets)


def count_digests(joined: Iterable[bytes]) -> Counter[bytes]:
    """How often each digest is there."""
    return Counter(digests[at : at + DIGEST_BYTES] for digests in joined for at in range(0, len(digests), DIGEST_BYTES))


def find_differences(keyed: tuple[int, dict[str, Iterable[bytes]]]) -> Iterator[Difference]:
    """One bucket's inputs and rows -> where they differ.

    Two inputs whose uris look alike in print are two inputs, and have two rows.
    """
    _, found = keyed
    inputs, rows = count_digests(found["inputs"]), count_digests(found["rows"])
    extra = rows - inputs
    kinds = {
        MISSING: inputs - rows,
        DOUBLED: Counter({digest: count for digest, count in extra.items() if digest in inputs}),
        FOREIGN: Counter({digest: count for digest, count in extra.items() if digest not in inputs}),
    }
    for kind, digests in kinds.items():
        if digests:
            yield Difference(kind, digests.total(), tuple(islice(digests, SHOWN)))


def match_inputs(input_files: Sequence[str], parts: Sequence[files.Part], run_uri: str) -> Iterator[Difference]:
    """What MatchInputs does, on this machine: the differences between the inputs of some files and the rows of parts.

    All digests are in memory, 16 bytes for each input and each row.
    """
    buckets = -(-sum(part.rows for part in parts) // DIGESTS_AT_A_TIME) or 1
    inputs, rows = ([bytearray() for _ in range(buckets)] for _ in range(2))
    for side, put in (
        (inputs, chain.from_iterable(bucket_inputs(file, buckets) for file in input_files)),
        (rows, chain.from_iterable(bucket_rows(part, run_uri, buckets) for part in parts)),
    ):
        for bucket, digests in put:
            side[bucket].extend(digests)
    for bucket in range(buckets):
        yield from find_differences((bucket, {"inputs": [bytes(inputs[bucket])], "rows": [bytes(rows[bucket])]}))


def describe_differences(
    differences: Iterable[Difference], input_files: Sequence[str], parts: Sequence[files.Part], run_uri: str
) -> str:
    """How many inputs and rows do not match, by kind, and the names of the first; nothing where all do."""
    counts: Counter[str] = Counter()
    wanted: dict[str, list[bytes]] = {}
    for difference in differences:
        counts[difference.kind] += difference.count
        wanted.setdefault(difference.kind, []).extend(difference.digests)
    told = []
    for kind in sorted(counts):
        if kind == FOREIGN:
            uris = (uri for part in parts for uri in read_row_uris(part, run_uri))
        else:
            uris = (uri for file in input_files for uri in read_uris(file))
        digests = set(wanted[kind][:SHOWN])
        names = sorted({uri for uri in uris if digest_of(uri) in digests})
        more = ", ..." if counts[kind] > len(names) else ""
        told.append(f"; {kind}: {counts[kind]} ({', '.join(names)}{more})")
    return "".join(told)


@dataclass
class MatchInputs(beam.PTransform):
    """Parts as they were written -> Differences between their rows and the inputs; none where all is well.

    Args:
        input_files: uris of the files that list the inputs, a PCollection.
        run_uri: the run that the parts are of.
        buckets: how many, a number or a side input.
    """

    input_files: Any
    run_uri: str
    buckets: Any

    def expand(self, parts: beam.PCollection[files.Part]) -> beam.PCollection[Difference]:
        """One output."""
        sides = {
            "inputs": self.input_files | "InputUris" >> beam.FlatMap(bucket_inputs, self.buckets),
            "rows": parts | "RowUris" >> beam.FlatMap(bucket_rows, self.run_uri, self.buckets),
        }
        return sides | "Meet" >> beam.CoGroupByKey() | "Differences" >> beam.FlatMap(find_differences)
