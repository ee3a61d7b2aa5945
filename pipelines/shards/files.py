"""Rows of training shards -> the bytes of one Parquet or TFRecord file: sorted, reproducible, without TensorFlow."""

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO

import google_crc32c
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from q1net_core.codecs.positions import phases_of
from q1net_core.patches import PATCH, IntArray
from q1net_core.records import UInt8Array

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


@dataclass(frozen=True, slots=True)
class ShardRows:
    """Some rows of one image, packed: ``keys`` uint64 [N] are their order in the shard, ``places`` int [N, 2]."""

    source: str
    split: str
    keys: npt.NDArray[np.uint64]
    levels: npt.NDArray[np.int16]
    places: IntArray
    patches: UInt8Array


def to_table(packed: Iterable[ShardRows]) -> pa.Table:
    """The rows of one shard in order of their keys, whatever the order in which they arrive."""
    parts = sorted(packed, key=lambda rows: (rows.source, int(rows.keys[0])))
    order = np.argsort(np.concatenate([rows.keys for rows in parts]), kind="stable")
    lengths = [len(rows.keys) for rows in parts]
    patches = np.concatenate([rows.patches for rows in parts])[order]
    places = np.concatenate([rows.places for rows in parts])[order]
    phases = phases_of(places)
    columns = {
        "patch": pa.Array.from_buffers(pa.binary(PATCH_BYTES), len(order), [None, pa.py_buffer(patches)]),
        "level": np.concatenate([rows.levels for rows in parts])[order],
        "source": np.repeat(np.array([rows.source for rows in parts], object), lengths)[order],
        "y": places[:, 0],
        "x": places[:, 1],
        "phase_y": phases[:, 0],
        "phase_x": phases[:, 1],
        "split": np.repeat(np.array([rows.split for rows in parts], object), lengths)[order],
    }
    arrays = [
        column if isinstance(column, pa.Array) else pa.array(column, SHARD_SCHEMA.field(name).type)
        for name, column in columns.items()
    ]
    return pa.Table.from_arrays(arrays, schema=SHARD_SCHEMA)


def encode_parquet(table: pa.Table) -> bytes:
    """One Parquet file, zstd."""
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


def encode_tfrecord(table: pa.Table) -> bytes:
    """One TFRecord file of tf.train.Example, one feature for each column."""
    names = sorted(table.column_names)
    batches = table.select(names).to_batches(max_chunksize=ROWS_PER_GROUP)
    rows = (row for batch in batches for row in zip(*(column.to_pylist() for column in batch), strict=True))
    return b"".join(frame(encode_example(names, row)) for row in rows)


def frame(record: bytes) -> bytes:
    """A TFRecord: length, its checksum, the record, its checksum; all little-endian."""
    length = struct.pack("<Q", len(record))
    return b"".join([length, masked_crc(length), record, masked_crc(record)])


def masked_crc(data: bytes) -> bytes:
    """TFRecord's checksum: CRC-32C, rotated by 15 bits, plus a constant."""
    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def encode_example(names: list[str], values: tuple[bytes | str | int, ...]) -> bytes:
    """A tf.train.Example in protobuf's wire format, features in the order given."""
    entries = (
        encode_entry(name, value) if isinstance(value, bytes) else cached_entry(name, value)
        for name, value in zip(names, values, strict=True)
    )
    return field(1, b"".join(entries))


def encode_entry(name: str, value: bytes | str | int) -> bytes:
    """One entry of the map from names to features: a bytes_list (1) or an int64_list (3) of one value."""
    if isinstance(value, int):
        feature = field(3, field(1, varint(value)))
    else:
        feature = field(1, field(1, value.encode() if isinstance(value, str) else value))
    return field(1, field(1, name.encode()) + field(2, feature))


# Levels, sources and coordinates repeat from row to row.
cached_entry = lru_cache(maxsize=1 << 16)(encode_entry)


def field(number: int, payload: bytes) -> bytes:
    """A length-delimited protobuf field."""
    return bytes([number << 3 | 2]) + varint(len(payload)) + payload


def varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; negative numbers as 64-bit two's complement."""
    value &= (1 << 64) - 1
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


FORMATS: dict[str, Callable[[pa.Table], bytes]] = {"parquet": encode_parquet, "tfrecord": encode_tfrecord}
