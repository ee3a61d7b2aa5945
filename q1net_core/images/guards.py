"""What each format's decoder must be protected from, and how: one guard and one of Pillow's openers per format.

Layer: no keras, no beam, no pyarrow. Pillow's plugin classes are named here and opened by ``decode`` only.

Pillow's lazy openers trust the file more than a service over unknown files can (metadata that costs quadratic time or
overlaps itself, buffers allocated before anyone saw the size). So each format in ``FORMATS`` has a guard that reads the
few header fields that matter first, raises ``ImageError`` (CORRUPT, UNSUPPORTED or TOO_LARGE) where they are out of
bounds, and drops what pixels do not depend on. Any other exception of a guard means a broken header; ``decode`` turns
it into an ``ImageError``.
"""

import re
import struct
from collections.abc import Callable, Iterator
from io import BytesIO

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from q1net_core.errors import ImageError
from q1net_core.records import Status

# Bounds on structure, far above what encoders write: beyond them a header is an attack or an accident.
MAX_JPEG_METADATA_BYTES = 1 << 17
MAX_JPEG_SCANS = 1000
MAX_SCANS_OF_LARGEST_IMAGE = 32
MAX_HEADER_PARTS = 65_536
MAX_TIFF_STRIPS = 1 << 20
MAX_PPM_HEADER_BYTES = 65_536
MAX_PIXELS_DECODED_IN_PYTHON = 1 << 23
MIN_JPEG2000_TILE_PIXELS = 1024


def check_size(kind: str, width: int, height: int, max_pixels: int) -> None:
    """Refuse a size that a header declares, before anything of that size is allocated.

    Raises:
        ImageError: CORRUPT if a side is not positive, TOO_LARGE above ``max_pixels``.
    """
    if width <= 0 or height <= 0:
        raise ImageError(Status.CORRUPT, f"{kind} header says {width}x{height} pixels, expected at least 1x1")
    if width * height > max_pixels:
        raise ImageError(
            Status.TOO_LARGE,
            f"{kind} header says {width}x{height} = {width * height} pixels, expected at most max_pixels={max_pixels}",
        )


def _corrupt(kind: str, problem: str) -> ImageError:
    return ImageError(Status.CORRUPT, f"{kind} image is broken or truncated: {problem}")


def _guard_avif(encoded: bytes, max_pixels: int) -> tuple[bytes, str]:
    # libavif only parses at open and bounds its own allocations.
    return encoded, "AVIF"


def _guard_jpeg(encoded: bytes, max_pixels: int) -> tuple[bytes, str]:
    # Pillow joins Exif segments in quadratic time and steps through junk bytewise. Only APP0 and APP14 bear on pixels
    # (they tell the colour space), so where there is much else before the first scan, it is left out.
    kept: list[bytes | memoryview] = [b"\xff\xd8"]
    name, is_gain_map, progressive = "JPEG", False, False
    height = width = components = 0
    at = 2
    for _ in range(MAX_HEADER_PARTS):
        at = encoded.find(b"\xff", at)
        if at < 0 or at + 4 > len(encoded):
            break
        marker = encoded[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker == 0 or marker == 0xC8 or 0xD0 <= marker <= 0xD9 or 0xF0 <= marker <= 0xFD:
            at += 2
            continue
        if marker == 0xDA:
            check_size("JPEG", width, height, max_pixels)
            if progressive or encoded[at + 4 : at + 5] != bytes([components]):
                _check_scans(encoded, at, width, height, max_pixels)
            if at - sum(map(len, kept)) > MAX_JPEG_METADATA_BYTES:
                kept.append(memoryview(encoded)[at:])
                encoded = b"".join(kept)
            return encoded, "JPEG" if is_gain_map else name
        end = at + 2 + struct.unpack_from(">H", encoded, at + 2)[0]
        segment = encoded[at:end]
        if 0xE1 <= marker <= 0xEF and marker != 0xEE:
            if marker == 0xE2 and segment[4:8] == b"MPF\0" and _mpf_image_count(segment[8:]) > 1:
                name = "MPO"
            # Pillow calls a photo with a gain map plain JPEG although it is stored as several pictures.
            is_gain_map = is_gain_map or (marker == 0xE1 and b' hdrgm:Version="' in segment)
        elif marker != 0xFE:
            kept.append(segment)
            if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xCC) and len(segment) >= 10:
                height, width, components = struct.unpack_from(">HHB", segment, 5)
                progressive = marker in (0xC2, 0xC6, 0xCA, 0xCE)
        at = end
    raise _corrupt("JPEG", "no scan found")


