"""Encoded bytes to pixels, within limits, whatever the bytes are.

Layer: no keras, no beam, no pyarrow. Pillow decodes; this module decides what Pillow gets to see.

The format is judged by content, never by name. Pillow's lazy openers trust the file more than a service over unknown
files can (metadata that costs quadratic time or overlaps itself, buffers allocated before anyone saw the size), so
each format has a guard that reads the few header fields that matter first and drops what pixels do not depend on.
"""

import re
import struct
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any, cast

import numpy as np
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

from q1net_core.errors import ConfigError, ImageError
from q1net_core.records import DecodedImage, Status, UInt8Array

# Bounds on structure, far above what encoders write: beyond them a header is an attack or an accident.
MAX_JPEG_METADATA_BYTES = 1 << 17
MAX_JPEG_SCANS = 1000
MAX_SCANS_OF_LARGEST_IMAGE = 32
MAX_HEADER_PARTS = 65_536
MAX_TIFF_STRIPS = 1 << 20
MAX_PPM_HEADER_BYTES = 65_536
MAX_PIXELS_DECODED_IN_PYTHON = 1 << 23
MIN_JPEG2000_TILE_PIXELS = 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """What one image may cost: encoded bytes, and pixels (width x height) as its header declares them.

    Raises:
        ConfigError: a limit is not a positive integer.
    """

    max_bytes: int = 256 * 1024 * 1024
    max_pixels: int = 200_000_000

    def __post_init__(self) -> None:
        for name in ("max_bytes", "max_pixels"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ConfigError(f"{name} is {value!r}, expected an integer of at least 1")


def decode(encoded: bytes, limits: Limits = Limits()) -> DecodedImage:
    """Decode one image file held in memory; of several frames or pages, the first.

    Grey is replicated to three channels, alpha is dropped without compositing, samples of 16 bits keep their high
    byte, CMYK and YCbCr are converted by Pillow. EXIF orientation is not applied, whatever the format.

    Args:
        encoded: the whole file.
        limits: what the file may cost; checked from the header, before anything of that size is allocated.

    Returns:
        pixels uint8 [height, width, 3] RGB, C-contiguous, read-only where Pillow's own buffer could be kept;
        ``format`` is Pillow's name (JPEG, MPO, PNG, WEBP, AVIF, TIFF, BMP, GIF, JPEG2000, PPM);
        ``mode`` is Pillow's mode before the conversion to RGB.

    Raises:
        ImageError: EMPTY, UNSUPPORTED, CORRUPT or TOO_LARGE; no other exception, whatever the bytes are.
    """
    if not encoded:
        raise ImageError(Status.EMPTY, "the file has 0 bytes, expected an image")
    if len(encoded) > limits.max_bytes:
        raise ImageError(
            Status.TOO_LARGE, f"the file has {len(encoded)} bytes, expected at most max_bytes={limits.max_bytes}"
        )
    kind = sniff_format(encoded)
    if kind not in _FORMATS:
        raise ImageError(Status.UNSUPPORTED, f"the content is {kind}, expected one of {', '.join(_FORMATS)}")
    guard, opener = _FORMATS[kind]
    try:
        with _pillow_warnings_ignored():
            guarded, name = guard(encoded, limits)
            image = opener(BytesIO(guarded))
            _check_size(kind, *image.size, limits)
            mode = image.mode
            image.load()
            return DecodedImage(pixels=_rgb_pixels(image, kind), format=name, mode=mode)
    except ImageError:
        raise
    except MemoryError as error:
        raise ImageError(Status.TOO_LARGE, f"{kind} image needs more memory than there is") from error
    except Exception as error:
        if _NOT_IMPLEMENTED.search(str(error)):
            raise ImageError(Status.UNSUPPORTED, f"{kind} image of a kind Pillow does not decode: {error}") from error
        reason = str(error) or type(error).__name__
        raise ImageError(Status.CORRUPT, f"{kind} image is broken or truncated: {reason}") from error


def sniff_format(encoded: bytes) -> str:
    """Name what bytes look like by their content: a Pillow format name, or a few words for anything else."""
    head = encoded[:4096]
    for prefix, name in _SIGNATURES:
        if head.startswith(prefix):
            return name
    if re.match(rb"P[1-6][\s#]", head):
        return "PPM"
    if head[:4] == b"RIFF":
        return "WEBP" if head[8:12] == b"WEBP" else "a RIFF file (AVI or WAV)"
    if head[4:8] == b"ftyp":
        return _iso_media_kind(head)
    if head[128:132] == b"DICM":
        return "a DICOM file"
    return _text_kind(head) or "not recognised"


_SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"\xff\x4f\xff\x51", "JPEG2000"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG2000"),
    (b"BM", "BMP"),
    (b"\xff\x0a", "a JPEG XL image"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL image"),
    (b"II\xbc", "a JPEG XR image"),
    (b"\0\0\1\0", "a Windows icon"),
    (b"8BPS", "a Photoshop document (PSD)"),
    (b"%PDF", "a PDF document"),
    (b"%!PS", "a PostScript document (EPS)"),
    (b"\xc5\xd0\xd3\xc6", "a PostScript document (EPS)"),
    (b"P7\n", "a PAM image"),
    (b"PF\n", "a floating-point image (PFM)"),
    (b"Pf\n", "a floating-point image (PFM)"),
    (b"v/1\x01", "an OpenEXR image"),
    (b"#?RADIANCE", "a Radiance HDR image"),
    (b"DDS ", "a DirectDraw surface"),
    (b"FUJIFILM", "a camera raw file (RAF)"),
    (b"IIU\0", "a camera raw file (RW2)"),
    (b"IIRO", "a camera raw file (ORF)"),
    (b"\x1aE\xdf\xa3", "a Matroska or WebM video"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip file"),
    (b"PAR1", "a Parquet file"),
)


def _iso_media_kind(head: bytes) -> str:
    size = struct.unpack_from(">I", head)[0]
    brands = {head[8:12], *(head[at : at + 4] for at in range(16, min(size, len(head)), 4))}
    if brands & {b"avif", b"avis"}:
        return "AVIF"
    if brands & {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"}:
        return "a HEIC image (HEIF)"
    return "a camera raw file (CR3)" if b"crx " in brands else "a video (MP4 or QuickTime)"


def _text_kind(head: bytes) -> str | None:
    if not head.strip(b"\0"):
        return "nothing but zero bytes"
    try:
        text = head.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:
            return None
        text = head[: error.start].decode("utf-8-sig")
    text = text.lstrip().lower()
    if "<svg" in text:
        return "an SVG drawing"
    if text.startswith(("<!doctype html", "<html", "<head", "<body")) or "<html" in text:
        return "an HTML page"
    if text.startswith("<?xml"):
        return "an XML document"
    control = any(ord(character) < 32 and character not in "\t\r\n\f" for character in text)
    return None if control or not text else "text"


# How Pillow words "valid perhaps, but not implemented" as against "broken".
_NOT_IMPLEMENTED = re.compile(
    r"unsupported|not (yet )?supported|cannot handle|not available|unknown (pixel|image) mode|unable to determine",
    re.IGNORECASE,
)


def _check_size(kind: str, width: int, height: int, limits: Limits) -> None:
    if width <= 0 or height <= 0:
        raise ImageError(Status.CORRUPT, f"{kind} header says {width}x{height} pixels, expected at least 1x1")
    if width * height > limits.max_pixels:
        raise ImageError(
            Status.TOO_LARGE,
            f"{kind} header says {width}x{height} = {width * height} pixels, "
            f"expected at most max_pixels={limits.max_pixels}",
        )


def _rgb_pixels(image: Image.Image, kind: str) -> UInt8Array:
    mode = image.mode
    if mode in ("I", "I;16", "I;16L", "I;16B", "I;16N"):
        samples = np.asarray(image)
        low, high = int(samples.min()), int(samples.max())
        if low < 0 or high > 65_535:
            raise ImageError(
                Status.UNSUPPORTED, f"{kind} image has integer samples from {low} to {high}, expected 0 to 65535"
            )
        # Pillow's own conversion of these modes clips at 255 instead of scaling.
        return np.repeat((samples >> 8).astype(np.uint8)[:, :, np.newaxis], 3, axis=2)
    if mode not in ("RGB", "1", "L", "LA", "P", "PA", "RGBA", "RGBX", "CMYK", "YCbCr"):
        raise ImageError(Status.UNSUPPORTED, f"{kind} image has mode {mode}, expected 8-bit or 16-bit grey or colour")
    if mode != "RGB":
        # Alpha is not kept, and converting a transparent colour along is where Pillow warns or fails.
        image.info.pop("transparency", None)
        image = image.convert("RGB")
    return np.asarray(image)


_quiet_lock = threading.Lock()
_quiet_depth = 0
_QUIET_FILTER = ("ignore", None, Warning, re.compile(r"PIL\."), 0)


@contextmanager
def _pillow_warnings_ignored() -> Iterator[None]:
    # warnings.catch_warnings swaps the whole filter list and so is not safe with threads. This adds one filter that
    # concerns Pillow's modules only, while at least one thread decodes.
    global _quiet_depth
    with _quiet_lock:
        _quiet_depth += 1
        if not warnings.filters or warnings.filters[0] != _QUIET_FILTER:
            warnings.filterwarnings("ignore", category=Warning, module=r"PIL\.")
    try:
        yield
    finally:
        with _quiet_lock:
            _quiet_depth -= 1
            filters = cast("list[Any]", warnings.filters)
            if not _quiet_depth and _QUIET_FILTER in filters:
                filters.remove(_QUIET_FILTER)


def _corrupt(kind: str, problem: str) -> ImageError:
    return ImageError(Status.CORRUPT, f"{kind} image is broken or truncated: {problem}")


def _guard_avif(encoded: bytes, limits: Limits) -> tuple[bytes, str]:
    # libavif only parses at open and bounds its own allocations.
    return encoded, "AVIF"


def _guard_jpeg(encoded: bytes, limits: Limits) -> tuple[bytes, str]:
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
            _check_size("JPEG", width, height, limits)
            if progressive or encoded[at + 4 : at + 5] != bytes([components]):
                _check_scans(encoded, at, width, height, limits)
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


def _check_scans(encoded: bytes, at: int, width: int, height: int, limits: Limits) -> None:
    # Every scan visits every block, in as little as a few bytes of file: thousands of scans keep libjpeg busy for
    # minutes. A baseline file with all components in its first scan never gets here: libjpeg stops after that one.
    allowed = min(MAX_JPEG_SCANS, MAX_SCANS_OF_LARGEST_IMAGE * limits.max_pixels // (width * height))
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


def _guard_png(encoded: bytes, limits: Limits) -> tuple[bytes, str]:
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
            _check_size("PNG", width, height, limits)
        at += length + 12
    raise _corrupt("PNG", f"more than {MAX_HEADER_PARTS} chunks before the image data")


def _guard_webp(encoded: bytes, limits: Limits) -> tuple[bytes, str]:
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
    _check_size("WEBP", width, height, limits)
    return encoded, "WEBP"


def _guard_gif(encoded: bytes, limits: Limits) -> tuple[bytes, str]:
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
            _check_size("GIF", width, height, limits)
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


def _guard_tiff(encoded: bytes, limits: Limits) -> tuple[bytes, str]:
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
    _check_size("TIFF", sides[256], sides[257], limits)
    if sides[322] * sides[323] > max(limits.max_pixels, 1 << 16):
        raise ImageError(
            Status.TOO_LARGE,
            f"TIFF tiles have {sides[322]}x{sides[323]} pixels, expected at most max_pixels={limits.max_pixels}",
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


def _guard_jpeg2000(encoded: bytes, limits: Limits) -> tuple[bytes, str]:
    # Pillow sees the wrapper's size, OpenJPEG allocates by the codestream's, and for every tile of it.
    at = 0 if encoded[:2] == b"\xff\x4f" else _jpeg2000_codestream(encoded)
    if encoded[at : at + 4] != b"\xff\x4f\xff\x51" or at + 42 > len(encoded):
        raise _corrupt("JPEG2000", "no codestream header found")
    right, bottom, left, top, tile_width, tile_height, tile_left, tile_top, components = struct.unpack_from(
        ">8IH", encoded, at + 8
    )
    width, height = right - left, bottom - top
    _check_size("JPEG2000", width, height, limits)
    if components > 4:
        raise ImageError(Status.UNSUPPORTED, f"JPEG2000 image has {components} components, expected 1 to 4")
    if not tile_width or not tile_height or tile_left > left or tile_top > top:
        raise _corrupt("JPEG2000", "the tile grid is impossible")
    tiles = -(-(right - tile_left) // tile_width) * -(-(bottom - tile_top) // tile_height)
    if tiles > 64 + width * height // MIN_JPEG2000_TILE_PIXELS:
        raise ImageError(Status.UNSUPPORTED, f"JPEG2000 image of {width}x{height} pixels has {tiles} tiles, too many")
    return encoded, "JPEG2000"


def _guard_bmp(encoded: bytes, limits: Limits) -> tuple[bytes, str]:
    # Pillow expands run lengths in Python, byte by byte where a row is filled up.
    if len(encoded) >= 34 and encoded[14] >= 40 and encoded[30] in (1, 2):
        width, height = struct.unpack_from("<II", encoded, 18)
        _check_slow("run-length BMP", width, height)
    return encoded, "BMP"


def _guard_ppm(encoded: bytes, limits: Limits) -> tuple[bytes, str]:
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


Guard = Callable[[bytes, Limits], tuple[bytes, str]]

# The openers are Pillow's plugin classes themselves, so nothing outside this table (PostScript, say) ever runs.
_FORMATS: dict[str, tuple[Guard, Callable[[BytesIO], ImageFile.ImageFile]]] = {
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
