"""The columns of shards, and the bytes of one Parquet file of them."""

from io import BytesIO

import pyarrow as pa
import pyarrow.parquet as pq

from q1net_core.patches import PATCH

PATCH_BYTES = PATCH * PATCH * 3
# Readers take one row group at a time: 6 MB of patches.
ROWS_PER_GROUP = 8192

SHARD_SCHEMA = pa.schema(
    [
        pa.field("patch", pa.binary(PATCH_BYTES), nullable=False),
        pa.field("level", pa.int16(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("y", pa.int32(), nullable=False),
        pa.field("x", pa.int32(), nullable=False),
        pa.field("phase_y", pa.int8(), nullable=False),
        pa.field("phase_x", pa.int8(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
    ]
)


def encode_parquet(table: pa.Table) -> bytes:
    """One Parquet file, zstd; the same table gives the same bytes."""
    buffer = BytesIO()
    few = [name for name in table.column_names if name != "patch"]
    pq.write_table(
        table,
        buffer,
        compression="zstd",
        row_group_size=ROWS_PER_GROUP,
        use_dictionary=few,
        write_statistics=few,
    )
    return buffer.getvalue()
