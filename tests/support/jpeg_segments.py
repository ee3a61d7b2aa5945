"""JPEG files segment by segment: made by hand, or an encoder's with other markers of its colour space."""

import struct

from q1net_core.jpeg.tables import ZIGZAG, Table

SOI, EOI = b"\xff\xd8", b"\xff\xd9"
WIDTH, HEIGHT = 41, 27


def segment(marker: int, payload: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


def dqt(*tables: tuple[int, Table], wide: bool = False) -> bytes:
    payload = b""
    for slot, table in tables:
        payload += struct.pack(">B64H" if wide else ">65B", wide << 4 | slot, *(table[i] for i in ZIGZAG))
    return segment(0xDB, payload)


def sof(*parts: tuple[int, int, int], marker: int = 0xC0, precision: int = 8, height: int = HEIGHT) -> bytes:
    payload = struct.pack(">BHHB", precision, height, WIDTH, len(parts))
    return segment(marker, payload + b"".join(bytes(part) for part in parts))


def sos(*idents: int) -> bytes:
    payload = bytes([len(idents)]) + b"".join(bytes([ident, 0]) for ident in idents)
    return segment(0xDA, payload + b"\x00\x3f\x00") + b"\x12\xff\x00\x34\xff\xd0\x56"


def adobe(transform: int) -> bytes:
    return segment(0xEE, b"Adobe" + struct.pack(">HHHB", 100, 0, 0, transform))


JFIF = segment(0xE0, b"JFIF\0\1\1\0" + struct.pack(">HHBB", 1, 1, 0, 0))


def recolour(encoded: bytes, idents: bytes, *head: bytes) -> bytes:
    """An encoder's file of one scan with its components renamed and other segments in place of APP0 and APP14."""
    start = encoded.index(b"\xff\xdb")
    body = bytearray(SOI + b"".join(head) + encoded[start:])
    frame, scan = (body.index(marker) for marker in (b"\xff\xc0", b"\xff\xda"))
    for index, ident in enumerate(idents):
        body[frame + 10 + 3 * index] = body[scan + 5 + 2 * index] = ident
    return bytes(body)
