"""What a file is, by its first bytes, never by its name.

Layer: standard library; no keras, no beam, no pyarrow.
"""

import re
import struct


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
