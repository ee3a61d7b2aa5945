"""The bytes of one TFRecord file of tf.train.Example, written without TensorFlow, whose import costs seconds."""

import struct
from functools import lru_cache

import google_crc32c
import pyarrow as pa

ROWS_AT_A_TIME = 8192


def encode_tfrecord(table: pa.Table) -> bytes:
    """One TFRecord file of tf.train.Example, one feature for each column."""
    names = sorted(table.column_names)
    batches = table.select(names).to_batches(max_chunksize=ROWS_AT_A_TIME)
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
