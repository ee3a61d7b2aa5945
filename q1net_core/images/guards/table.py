"""One guard and one of Pillow's openers per format: what each decoder must be protected from, and how.

Layer: Pillow; no keras, no beam, no pyarrow. Pillow's plugin classes are named here and opened by ``decode`` only.

Pillow's lazy openers trust the file more than a service over unknown files can: metadata may cost quadratic time or
overlap itself, buffers are allocated before anyone saw the size. So each format has a guard that reads the few header
fields that matter first, raises ImageError (CORRUPT, UNSUPPORTED or TOO_LARGE) where they are out of bounds, and drops
what pixels do not depend on. Any other exception of a guard means a broken header; ``decode`` makes it an ImageError.
"""

from collections.abc import Callable
from io import BytesIO
from typing import NamedTuple

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    ImageFile,
    Jpeg2KImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    WebPImagePlugin,
)

from q1net_core.images.guards.bounds import Guarded
from q1net_core.images.guards.gif import guard_gif
from q1net_core.images.guards.jpeg import JpegPixels, guard_jpeg
from q1net_core.images.guards.jpeg2000 import guard_jpeg2000
from q1net_core.images.guards.simple import guard_avif, guard_bmp, guard_png, guard_ppm, guard_webp
from q1net_core.images.guards.tiff import TiffPixels, guard_tiff


class Decoder(NamedTuple):
    """How one format is opened: ``guard`` takes the file and ``max_pixels``, ``open`` what the guard lets through."""

    guard: Callable[[bytes, int], Guarded]
    open: Callable[[BytesIO], ImageFile.ImageFile]


# The openers are Pillow's plugin classes themselves, so nothing outside this table (PostScript, say) ever runs.
DECODERS = {
    "JPEG": Decoder(guard_jpeg, JpegPixels),
    "PNG": Decoder(guard_png, PngImagePlugin.PngImageFile),
    "WEBP": Decoder(guard_webp, WebPImagePlugin.WebPImageFile),
    "AVIF": Decoder(guard_avif, AvifImagePlugin.AvifImageFile),
    "TIFF": Decoder(guard_tiff, TiffPixels),
    "BMP": Decoder(guard_bmp, BmpImagePlugin.BmpImageFile),
    "GIF": Decoder(guard_gif, GifImagePlugin.GifImageFile),
    "JPEG2000": Decoder(guard_jpeg2000, Jpeg2KImagePlugin.Jpeg2KImageFile),
    "PPM": Decoder(guard_ppm, PpmImagePlugin.PpmImageFile),
}
