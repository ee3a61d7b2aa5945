"""After the commit: what people read, the report, and the exit status."""

import sys
from collections.abc import Sequence
from datetime import datetime
from itertools import islice

from pipelines import files, text
from pipelines.audit.report.command import write_report
from pipelines.audit.run import open_run, read_parts, read_run
from q1net_core import storage
from q1net_core.errors import ConfigError, ImageError

# Up to here people see every image on the screen; beyond, the summary.
IMAGES_SHOWN = 40
# Images that --fail-on names.
FOUND_SHOWN = 5
# Exit statuses of a run that is committed.
NO_REPORT, FAILED, FOUND = 1, 1, 3


def close_run(run_uri: str, with_report: bool, fail_on: Sequence[str]) -> int:
    """Print a committed run, write its report; returns the exit status."""
    summary = files.read_json(storage.join(run_uri, "summary.json"))
    if summary["total"]["images"] <= IMAGES_SHOWN:
        print(text.render_images(read_run(run_uri).to_pylist()), end="\n\n")
    print(text.render_summary(summary))
    print(f"run: {run_uri}")
    print(describe_speed(open_run(run_uri)), file=sys.stderr)
    if with_report:
        try:
            write_report(run_uri, storage.join(run_uri, "report.html"))
        except (ConfigError, ImageError, OSError) as error:
            print(f"q1net audit: the run is committed, but its report is not written: {error}", file=sys.stderr)
            return NO_REPORT
    if failed := open_run(run_uri).get("failed"):
        print(f"q1net audit: the run failed, its rows are kept: {failed}", file=sys.stderr)
        return FAILED
    if any(summary["total"]["verdicts"].get(verdict) for verdict in fail_on):
        print(f"q1net audit: {describe_found(run_uri, summary['total']['verdicts'], fail_on)}", file=sys.stderr)
        return FOUND
    return 0


def describe_speed(run: files.JSON) -> str:
    """How many images a run judged in which time, from its start to its commit: listing and start-up are in it."""
    start, end = (datetime.fromisoformat(run[key]) for key in ("started_at", "committed_at"))
    seconds = max((end - start).total_seconds(), 1e-3)
    judged, carried = run["totals"]["rows"] - run["totals"]["carried"], run["totals"]["carried"]
    kept = f", {carried} rows carried over" if carried else ""
    return f"{judged} images judged in {seconds:.0f} s, {judged / seconds:.1f} images per second{kept}"


def describe_found(run_uri: str, verdicts: dict[str, int], fail_on: Sequence[str]) -> str:
    """How many images have a verdict that must not be, and the first of them."""
    counts = ", ".join(f"{verdicts[verdict]} {verdict}" for verdict in fail_on if verdicts.get(verdict))
    found = (
        uri
        for part in read_parts(run_uri, ["uri", "verdict"])
        for uri, verdict in zip(part["uri"].to_pylist(), part["verdict"].to_pylist(), strict=True)
        if verdict in fail_on
    )
    shown = list(islice(found, FOUND_SHOWN + 1))
    more = ", ..." if len(shown) > FOUND_SHOWN else ""
    return f"--fail-on finds {counts}: {', '.join(shown[:FOUND_SHOWN])}{more}"
