"""The audit table: its schema, and a finished record -> its row."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from q1net_core import __version__, storage
from q1net_core.errors import ConfigError
from q1net_core.records import ImageRecord

SCHEMA_VERSION = 4
TIMESTAMP = pa.timestamp("us", tz="UTC")

AUDIT_SCHEMA = pa.schema(
    [
        pa.field("uri", pa.string(), nullable=False),
        ("group", pa.string()),
        pa.field("status", pa.string(), nullable=False),
        ("error", pa.string()),
        ("size_bytes", pa.int64()),
        ("version", pa.string()),
        ("modified", TIMESTAMP),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("format", pa.string()),
        ("mode", pa.string()),
        ("header_quality", pa.float32()),
        ("header_match", pa.string()),
        ("header_tables_md5", pa.string()),
        ("subsampling", pa.string()),
        ("progressive", pa.bool_()),
        ("lattice_quality", pa.float32()),
        ("lattice_margin", pa.float32()),
        ("lattice_match", pa.string()),
        ("lattice_level", pa.int32()),
        ("lattice_ties", pa.list_(pa.int32())),
        ("lattice_last_quality", pa.float32()),
        ("lattice_steps", pa.list_(pa.int32())),
        ("grid_x", pa.int8()),
        ("grid_y", pa.int8()),
        ("q1net_quality", pa.float32()),
        ("q1net_confidence", pa.float32()),
        ("q1net_spread", pa.float32()),
        pa.field("patches", pa.int32(), nullable=False),
        pa.field("patches_used", pa.int32(), nullable=False),
        ("patches_stop", pa.string()),
        ("quality", pa.float32()),
        ("quality_low", pa.float32()),
        ("quality_high", pa.float32()),
        ("quality_source", pa.string()),
        ("verdict", pa.string()),
        ("variant", pa.string()),
        ("weights_sha256", pa.string()),
        pa.field("q1net_version", pa.string(), nullable=False),
        pa.field("schema_version", pa.int32(), nullable=False),
        pa.field("processed_at", TIMESTAMP, nullable=False),
    ]
)

Row = dict[str, Any]


def audit_schema(carried: Sequence[str] = ()) -> pa.Schema:
    """AUDIT_SCHEMA with a text column for each carried one."""
    return pa.schema([*AUDIT_SCHEMA, *((name, pa.string()) for name in carried)])


def check_carried(names: Sequence[str]) -> None:
    """Raise ConfigError unless columns can be carried: each once, under a name that is none of the table's."""
    for place, name in enumerate(names):
        if name in AUDIT_SCHEMA.names or name in names[:place]:
            raise ConfigError(
                f"--carry has {name!r}, which is a column already; expected others: rename it in the manifest"
            )


def to_row(record: ImageRecord) -> Row:
    """A finished record -> one row of AUDIT_SCHEMA; nothing is decided here."""
    image, info, lattice, network = record.image, record.info, record.lattice, record.network
    header = info.header
    grid_x, grid_y = lattice.grid or (None, None)
    return dict.fromkeys(AUDIT_SCHEMA.names) | {
        "uri": storage.printable_uri(image.uri),
        "group": image.group,
        "status": record.status.value,
        "error": record.error,
        "size_bytes": image.size_bytes,
        "version": image.version,
        "modified": image.modified,
        "width": info.width,
        "height": info.height,
        "format": info.format,
        "mode": info.mode,
        "header_quality": header and header.quality,
        "header_match": header and header.match,
        "header_tables_md5": header and header.tables_md5,
        "subsampling": header and header.subsampling,
        "progressive": header and header.progressive,
        "lattice_quality": lattice.quality,
        "lattice_margin": lattice.margin,
        "lattice_match": lattice.match,
        "lattice_level": lattice.level,
        "lattice_ties": list(lattice.ties) or None,
        "lattice_last_quality": lattice.last_quality,
        "lattice_steps": list(lattice.steps) if lattice.steps and lattice.match == "custom" else None,
        "grid_x": grid_x,
        "grid_y": grid_y,
        "q1net_quality": network and network.quality,
        "q1net_confidence": network and network.confidence,
        "q1net_spread": network and network.spread,
        "patches": network.patches if network else 0,
        "patches_used": network.patches_used if network else 0,
        "patches_stop": network and network.stop and network.stop.value,
        "quality": record.answer.quality,
        "quality_low": record.answer.low,
        "quality_high": record.answer.high,
        "quality_source": record.answer.source,
        "verdict": record.verdict and record.verdict.value,
        "variant": network and network.variant,
        "weights_sha256": network and network.weights_sha256,
        "q1net_version": __version__,
        "schema_version": SCHEMA_VERSION,
        "processed_at": datetime.now(UTC),
        **dict(image.carried),
    }
