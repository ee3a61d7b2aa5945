"""GIF: Pillow gets the first frame alone.

Layer: standard library; no keras, no beam, no pyarrow.
"""

import struct

from q1net_core.images.guards.bounds import MAX_HEADER_PARTS, Guarded, check_size, corrupt


def guard_gif(encoded: bytes, max_pixels: int) -> Guarded:
    """Keep the first frame alone, without extensions but for the transparent index."""
    # At open Pillow joins comments in quadratic time and prepares the disposal of the first frame, with its own limit
    # on size.
    if len(encoded) < 13:
        raise corrupt("GIF", "the header is incomplete")
    width, height, flags = struct.unpack_from("<HHB", encoded, 6)
    palette_end = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    control = b""
    at = palette_end
    for _ in range(MAX_HEADER_PARTS):
        introducer = encoded[at : at + 1]
        if introducer == b",":
            if at + 10 > len(encoded):
                break
            x, y, frame_width, frame_height = struct.unpack_from("<HHHH", encoded, at + 1)
            width, height = max(width, x + frame_width), max(height, y + frame_height)
            check_size("GIF", width, height, max_pixels)
            if max(width, height) > 65_535:
                raise corrupt("GIF", f"the frame reaches to {width}x{height}, expected at most 65535x65535")
            screen = struct.pack("<HH", width, height)
            return Guarded(encoded[:6] + screen + encoded[10:palette_end] + control + encoded[at:], "GIF")
        if introducer in (b"", b";"):
            break
        at += 1
        if introducer == b"!":
            if encoded[at : at + 2] == b"\xf9\x04" and len(encoded) > at + 6:
                control = b"!\xf9\x04" + bytes([encoded[at + 2] & 1, 0, 0, encoded[at + 5], 0])
            at = find_extension_end(encoded, at + 1)
    raise corrupt("GIF", "no frame found")


def find_extension_end(encoded: bytes, at: int) -> int:
    """The byte after an extension whose first block starts at byte ``at``."""
    for _ in range(1 << 21):
        if at >= len(encoded) or not encoded[at]:
            return at + 1
        at += 1 + encoded[at]
    raise corrupt("GIF", "an extension does not end")
