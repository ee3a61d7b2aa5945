"""Encoded bytes to pixels, within limits, whatever the bytes are.

Layer: no keras, no beam, no pyarrow. Pillow decodes; ``sniff`` and ``guards`` decide what Pillow gets to see. Ordinary
JPEG files, whole, grey or YCbCr, are decoded by simplejpeg: the same libjpeg-turbo and the same pixels, in less time.
"""

import re
import warnings
from dataclasses import dataclass
from io import BytesIO

import numpy as np
import simplejpeg
from PIL import Image, ImageStat

from q1net_core.arrays import UInt8Array
from q1net_core.errors import ConfigError, ImageError
from q1net_core.images.guards.bounds import Guarded, check_size
from q1net_core.images.guards.table import DECODERS
from q1net_core.images.sniff import sniff_format
from q1net_core.jpeg.markers import ColourSpace
from q1net_core.records import DecodedImage, Status

# Pillow warns of what it can do without; a file that it cannot decode is an error. For the whole process, because
# warnings.catch_warnings is not safe with threads.
warnings.filterwarnings("ignore", category=Warning, module=r"PIL\.")


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
        pixels uint8 [height, width, 3] RGB, C-contiguous, perhaps read-only where Pillow's own buffer could be kept;
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
    if kind not in DECODERS:
        raise ImageError(Status.UNSUPPORTED, f"the content is {kind}, expected one of {', '.join(DECODERS)}")
    decoder = DECODERS[kind]
    try:
        guarded = decoder.guard(encoded, limits.max_pixels)
        if (ordinary := _decode_ordinary_jpeg(guarded, limits.max_pixels)) is not None:
            return ordinary
        image = decoder.open(BytesIO(guarded.encoded))
        check_size(kind, *image.size, limits.max_pixels)
        mode = image.mode
        image.load()
        coded = _coded_luma(image, guarded.colour_space)
        return DecodedImage(pixels=_rgb_pixels(image, kind), format=guarded.format, mode=mode, coded=coded)
    except ImageError:
        raise
    except MemoryError as error:
        raise ImageError(Status.TOO_LARGE, f"{kind} image needs more memory than there is") from error
    except Exception as error:
        if _NOT_IMPLEMENTED.search(str(error)):
            raise ImageError(Status.UNSUPPORTED, f"{kind} image of a kind Pillow does not decode: {error}") from error
        reason = str(error) or type(error).__name__
        raise ImageError(Status.CORRUPT, f"{kind} image is broken or truncated: {reason}") from error


# Colour spaces that simplejpeg decodes as Pillow does -> its name for the pixels, and Pillow's mode.
_ORDINARY = {ColourSpace.GREY: ("GRAY", "L"), ColourSpace.YCBCR: ("RGB", "RGB")}


def _decode_ordinary_jpeg(guarded: Guarded, max_pixels: int) -> DecodedImage | None:
    """An ordinary JPEG file without the least fault; None for all that Pillow is to decode, or to word an error for."""
    if guarded.colour_space not in _ORDINARY:
        return None
    colours, mode = _ORDINARY[guarded.colour_space]
    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(guarded.encoded)
        check_size("JPEG", width, height, max_pixels)
        pixels = simplejpeg.decode_jpeg(guarded.encoded, colours)
    except ValueError:
        return None
    return DecodedImage(np.repeat(pixels, 3, axis=2) if mode == "L" else pixels, guarded.format, mode)


# How Pillow words "valid perhaps, but not implemented" as against "broken".
_NOT_IMPLEMENTED = re.compile(
    r"unsupported|not (yet )?supported|cannot handle|not available|unknown (pixel|image) mode|unable to determine",
    re.IGNORECASE,
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


def _coded_luma(image: Image.Image, colour_space: ColourSpace | None) -> UInt8Array | None:
    """DecodedImage.coded."""
    if colour_space is ColourSpace.YCCK:
        # Adobe stores inverted inks, so that C, M and Y as Pillow gives them are the R, G and B of that YCbCr.
        rgb = Image.merge("RGB", image.split()[:3])
        luma, planes = np.array(rgb.convert("L")), np.asarray(rgb)
        luma[((planes == 0) | (planes == 255)).any(axis=2)] = 0
        return luma
    if colour_space in (ColourSpace.RGB, ColourSpace.CMYK):
        return np.asarray(image.getchannel(int(np.argmax(ImageStat.Stat(image).var))))
    return None
