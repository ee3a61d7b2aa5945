"""The file of a boosted picture: header, base stream, pattern indices, checksum.

Layer: standard library; no numpy, no keras, no beam, no pyarrow.

    Q1BP | version u8 | base codec u8 | flags u8 | noise u8 | width u16 | height u16 | model, 4 bytes of its sha256 |
    length of the base stream, varint | base stream | pattern indices | CRC-32 of all before, u32

Numbers are big-endian; a varint has 7 bits a byte, the lowest first, the high bit says that more follow.
"""

import struct
import zlib
from dataclasses import dataclass

from q1net_core.boost.bases import BASES
from q1net_core.errors import ImageError
from q1net_core.records import Status

MAGIC, VERSION = b"Q1BP", 1
FIXED = struct.Struct(">4sBBBBHH4s")
CHECKSUM = struct.Struct(">I")
FILTER, PATTERNS = 1, 2
# Sides in pixels: a block, and what 16 bits hold.
LEAST_SIDE, MOST_SIDE = 8, 65_535
VARINT_BYTES = 5
# The PSNR of the base in steps of 0.2 dB, from 10 dB.
NOISE_STEP, LEAST_PSNR = 0.2, 10.0
CODES = {base.code: name for name, base in BASES.items()}


@dataclass(frozen=True, slots=True)
class BoostFile:
    """A boosted picture as its file tells it.

    Args:
        base: name of the base codec.
        height, width: of the picture.
        noise: the base's PSNR as one byte, see ``noise_level``.
        model: the first 4 bytes of the model's sha256.
        stream: what the base codec wrote.
        filtered: whether the post-filter is applied.
        indices: the coded pattern indices; None where there are no patterns.
    """

    base: str
    height: int
    width: int
    noise: int
    model: bytes
    stream: bytes
    filtered: bool
    indices: bytes | None

    def to_bytes(self) -> bytes:
        """The whole file."""
        flags = FILTER * self.filtered + PATTERNS * (self.indices is not None)
        code = BASES[self.base].code
        head = FIXED.pack(MAGIC, VERSION, code, flags, self.noise, self.width, self.height, self.model)
        body = head + pack_varint(len(self.stream)) + self.stream + (self.indices or b"")
        return body + CHECKSUM.pack(zlib.crc32(body))


def noise_byte(psnr: float) -> int:
    """A PSNR in dB -> the byte that tells it."""
    return min(255, max(0, round((psnr - LEAST_PSNR) / NOISE_STEP)))


def noise_level(noise: int) -> tuple[float, float]:
    """The byte -> PSNR in dB and RMSE in levels, which encoder and decoder both compute with."""
    psnr = LEAST_PSNR + NOISE_STEP * noise
    return psnr, 255 / 10 ** (psnr / 20)


def pack_varint(value: int) -> bytes:
    """A number of 0 or more in 7 bits a byte."""
    packed = bytearray()
    while value > 0x7F:
        packed.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*packed, value])


def read_varint(encoded: bytes, at: int) -> tuple[int, int]:
    """The number at a place, and the place behind it; ValueError if it does not end."""
    value = 0
    for count in range(VARINT_BYTES):
        if at + count >= len(encoded):
            break
        byte = encoded[at + count]
        value |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            return value, at + count + 1
    raise ValueError("the length of the base stream does not end")


def check_sides(height: int, width: int, max_pixels: int) -> None:
    """Raise ImageError ``too_small`` or ``too_large`` for a size that no file may have."""
    if min(height, width) < LEAST_SIDE:
        raise ImageError(
            Status.TOO_SMALL, f"the picture is {width}x{height} pixels; expected at least {LEAST_SIDE} a side"
        )
    if max(height, width) > MOST_SIDE or height * width > max_pixels:
        raise ImageError(
            Status.TOO_LARGE,
            f"the picture is {width}x{height} pixels; expected at most {MOST_SIDE} a side and {max_pixels} in all",
        )


def parse_file(encoded: bytes, max_pixels: int) -> BoostFile:
    """Bytes -> the file, before anything of the picture's size is allocated.

    Raises:
        ImageError: ``empty``; ``unsupported``: another kind of file, version or codec; ``corrupt``: it is cut, or some
            of its bits are not as they were; ``too_small``, ``too_large``.
    """
    if not encoded:
        raise ImageError(Status.EMPTY, "the file has 0 bytes, expected a boosted picture")
    if encoded[:4] != MAGIC:
        raise _corrupt(f"it begins with {encoded[:4]!r}, expected {MAGIC!r}")
    if len(encoded) < FIXED.size + 1 + CHECKSUM.size:
        raise _corrupt(f"it has {len(encoded)} bytes, less than a header")
    body, (checksum,) = encoded[: -CHECKSUM.size], CHECKSUM.unpack(encoded[-CHECKSUM.size :])
    if zlib.crc32(body) != checksum:
        raise _corrupt("its checksum is another: it was cut or changed")
    _, version, code, flags, noise, width, height, model = FIXED.unpack_from(body)
    if version != VERSION:
        raise ImageError(Status.UNSUPPORTED, f"the file has version {version}, expected {VERSION}")
    if code not in CODES:
        raise ImageError(
            Status.UNSUPPORTED,
            f"the base codec has number {code}, expected one of "
            f"{', '.join(f'{number} ({name})' for number, name in CODES.items())}",
        )
    if flags & ~(FILTER | PATTERNS):
        raise ImageError(Status.UNSUPPORTED, f"the flags are {flags:#x}, expected at most {FILTER | PATTERNS:#x}")
    check_sides(height, width, max_pixels)
    try:
        length, start = read_varint(body, FIXED.size)
    except ValueError as error:
        raise _corrupt(str(error)) from error
    if not 0 < length <= len(body) - start:
        raise _corrupt(f"the base stream has {length} bytes, the rest of the file {len(body) - start}")
    indices = body[start + length :]
    has_patterns = bool(flags & PATTERNS)
    if indices and not has_patterns:
        raise _corrupt(f"{len(indices)} bytes are left behind the base stream, expected none")
    stream = body[start : start + length]
    return BoostFile(
        CODES[code], height, width, noise, model, stream, bool(flags & FILTER), indices if has_patterns else None
    )


def _corrupt(problem: str) -> ImageError:
    return ImageError(Status.CORRUPT, f"the boosted picture is broken: {problem}")
