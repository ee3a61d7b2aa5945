"""`q1net runs`: the runs of an output as a table, the newest first."""

import argparse
import sys
from datetime import datetime
from typing import Any

from pipelines import files, text
from pipelines.audit.listing import FoundRun, find_runs
from pipelines.audit.pieces import list_pieces
from pipelines.audit.run import read_rows
from q1net_core import storage
from q1net_core.errors import ConfigError, ImageError

HEADER = ("run", "state", "images", "rows", "carried", "statuses", "weights", "started", "took")


def describe_run(run: FoundRun) -> tuple[str, ...]:
    """A run as a line of the table."""
    about = run.committed or run.started or {}
    rows, carried, statuses = count_rows(run)
    return (
        run.run_id,
        "damaged" if run.damaged else "committed" if run.committed else "not committed",
        str(about.get("inputs", {}).get("listed", "-")),
        rows,
        carried,
        statuses,
        ", ".join(f"{used['variant']}@{used['sha256'][:8]}" for used in about.get("weights", [])) or "-",
        str(about.get("started_at", "-"))[:19],
        describe_time(about),
    )


def count_rows(run: FoundRun) -> tuple[str, str, str]:
    """Rows, how many of them were carried over, their statuses, as text; of an uncommitted run the rows kept so far."""
    if run.committed is None:
        kept = [read_rows(run.uri, listed, ["status"]) for listed in list_pieces(run.uri)]
        return str(sum(map(len, kept))), "-", "-"
    totals: dict[str, Any] = run.committed["totals"]
    statuses = files.read_json(storage.join(run.uri, "summary.json"))["total"]["statuses"]
    return (
        str(totals["rows"]),
        str(totals.get("carried", 0)),
        ", ".join(f"{name} {count}" for name, count in statuses.items()),
    )


def describe_time(about: files.JSON) -> str:
    """How long a run took from its start to its commit; ``-`` where one of them is not known."""
    if not {"started_at", "committed_at"} <= about.keys():
        return "-"
    start, end = (datetime.fromisoformat(about[key]) for key in ("started_at", "committed_at"))
    return str(end - start).partition(".")[0]


def make_parser() -> argparse.ArgumentParser:
    """The command's flags."""
    parser = argparse.ArgumentParser(
        prog="q1net runs", description="List the runs of an output, the newest first.", allow_abbrev=False
    )
    parser.add_argument("output", metavar="OUTPUT", help="the folder that audits were given; local, gs://, s3://, ...")
    return parser


def run(argv: list[str]) -> int:
    """The command; exit status 0 only if there is a committed run."""
    output = make_parser().parse_args(argv).output
    try:
        runs = list(find_runs(output))
        if not runs:
            raise ConfigError(f"no run in {output}; expected a folder that an audit was given as --output")
        print(text.render_table(HEADER, [describe_run(found) for found in runs]))
    except (ConfigError, ImageError) as error:
        print(f"q1net runs: {error}", file=sys.stderr)
        return 2
    for found in runs:
        if found.damaged:
            print(f"q1net runs: {found.run_id} is damaged: {found.damaged}", file=sys.stderr)
    return 0 if any(found.committed for found in runs) else 1
