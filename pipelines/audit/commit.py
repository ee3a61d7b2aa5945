"""The commit of a run whose pieces are all there, on this machine: what CommitRun does, in little memory."""

from collections.abc import Sequence
from itertools import chain

from pipelines import files
from pipelines.audit.accounting import match_inputs
from pipelines.audit.parts import count_parts, name_parts, write_part
from pipelines.audit.pieces import name_pieces, read_piece
from pipelines.audit.run import commit_run
from pipelines.audit.spill import gather, group_on_disk, make_room
from q1net_core.metrics import AuditSummary


def commit_pieces(
    run_uri: str, expected: int, about: files.JSON, input_files: Sequence[str], by_group: bool = False, carried: int = 0
) -> str:
    """Write the parts of a run from its pieces, one at a time, and commit it; returns its uri.

    The arguments are those of CommitRun, ``carried`` of the rows are from earlier runs.

    Raises:
        RuntimeError: rows are missing, doubled or of no input; nothing is committed.
    """
    count = count_parts(expected)
    parts: list[files.Part] = []
    summary = AuditSummary()
    with make_room(run_uri) as room:
        pieces = gather(read_piece(name, run_uri) for name in name_pieces(run_uri))
        named = chain.from_iterable(name_parts(table, count, by_group) for table in pieces)
        for rows in group_on_disk(named, room / "parts"):
            part, of_part = write_part(rows, run_uri)
            parts.append(part)
            summary += of_part
    differences = list(match_inputs(input_files, parts, run_uri))
    return commit_run(run_uri, parts, summary, expected, about, carried, differences, input_files)