class _JpegPixels(JpegImagePlugin.JpegImageFile):
    # Pillow reads the resolution from Exif at open, and a directory whose entries overlap multiplies its size.

    def getexif(self) -> Image.Exif:
        return Image.Exif()


def _mpf_image_count(block: bytes) -> int:
    try:
        return next((value for tag, _, _, value in _tiff_directory(block) if tag == 0xB001), 1)
    except (struct.error, ImageError):
        return 1


def _check_scans(encoded: bytes, at: int, width: int, height: int, max_pixels: int) -> None:
    # Every scan visits every block, in as little as a few bytes of file: thousands of scans keep libjpeg busy for
    # minutes. A baseline file with all components in its first scan never gets here: libjpeg stops after that one.
    allowed = min(MAX_JPEG_SCANS, MAX_SCANS_OF_LARGEST_IMAGE * max_pixels // (width * height))
    scans = 0
    while found := _JPEG_MARKER.search(encoded, at):
        marker, at = encoded[found.end() - 1], found.end()
        if marker == 0xD9:
            return
        scans += marker == 0xDA
        if scans > allowed:
            raise ImageError(
                Status.TOO_LARGE, f"JPEG image of {width}x{height} pixels has more scans than the {allowed} expected"
            )
        if at + 2 <= len(encoded):
            at += struct.unpack_from(">H", encoded, at)[0]


_JPEG_MARKER = re.compile(rb"\xff[\x02-\xcf\xd8-\xfe]")


def _guard_png(encoded: bytes, max_pixels: int) -> tuple[bytes, str]:
    # An animation's first frame may ask for a background of the whole size at open.
    at = 8
    for _ in range(MAX_HEADER_PARTS):
        if at + 8 > len(encoded):
            raise _corrupt("PNG", "no image data found")
        length, name = struct.unpack_from(">I4s", encoded, at)
        if name == b"IDAT":
            return encoded, "PNG"
        if name == b"IHDR" and at + 16 <= len(encoded):
            width, height = struct.unpack_from(">II", encoded, at + 8)
            check_size("PNG", width, height, max_pixels)
        at += length + 12
    raise _corrupt("PNG", f"more than {MAX_HEADER_PARTS} chunks before the image data")


def _guard_webp(encoded: bytes, max_pixels: int) -> tuple[bytes, str]:
    # libwebp's animation decoder, which Pillow uses for still images too, allocates two canvases at open.
    if len(encoded) < 30:
        raise _corrupt("WEBP", "the header is incomplete")
    kind = encoded[12:16]
    if kind == b"VP8X":
        width = 1 + int.from_bytes(encoded[24:27], "little")
        height = 1 + int.from_bytes(encoded[27:30], "little")
    elif kind == b"VP8L":
        bits = int.from_bytes(encoded[21:25], "little")
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    elif kind == b"VP8 ":
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", encoded, 26))
    else:
        raise _corrupt("WEBP", f"the first chunk is {kind!r}, expected VP8, VP8L or VP8X")
    check_size("WEBP", width, height, max_pixels)
    return encoded, "WEBP"


def _guard_gif(encoded: bytes, max_pixels: int) -> tuple[bytes, str]:
    # Pillow joins comments in quadratic time and prepares the disposal of the first frame, with its own limit on
    # size, at open: it gets the first frame alone, without extensions but for the transparent index.
    if len(encoded) < 13:
        raise _corrupt("GIF", "the header is incomplete")
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
                raise _corrupt("GIF", f"the frame reaches to {width}x{height}, expected at most 65535x65535")
            screen = struct.pack("<HH", width, height)
            return encoded[:6] + screen + encoded[10:palette_end] + control + encoded[at:], "GIF"
        if introducer in (b"", b";"):
            break
        at += 1
        if introducer == b"!":
            if encoded[at : at + 2] == b"\xf9\x04" and len(encoded) > at + 6:
                control = b"!\xf9\x04" + bytes([encoded[at + 2] & 1, 0, 0, encoded[at + 5], 0])
            at = _gif_extension_end(encoded, at + 1)
    raise _corrupt("GIF", "no frame found")


def _gif_extension_end(encoded: bytes, at: int) -> int:
    for _ in range(1 << 21):
        if at >= len(encoded) or not encoded[at]:
            return at + 1
        at += 1 + encoded[at]
    raise _corrupt("GIF", "an extension does not end")


_TIFF_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}


