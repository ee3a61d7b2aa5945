"""Tables of rows grouped by a key on this machine's disk, so that no more than one group is in memory."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
from pyarrow import ipc

# Tables are gathered up to so many rows before they are split: a file is written in few pieces.
ROWS_AT_A_TIME = 20_000
OPTIONS = ipc.IpcWriteOptions(compression="zstd")


@contextmanager
def make_room(run_uri: str) -> Iterator[Path]:
    """A folder on this machine while a run is at work: in the run's own if that is a local one."""
    with TemporaryDirectory(prefix="_spill-", dir=None if "://" in run_uri else run_uri) as folder:
        yield Path(folder)


def gather(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in fewer tables."""
    some: list[pa.Table] = []
    for table in tables:
        some.append(table)
        if sum(map(len, some)) >= ROWS_AT_A_TIME:
            yield pa.concat_tables(some)
            some = []
    if some:
        yield pa.concat_tables(some)


def spill(keyed: Iterable[tuple[Any, pa.Table]], folder: Path) -> dict[Any, Path]:
    """Write tables to the folder, those of each key to one file; returns the files by key.

    Each file is opened, added to and closed again: there may be more keys than a process may have open files.
    """
    paths: dict[Any, Path] = {}
    folder.mkdir()
    for key, table in keyed:
        path = paths.setdefault(key, folder / str(len(paths)))
        with path.open("ab") as file, ipc.new_stream(file, table.schema, options=OPTIONS) as stream:
            stream.write_table(table)
    return paths


def read_spilled(path: Path) -> Iterator[pa.Table]:
    """The tables of one file that spill wrote."""
    with pa.OSFile(str(path)) as file:
        while file.tell() < file.size():
            yield ipc.open_stream(file).read_all()


def group_on_disk(keyed: Iterable[tuple[Any, pa.Table]], folder: Path) -> Iterator[tuple[Any, Iterator[pa.Table]]]:
    """Tables -> each key with its tables, as GroupByKey gives them, one key after the other."""
    for key, path in spill(keyed, folder).items():
        yield key, read_spilled(path)
        path.unlink()
