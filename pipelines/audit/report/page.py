"""A run's summary and findings -> one HTML page that needs nothing else: no network, no other file."""

from base64 import b64encode
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined

from pipelines import text
from pipelines.audit.report.charts import draw_agreement, draw_histogram
from pipelines.audit.report.gather import Gathered, Row
from q1net_core.records import Verdict

# Groups with a histogram of their own; all of them are in the table.
HISTOGRAMS = 12
# Error messages shown of each status.
ERRORS_SHOWN = 5

# A row of the audit table -> a JPEG of the image with its patches, or None where the image cannot be read any more.
Picture = Callable[[Row], bytes | None]


def render_page(run: dict[str, Any], summary: dict[str, Any], found: Gathered, run_uri: str, picture: Picture) -> str:
    """The page of a run from its `_run.json`, its summary.json and what was gathered from its rows."""
    source = (files("pipelines.audit.report") / "page.html.j2").read_text("utf-8")
    template = Environment(autoescape=True, undefined=StrictUndefined).from_string(source)
    total = summary["total"]
    groups = [group for group in summary["groups"] if group["group"] is not None]
    largest = sorted(groups, key=lambda group: (-group["images"], group["group"]))[:HISTOGRAMS]
    return template.render(
        title="How hard were these images compressed?",
        run_uri=run_uri,
        made=f"committed {run['committed_at'][:19].replace('T', ' ')} UTC, q1net {run['versions']['q1net_version']}",
        tiles=list_tiles(total),
        histograms=[
            draw_histogram(total["quality_histogram"], "all images"),
            *(draw_histogram(group["quality_histogram"], group["group"]) for group in largest),
        ],
        more_groups=len(groups) - len(largest),
        groups=tabulate_groups([*groups, total | {"group": "all"}]),
        agreement=draw_agreement(found.agreement) if found.agreement.any() else None,
        sections=[
            {
                "title": "Compressed hardest",
                "text": "The images with the lowest quality. Each disc is a patch: red is low quality, green is high, "
                "larger discs are surer.",
                "cards": [make_card(row, picture) for row in found.hardest],
            },
            {
                "title": "Least sure",
                "text": "The images whose patches disagree most about the quality.",
                "cards": [make_card(row, picture) for row in found.least_sure],
            },
        ],
        failures=list_failures(found),
    )


def list_tiles(total: dict[str, Any]) -> list[tuple[str, str]]:
    """The figures at the top of the page, as (name, value)."""
    ok = total["statuses"].get("ok", 0)
    verdicts = [(name, total["verdicts"][name]) for name in Verdict if total["verdicts"].get(name)]
    return [
        ("images", f"{total['images']:,}"),
        ("with an answer", text.percent(total["answered"], total["images"])),
        ("median quality", text.number(total["quality_percentiles"]["50"], 0)),
        *((name, text.percent(count, ok)) for name, count in verdicts),
        ("failed", text.percent(total["images"] - ok, total["images"])),
    ]


def tabulate_groups(groups: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Header and rows of the table of groups; verdicts that no image has are left out.

    Shares of verdicts are of the images that were decoded, as in the tiles.
    """
    verdicts = [verdict for verdict in Verdict if any(group["verdicts"].get(verdict) for group in groups)]
    rows = [
        (
            group["group"],
            f"{group['images']:,}",
            # A level and its share stay on one line.
            text.dominant_levels(group["quality_histogram"]).replace(" (", "\xa0(").replace(" %", "\xa0%"),
            *(text.number(group["quality_percentiles"][share], 0) for share in ("10", "50", "90")),
            *(text.percent(group["verdicts"].get(verdict, 0), group["statuses"].get("ok", 0)) for verdict in verdicts),
            text.percent(group["images"] - group["statuses"].get("ok", 0), group["images"]),
        )
        for group in groups
    ]
    return {"header": ("group", "images", "levels", "p10", "median", "p90", *verdicts, "failed"), "rows": rows}


def make_card(row: Row, picture: Picture) -> dict[str, str | None]:
    """One image: its picture as base64, its answer in a line, its uri."""
    shown = picture(row)
    header = "" if row["header_quality"] is None else f", header says {text.number(row['header_quality'], 0)}"
    return {
        "uri": row["uri"],
        "line": f"{text.number(row['quality'])} ({row['quality_source']}), {row['verdict']}{header}",
        "picture": None if shown is None else b64encode(shown).decode(),
    }


def list_failures(found: Gathered) -> list[dict[str, Any]]:
    """Each status with its most frequent messages, the most frequent first."""
    return [
        {"status": status, "images": count, "error": message}
        for status, messages in sorted(found.errors.items())
        for message, count in messages.most_common(ERRORS_SHOWN)
    ]