def _tiff_directory(block: bytes) -> Iterator[tuple[int, int, int, int]]:
    # The first directory's (tag, bytes of data, count, value where it is one inline integer or else 0).
    order = ">" if block[:2] == b"MM" else "<"
    big = struct.unpack_from(order + "H", block, 2)[0] == 43
    at = struct.unpack_from(order + ("Q" if big else "L"), block, 8 if big else 4)[0]
    entries = struct.unpack_from(order + ("Q" if big else "H"), block, at)[0]
    if entries > MAX_HEADER_PARTS:
        raise _corrupt("TIFF", f"the directory has {entries} entries, expected at most {MAX_HEADER_PARTS}")
    entry = struct.Struct(order + ("HHQ8s" if big else "HHL4s"))
    at += 8 if big else 2
    for _ in range(entries):
        tag, kind, count, data = entry.unpack_from(block, at)
        at += entry.size
        size = count * _TIFF_TYPE_BYTES.get(kind, 0)
        value = 0
        if size > len(data):
            offset = struct.unpack(order + ("Q" if big else "L"), data)[0]
            if offset + size > len(block):
                return  # Pillow stops reading here as well
        elif count == 1 and kind in (3, 4, 16):
            value = struct.unpack_from(order + {3: "H", 4: "L", 16: "Q"}[kind], data)[0]
        yield tag, size, count, value


def _guard_tiff(encoded: bytes, max_pixels: int) -> tuple[bytes, str]:
    # Pillow copies every tag's data at open, so tags that share one region multiply it, and makes objects per strip.
    # libtiff allocates a whole tile, which may be far larger than the image it is cut to.
    total = 0
    sides = {256: 0, 257: 0, 322: 1, 323: 1}
    try:
        for tag, size, count, value in _tiff_directory(encoded):
            total += size
            if tag in sides:
                sides[tag] = value
            if tag < 400 and size > count > MAX_TIFF_STRIPS:
                raise _corrupt("TIFF", f"tag {tag} has {count} values, expected at most {MAX_TIFF_STRIPS}")
            if tag == 259 and value not in TiffImagePlugin.COMPRESSION_INFO:
                raise ImageError(
                    Status.UNSUPPORTED, f"TIFF image uses compression {value}, which Pillow does not decode"
                )
            if total > len(encoded):
                raise _corrupt("TIFF", "the tags' data overlap")
    except struct.error as error:
        raise _corrupt("TIFF", f"the directory is incomplete ({error})") from error
    check_size("TIFF", sides[256], sides[257], max_pixels)
    if sides[322] * sides[323] > max(max_pixels, 1 << 16):
        raise ImageError(
            Status.TOO_LARGE,
            f"TIFF tiles have {sides[322]}x{sides[323]} pixels, expected at most max_pixels={max_pixels}",
        )
    return encoded, "TIFF"


class _TiffPixels(TiffImagePlugin.TiffImageFile):
    # Pillow's reader applies the orientation tag while loading, and its own process-wide limit on pixels.

    def load_prepare(self) -> None:
        if self._im is None:
            self.im = Image.new(self.mode, self._tile_size).im
        super().load_prepare()

    def load_end(self) -> None:
        self._size = self.im.size


