"""What commands print for people: plain text tables."""

from collections.abc import Sequence
from typing import Any

from q1net_core.records import Verdict

BAR_WIDTH = 40
# Histogram lines of a summary: rounded qualities low..high, the ends included; together all of 0..100.
BINS = ((0, 10), *((low, low + 9) for low in range(11, 91, 10)), (91, 95), (96, 100))


def render_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell, the first one aligned left, the others right."""
    widths = [max(len(line[column]) for line in [header, *rows]) for column in range(len(header))]
    lines = [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in [header, *rows]
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def number(value: float | None, digits: int = 1) -> str:
    """A number, or ``-`` where there is none."""
    return "-" if value is None else f"{value:.{digits}f}"


def percent(count: int, total: int) -> str:
    """A share in percent without decimals, ``-`` of nothing; what is neither none nor all never looks so.

    >>> percent(1, 3), percent(1, 1000), percent(999, 1000), percent(0, 0)
    ('33 %', '<1 %', '>99 %', '-')
    """
    if not total:
        return "-"
    rounded = round(100 * count / total)
    if count and not rounded:
        return "<1 %"
    return ">99 %" if count < total and rounded == 100 else f"{rounded} %"


def dominant_levels(histogram: Sequence[int], shown: int = 3) -> str:
    """The most frequent answers with their shares; ``histogram[q]`` counts the answers that round to q, 0..100.

    >>> dominant_levels([0] * 80 + [93, 0, 0, 0, 0, 4] + [0] * 15)
    '80 (96 %), 85 (4 %)'
    """
    total = sum(histogram)
    levels = sorted((level for level, count in enumerate(histogram) if count), key=lambda level: -histogram[level])
    return ", ".join(f"{level} ({percent(histogram[level], total)})" for level in levels[:shown]) or "-"


def render_images(rows: Sequence[dict[str, Any]]) -> str:
    """One line per row of the audit table: the answer beside what the file itself says."""
    prefix = len(common_folder([row["uri"] for row in rows]))
    cells = [
        (
            row["uri"][prefix:],
            row["status"],
            row["format"] or "-",
            number(row["header_quality"], 0),
            number(row["lattice_quality"], 0),
            number(row["q1net_quality"]),
            number(row["quality"]),
            row["verdict"] or "-",
        )
        for row in rows
    ]
    return render_table(("image", "status", "format", "header", "lattice", "q1net", "quality", "verdict"), cells)


def common_folder(uris: Sequence[str]) -> str:
    """What all uris begin with, up to a slash."""
    if not uris:
        return ""
    first, last = min(uris), max(uris)
    same = next((place for place, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1]), len(first))
    return first[: first.rfind("/", 0, same) + 1]


def render_summary(summary: dict[str, Any]) -> str:
    """A run's summary.json: images by status, answers by quality, and a line per group where there are groups."""
    total = summary["total"]
    statuses, verdicts = (render_shares(total[kind]) for kind in ("statuses", "verdicts"))
    lines = [f"{total['images']} images: {statuses}", f"verdicts: {verdicts or 'none'}", "", render_histogram(total)]
    groups = summary["groups"] if any(group["group"] is not None for group in summary["groups"]) else []
    if groups:
        lines += ["", render_groups(groups)]
    lines += ["", render_levels([total | {"group": "all"}, *groups])]
    # Summaries of older runs name no errors.
    if errors := summary.get("errors"):
        lines += ["", render_errors(errors, total["statuses"])]
    return "\n".join(lines)


def render_errors(errors: dict[str, list[dict[str, str]]], statuses: dict[str, int]) -> str:
    """The first images of each status that have no estimate, a line each, and how many more there are."""
    lines = []
    for status, found in errors.items():
        lines += [f"{status}: {error['uri']}: {error['error']}" for error in found]
        if (more := statuses[status] - len(found)) > 0:
            lines.append(f"{status}: and {more} more")
    return "\n".join(lines)


def render_shares(counts: dict[str, int]) -> str:
    """Counts by name with their shares of all.

    >>> render_shares({"corrupt": 1, "ok": 3})
    'corrupt 1 (25 %), ok 3 (75 %)'
    """
    total = sum(counts.values())
    return ", ".join(f"{name} {count} ({percent(count, total)})" for name, count in counts.items())


def render_levels(groups: Sequence[dict[str, Any]]) -> str:
    """One line per group: its most frequent levels with their shares of its answers."""
    names = [group["group"] or "(no group)" for group in groups]
    width = max(map(len, names))
    return "\n".join(
        f"{'levels' if place == 0 else '':<8}{name:<{width}}  {dominant_levels(group['quality_histogram'])}"
        for place, (name, group) in enumerate(zip(names, groups, strict=True))
    )


def render_histogram(total: dict[str, Any]) -> str:
    """Answers by quality as bars, with the images that were decoded but got no answer."""
    counts = {f"{low}-{high}": sum(total["quality_histogram"][low : high + 1]) for low, high in BINS}
    counts["none"] = total["statuses"].get("ok", 0) - total["answered"]
    most = max(counts.values()) or 1
    return "\n".join(
        f"{'quality' if place == 0 else '':<8}{label:>7}  {'#' * round(BAR_WIDTH * count / most):<{BAR_WIDTH}} {count}"
        for place, (label, count) in enumerate(counts.items())
    )


def render_groups(groups: Sequence[dict[str, Any]]) -> str:
    """One line per group: images, answers, the 10th, 50th and 90th percentile of their quality, verdicts."""
    cells = [
        (
            group["group"] or "(no group)",
            str(group["images"]),
            str(group["answered"]),
            *(number(group["quality_percentiles"][share], 0) for share in ("10", "50", "90")),
            *(str(group["verdicts"].get(verdict, 0)) for verdict in Verdict),
        )
        for group in groups
    ]
    return render_table(("group", "images", "answered", "p10", "median", "p90", *Verdict), cells)
