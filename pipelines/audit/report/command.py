"""`q1net report`: a committed run as one HTML page; `q1net audit` writes the same page into its run."""

import argparse
import sys
from dataclasses import fields
from functools import partial

from pipelines import files
from pipelines.audit.report.gather import COLUMNS, gather
from pipelines.audit.report.pictures import draw_picture
from pipelines.audit.run import open_run, read_parts
from q1net_core import storage
from q1net_core.errors import ConfigError, ImageError
from q1net_core.settings import EstimatorSettings


def write_report(run_uri: str, output: str) -> None:
    """Write the page of a committed run to ``output``.

    Raises:
        ConfigError: the run is not committed, damaged, or the page cannot be written.
    """
    # Its charts' library takes a second to load: whoever starts an audit has time for that after the rows.
    from pipelines.audit.report.page import render_page

    try:
        run = open_run(run_uri)
        summary = files.read_json(storage.join(run_uri, "summary.json"))
        arguments, known = run["arguments"], (field.name for field in fields(EstimatorSettings))
        # Runs of older versions have fewer arguments.
        settings = EstimatorSettings(**{name: arguments[name] for name in known if name in arguments})
        found = gather(read_parts(run_uri, COLUMNS))
    except (FileNotFoundError, ValueError, ImageError) as error:
        raise ConfigError(f"{error}; expected the run_id=... folder of a finished q1net audit") from error
    page = render_page(run, summary, found, storage.printable_uri(run_uri), partial(draw_picture, settings=settings))
    storage.write_bytes(output, page.encode())


def make_parser() -> argparse.ArgumentParser:
    """The command's flags."""
    parser = argparse.ArgumentParser(
        prog="q1net report", description="Write a self-contained HTML page about a run.", allow_abbrev=False
    )
    parser.add_argument("run", metavar="RUN_URI", help="the run_id=... folder of a finished audit")
    parser.add_argument("--output", required=True, metavar="FILE.html", help="the page; local, gs://, s3://, ...")
    return parser


def run(argv: list[str]) -> int:
    """The command; exit status 0 only when the page is written."""
    options = make_parser().parse_args(argv)
    try:
        write_report(options.run, options.output)
    except (ConfigError, ImageError) as error:
        print(f"q1net report: {error}", file=sys.stderr)
        return 2
    print(f"report: {options.output}")
    return 0