def _guard_jpeg2000(encoded: bytes, max_pixels: int) -> tuple[bytes, str]:
    # Pillow sees the wrapper's size, OpenJPEG allocates by the codestream's, and for every tile of it.
    at = 0 if encoded[:2] == b"\xff\x4f" else _jpeg2000_codestream(encoded)
    if encoded[at : at + 4] != b"\xff\x4f\xff\x51" or at + 42 > len(encoded):
        raise _corrupt("JPEG2000", "no codestream header found")
    right, bottom, left, top, tile_width, tile_height, tile_left, tile_top, components = struct.unpack_from(
        ">8IH", encoded, at + 8
    )
    width, height = right - left, bottom - top
    check_size("JPEG2000", width, height, max_pixels)
    if components > 4:
        raise ImageError(Status.UNSUPPORTED, f"JPEG2000 image has {components} components, expected 1 to 4")
    if not tile_width or not tile_height or tile_left > left or tile_top > top:
        raise _corrupt("JPEG2000", "the tile grid is impossible")
    tiles = -(-(right - tile_left) // tile_width) * -(-(bottom - tile_top) // tile_height)
    if tiles > 64 + width * height // MIN_JPEG2000_TILE_PIXELS:
        raise ImageError(Status.UNSUPPORTED, f"JPEG2000 image of {width}x{height} pixels has {tiles} tiles, too many")
    return encoded, "JPEG2000"


def _jpeg2000_codestream(encoded: bytes) -> int:
    at = 0
    for _ in range(MAX_HEADER_PARTS):
        if at + 16 > len(encoded):
            break
        length, name, long_length = struct.unpack_from(">I4sQ", encoded, at)
        if name == b"jp2c":
            return at + (16 if length == 1 else 8)
        if length == 1:
            length = long_length
        if length < 8:
            break
        at += length
    raise _corrupt("JPEG2000", "no codestream found")


def _guard_bmp(encoded: bytes, max_pixels: int) -> tuple[bytes, str]:
    # Pillow expands run lengths in Python, byte by byte where a row is filled up.
    if len(encoded) >= 34 and encoded[14] >= 40 and encoded[30] in (1, 2):
        width, height = struct.unpack_from("<II", encoded, 18)
        _check_slow("run-length BMP", width, height)
    return encoded, "BMP"


def _guard_ppm(encoded: bytes, max_pixels: int) -> tuple[bytes, str]:
    # Pillow steps through header comments byte by byte, and decodes text and unusual ranges in Python.
    header = _PPM_HEADER.match(encoded, 0, MAX_PPM_HEADER_BYTES)
    if header is None:
        raise _corrupt("PPM", "no width and height in the header")
    width, height, highest = int(header["width"]), int(header["height"]), header["highest"]
    if header["magic"] in (b"P1", b"P2", b"P3") or (header["magic"] != b"P4" and highest not in (b"255", b"65535")):
        _check_slow("PPM that Pillow decodes in Python", width, height)
    return encoded, "PPM"


_PPM_HEADER = re.compile(
    rb"(?P<magic>P[1-6])GAP(?P<width>\d++)GAP(?P<height>\d++)(?:GAP(?P<highest>\d++))?".replace(
        b"GAP", rb"(?:\s++|#[^\r\n]*+[\r\n])++"
    )
)


def _check_slow(kind: str, width: int, height: int) -> None:
    if width * height > MAX_PIXELS_DECODED_IN_PYTHON:
        raise ImageError(
            Status.TOO_LARGE,
            f"{kind}: header says {width}x{height} pixels, expected at most {MAX_PIXELS_DECODED_IN_PYTHON}",
        )


# (file, max_pixels) -> (the bytes that Pillow gets, Pillow's name of the format).
Guard = Callable[[bytes, int], tuple[bytes, str]]

# The openers are Pillow's plugin classes themselves, so nothing outside this table (PostScript, say) ever runs.
FORMATS: dict[str, tuple[Guard, Callable[[BytesIO], ImageFile.ImageFile]]] = {
    "JPEG": (_guard_jpeg, _JpegPixels),
    "PNG": (_guard_png, PngImagePlugin.PngImageFile),
    "WEBP": (_guard_webp, WebPImagePlugin.WebPImageFile),
    "AVIF": (_guard_avif, AvifImagePlugin.AvifImageFile),
    "TIFF": (_guard_tiff, _TiffPixels),
    "BMP": (_guard_bmp, BmpImagePlugin.BmpImageFile),
    "GIF": (_guard_gif, GifImagePlugin.GifImageFile),
    "JPEG2000": (_guard_jpeg2000, Jpeg2KImagePlugin.Jpeg2KImageFile),
    "PPM": (_guard_ppm, PpmImagePlugin.PpmImageFile),
}
