import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from q1net_core.boost.container import (
    FIXED,
    BoostFile,
    noise_byte,
    noise_level,
    pack_varint,
    parse_file,
    read_varint,
)
from q1net_core.errors import ImageError
from q1net_core.records import Status

MOST = 1_000_000
FILE = BoostFile("jpeg", 480, 640, 77, b"\1\2\3\4", b"stream" * 40, True, b"indices")


def with_checksum(body: bytes) -> bytes:
    return body + struct.pack(">I", zlib.crc32(body))


def changed(at: int, content: bytes) -> bytes:
    """The file with other bytes at a place, and a checksum that fits."""
    body = FILE.to_bytes()[:-4]
    return with_checksum(body[:at] + content + body[at + len(content) :])


def status_of(encoded: bytes, most: int = MOST) -> Status:
    with pytest.raises(ImageError) as caught:
        parse_file(encoded, most)
    assert "\n" not in str(caught.value)
    return caught.value.status


@given(
    height=st.integers(8, 65_535),
    width=st.integers(8, 65_535),
    noise=st.integers(0, 255),
    stream=st.binary(min_size=1, max_size=300),
    indices=st.none() | st.binary(max_size=50),
    filtered=st.booleans(),
)
def test_a_file_comes_back(
    height: int, width: int, noise: int, stream: bytes, indices: bytes | None, filtered: bool
) -> None:
    file = BoostFile("jpeg2000", height, width, noise, b"abcd", stream, filtered, indices)
    encoded = file.to_bytes()
    assert parse_file(encoded, 1 << 32) == file
    assert len(encoded) - len(stream) - len(indices or b"") <= 22


@given(st.integers(0, (1 << 35) - 1))
def test_a_varint_comes_back(value: int) -> None:
    packed = pack_varint(value)
    assert read_varint(b"x" + packed + b"y", 1) == (value, 1 + len(packed))


def test_a_file_cut_anywhere_is_refused() -> None:
    encoded = FILE.to_bytes()
    assert status_of(b"") is Status.EMPTY
    assert {status_of(encoded[:length]) for length in range(1, len(encoded))} == {Status.CORRUPT}
    assert status_of(encoded + b"\0") is Status.CORRUPT


def test_any_flipped_bit_is_noticed() -> None:
    encoded = FILE.to_bytes()
    for place in range(len(encoded)):
        for bit in (1, 128):
            flipped = bytearray(encoded)
            flipped[place] ^= bit
            assert status_of(bytes(flipped)) is Status.CORRUPT


@pytest.mark.parametrize(
    ("at", "content", "status"),
    [
        (0, b"PNG?", Status.CORRUPT),
        (4, b"\2", Status.UNSUPPORTED),
        (5, b"\x63", Status.UNSUPPORTED),
        (6, b"\x81", Status.UNSUPPORTED),
        (8, struct.pack(">HH", 7, 480), Status.TOO_SMALL),
        (8, struct.pack(">HH", 640, 0), Status.TOO_SMALL),
        (8, struct.pack(">HH", 65_535, 65_535), Status.TOO_LARGE),
        (FIXED.size, b"\xff\xff\xff\xff\xff", Status.CORRUPT),
        (FIXED.size, b"\0", Status.CORRUPT),
        (FIXED.size, b"\xff\x7f", Status.CORRUPT),
        (6, b"\1", Status.CORRUPT),
    ],
)
def test_headers_that_cannot_be_are_refused_before_anything_is_allocated(
    at: int, content: bytes, status: Status
) -> None:
    assert status_of(changed(at, content)) is status


def test_the_noise_is_told_to_a_tenth_of_a_decibel() -> None:
    for psnr in (10.0, 27.57, 36.04, 60.9):
        level, rmse = noise_level(noise_byte(psnr))
        assert abs(level - psnr) <= 0.1001
        assert rmse == pytest.approx(255 / 10 ** (level / 20))
    assert (noise_byte(-5), noise_byte(100)) == (0, 255)
