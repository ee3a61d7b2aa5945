"""Still pictures by other codecs than JPEG: WebP, AVIF and JPEG 2000, always whole images.

Layer: numpy and Pillow; no keras, no beam, no pyarrow.
"""

from PIL import Image

from q1net_core.arrays import UInt8Array
from q1net_core.codecs.base import load, save

# Limits on width and height: of libwebp; of libavif's decoder; of this package, for OpenJPEG goes beyond.
MAX_WEBP_SIDE = 16_383
MAX_AVIF_SIDE = 32_768
MAX_JPEG2000_SIDE = 65_500


def compress_webp(pixels: UInt8Array, level: int) -> UInt8Array:
    """Pixels uint8 [H, W, 3] -> the same picture after lossy WebP at quality ``level`` 0-100."""
    return load(save(Image.fromarray(pixels), "WEBP", quality=level), "WEBP")


def compress_avif(pixels: UInt8Array, level: int) -> UInt8Array:
    """Pixels uint8 [H, W, 3] -> the same picture after AVIF 4:2:0 at quality ``level`` 0-100."""
    # One thread: images are compressed side by side, and no pixel may depend on the number of cores.
    return load(save(Image.fromarray(pixels), "AVIF", quality=level, max_threads=1), "AVIF")


def compress_jpeg2000(pixels: UInt8Array, level: int) -> UInt8Array:
    """Pixels uint8 [H, W, 3] -> the same picture after irreversible JPEG 2000 at a PSNR of about ``level`` dB."""
    image = Image.fromarray(pixels)
    return load(save(image, "JPEG2000", quality_mode="dB", quality_layers=[level], irreversible=True), "JPEG2000")
