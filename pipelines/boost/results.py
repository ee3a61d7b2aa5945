"""Rows of all pictures -> means by level, BD-rates, a table and a diagram."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from matplotlib.figure import Figure

from pipelines.boost.measure import CODEC, DESIGNS, FILTER, PATTERNS, Row, curve_of
from q1net_core.boost.measures import bd_rate
from q1net_core.markdown import to_markdown
from q1net_core.png import to_png

NETS = ("net_db_codec", "net_db_filter", "net_msssim_codec", "net_msssim_filter")
SCHEMA = pa.schema(
    [
        ("uri", pa.string()),
        ("codec", pa.string()),
        ("level", pa.int32()),
        ("design", pa.string()),
        *((name, pa.int64()) for name in ("base_bytes", "side_bytes", "header_bytes")),
        *((name, pa.float64()) for name in ("bpp", "psnr", "msssim", *NETS)),
    ]
)


def sort_rows(rows: Sequence[Row]) -> list[Row]:
    """The same order whatever the order of the work."""
    return sorted(rows, key=lambda row: (row["uri"], row["codec"], row["level"], DESIGNS.index(row["design"])))


def summarise(rows: Sequence[Row], codec: str) -> dict[str, Any]:
    """Means over the pictures at each setting, and BD-rates of the curves of means.

    A gain is the mean over the pictures whose curves reach the rate; ``least`` is the smallest of these, ``positive``
    counts those above 0 dB.
    """
    keys = list(dict.fromkeys((row["codec"], row["design"], row["level"]) for row in sort_rows(rows)))
    means = []
    for key in keys:
        same = [row for row in rows if (row["codec"], row["design"], row["level"]) == key]
        mean: Row = dict(zip(("codec", "design", "level"), key, strict=True)) | {"pictures": len(same)}
        for name in ("bpp", "psnr", "msssim", *NETS):
            known = [row[name] for row in same if row[name] is not None]
            mean[name] = float(np.mean(known)) if known else None
        for name in NETS[:2]:
            known = [row[name] for row in same if row[name] is not None]
            mean[f"{name}_least"] = min(known) if known else None
            mean[f"{name}_positive"] = sum(value > 0 for value in known)
            mean[f"{name}_pictures"] = len(known)
        means.append(mean)
    return {"means": means, "bd_rates": bd_rates(means, codec)}


def bd_rates(means: Sequence[Row], codec: str) -> dict[str, Any]:
    """BD-rate in percent by PSNR, with the range of qualities that both curves have.

    Of each design over those before it, and of each other codec over the plain one.
    """
    curves = {design: curve_of(means, codec, design, "psnr") for design in DESIGNS}
    compared = [(FILTER, CODEC), (PATTERNS, CODEC), (PATTERNS, FILTER)]
    for name in dict.fromkeys(mean["codec"] for mean in means if mean["codec"] != codec):
        curves[name] = curve_of(means, name, CODEC, "psnr")
        compared.append((name, CODEC))
    rates = {}
    for other, base in compared:
        both = (curves[base], curves[other])
        if min(len(curve.qualities) for curve in both) > 1:
            rates[f"{other} over {base}"] = {
                "percent": bd_rate(*both),
                "from_db": max(curve.qualities[0] for curve in both),
                "to_db": min(curve.qualities[-1] for curve in both),
            }
    return rates


def render(summary: dict[str, Any], codec: str) -> str:
    """The summary as Markdown: a line for each level, a line for each BD-rate, and the other codecs' means."""
    designs = {(mean["design"], mean["level"]): mean for mean in summary["means"] if mean["codec"] == codec}
    cells = []
    for level in sorted({level for _, level in designs}, key=lambda level: designs[CODEC, level]["bpp"]):
        plain, control, patterns = (designs[design, level] for design in DESIGNS)
        cells.append(
            (
                str(level),
                f"{plain['bpp']:.4f}",
                f"{plain['psnr']:.2f}",
                signed(control["net_db_codec"]),
                signed(patterns["net_db_codec"]),
                signed(patterns["net_db_filter"]),
                signed(patterns["net_db_filter_least"]),
                f"{patterns['net_db_filter_positive']} of {patterns['net_db_filter_pictures']}",
                f"{patterns['bpp'] - control['bpp']:.4f}",
                signed(control["net_msssim_codec"]),
                signed(patterns["net_msssim_filter"]),
            )
        )
    header = (
        "level", "bpp", "dB", "filter over codec", "patterns over codec", "patterns over filter", "least", "above 0",
        "side bpp", "MS-SSIM filter over codec", "MS-SSIM patterns over filter",
    )  # fmt: skip
    lines = [to_markdown(header, cells), ""]
    for name, rate in summary["bd_rates"].items():
        if rate["percent"] is not None:
            ends = f"from {rate['from_db']:.1f} to {rate['to_db']:.1f} dB"
            lines.append(f"BD-rate, {name}: {rate['percent']:.2f} % {ends}")
    others = [mean for mean in summary["means"] if mean["codec"] != codec]
    if others:
        points = [(mean["codec"], str(mean["level"]), f"{mean['bpp']:.4f}", f"{mean['psnr']:.2f}") for mean in others]
        lines += ["", to_markdown(("codec", "level", "bpp", "dB"), points)]
    return "\n".join(lines)


def signed(value: float | None) -> str:
    """A gain in dB, or a dash."""
    return "-" if value is None else f"{value:+.3f}"


def draw(summary: dict[str, Any], codec: str) -> bytes:
    """Mean PSNR over mean bits per pixel, a line for each design and each reference, as PNG."""
    figure = Figure(figsize=(8, 5.5), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    lines = dict.fromkeys((mean["codec"], mean["design"]) for mean in summary["means"])
    for name, design in lines:
        curve = curve_of(summary["means"], name, design, "psnr")
        label = {CODEC: name, FILTER: f"{name} + filter", PATTERNS: f"{name} + filter + patterns"}[design]
        axes.plot(curve.rates, curve.qualities, ".-" if name == codec else ".--", linewidth=1, label=label)
    axes.set(xlabel="bits per pixel, whole file", ylabel="PSNR (dB)", xscale="log")
    axes.grid(alpha=0.3)
    axes.legend()
    return to_png(figure)
