"""Results of an evaluation as files: Markdown, Parquet, and what the command prints."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines import text

Row = dict[str, Any]
Cells = list[tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Rendered:
    """What a study shows: text for the ``screen``, and the content of ``files`` by name."""

    screen: str
    files: dict[str, bytes]


def to_text(*paragraphs: str) -> bytes:
    """Paragraphs as the content of a text file."""
    return ("\n\n".join(paragraphs) + "\n").encode()


def to_parquet(rows: Sequence[Row], schema: pa.Schema) -> bytes:
    """Rows as the content of a Parquet file; fields that a row lacks are null."""
    buffer = BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows), schema), buffer, compression="zstd")
    return buffer.getvalue()


def percent(share: float | None, digits: int = 1) -> str:
    """A share 0-1 as percent."""
    return text.number(None if share is None else 100 * share, digits)


def describe_corpus(statistics: Row) -> str:
    """What several candidates were evaluated on, and with which version, in a few words."""
    levels = len(statistics["arguments"]["levels"])
    return f"{statistics['images']} lossless images at {levels} levels, q1net {statistics['versions']['q1net']}"


def name_estimator(statistics: Row) -> str:
    """What was evaluated, in a word or two."""
    variant = statistics["variant"]
    names = {"q1net": variant, "lattice": "lattice", "combined": f"lattice, else {variant}"}
    return str(names[statistics["arguments"]["estimator"]])


def describe_estimator(statistics: Row) -> str:
    """What was evaluated, in one line."""
    about = [name_estimator(statistics)]
    if statistics["variant"]:
        about[0] += f" ({statistics['weights_sha256'][:12]})"
        about += [f"fusion {statistics['fusion']}", f"threshold {statistics['threshold']:g}"]
    about += [f"{statistics['images']} lossless images", f"q1net {statistics['versions']['q1net']}"]
    return ", ".join(about + describe_patches(statistics))


def describe_patches(statistics: Row) -> list[str]:
    """How many patches an image gave to the network, if there is one."""
    return [f"{statistics['arguments']['patches']} patches"] if statistics["variant"] else []
