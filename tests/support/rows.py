"""Rows of an audit of the corpus: by a plain loop without Beam, or by the command; and whether they are the same."""

import math
from collections import Counter
from collections.abc import Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.audit.command import audit
from pipelines.audit.config import parse
from pipelines.audit.run import read_run
from pipelines.audit.table import AUDIT_SCHEMA, to_row
from pipelines.files import read_json
from pipelines.inputs import list_inputs
from pipelines.runtime.counters import DISTRIBUTIONS
from q1net_core.estimator import estimate_image
from q1net_core.settings import EstimatorSettings

Row = dict[str, Any]
SETTINGS = EstimatorSettings(patches=16)
FLOATS_WITHIN = 1e-4


def plain_rows(corpus: Path) -> list[Row]:
    """Rows by a plain loop, in the table's types."""
    weights = SETTINGS.pin_all(SETTINGS.read_weights())
    rows = [to_row(estimate_image(image, SETTINGS, weights)) for image in list_inputs([str(corpus)])]
    return list(pa.Table.from_pylist(rows, AUDIT_SCHEMA).to_pylist())


def audited_rows(inputs: Sequence[str | Path], output: Path, flags: Sequence[str]) -> list[Row]:
    """Rows by the command."""
    config, options = parse([*map(str, inputs), f"--output={output}", f"--patches={SETTINGS.patches}", *flags])
    return list(read_run(audit(config, options)).to_pylist())


def check_rows(found: list[Row], expected: list[Row]) -> None:
    """Fail, with the differences, unless all rows are the same but for the time of processing."""
    found, expected = (sorted(rows, key=itemgetter("uri")) for rows in (found, expected))
    assert Counter(row["uri"] for row in found) == Counter(row["uri"] for row in expected)
    different = [
        (row["uri"], name, row[name], wanted[name])
        for row, wanted in zip(found, expected, strict=True)
        for name in wanted.keys() | row.keys()
        if name != "processed_at" and not same(row[name], wanted[name])
    ]
    assert different == [], different[:5]


def read_counts(output: Path) -> dict[str, Any]:
    """The counters and distributions of the one run of a folder."""
    (path,) = output.glob("run_id=*/counters.json")
    return read_json(str(path))


def check_counts(output: Path, expected: list[Row]) -> None:
    """Fail unless the one run of a folder counted what its rows say, and measured what engines are to measure."""
    counted = read_counts(output)
    statuses = Counter(f"rows_{row['status']}" for row in expected)
    patches = {name: sum(row[name] or 0 for row in expected) for name in ("patches", "patches_used")}
    judged = sum(row["variant"] is not None for row in expected)
    wanted = {"images_listed": len(expected), "rows": len(expected), **statuses, **patches, "num_inferences": judged}
    assert {name: counted[name] for name in wanted} == wanted
    assert counted["bytes_read"] > 0
    assert counted.keys() >= DISTRIBUTIONS.keys()
    assert counted["lattice_usec"]["count"] == statuses["rows_ok"]
    assert counted["inference_request_batch_size"]["sum"] == judged


def same(value: Any, wanted: Any) -> bool:
    """Whether two values are equal, floats nearly."""
    if isinstance(value, float) and isinstance(wanted, float):
        return math.isclose(value, wanted, rel_tol=0, abs_tol=FLOATS_WITHIN)
    return bool(value == wanted)
