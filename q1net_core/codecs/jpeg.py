"""JPEG by libjpeg-turbo, with its own tables or those of other encoders; windows can be compressed on their own.

Layer: numpy and Pillow; no keras, no beam, no pyarrow.
"""

from collections.abc import Callable, Sequence
from functools import partial

from PIL import Image

from q1net_core.arrays import UInt8Array
from q1net_core.codecs.base import Codec, Geometry, load, pillow_versions, save
from q1net_core.jpeg.tables import JPEG_QUALITIES, TablePair, mozjpeg_table

# libjpeg's limit on width and height.
MAX_JPEG_SIDE = 65_500
# Where chroma is halved, a unit spans two blocks, and smooth upsampling looks one chroma sample, 2 pixels, further.
MCU = 16
SAMPLINGS = {
    "4:2:0": Geometry(unit=(MCU, MCU), reach=(2, 2)),
    "4:2:2": Geometry(unit=(8, MCU), reach=(0, 2)),
    "4:4:4": Geometry(unit=(8, 8), reach=(0, 0)),
    "grey": Geometry(unit=(8, 8), reach=(0, 0)),
}


def encode_jpeg(pixels: UInt8Array, level: int, sampling: str = "4:2:0") -> bytes:
    """Pixels uint8 [H, W, 3] -> JPEG bytes by libjpeg-turbo at quality ``level`` 1-100, standard tables."""
    image = Image.fromarray(pixels)
    if sampling == "grey":
        return save(image.convert("L"), "JPEG", quality=level)
    return save(image, "JPEG", quality=level, subsampling=sampling)


def encode_tables(pixels: UInt8Array, tables: TablePair) -> bytes:
    """Pixels uint8 [H, W, 3] -> JPEG bytes by libjpeg-turbo with the tables and the sampling of another encoder."""
    return save(
        Image.fromarray(pixels), "JPEG", qtables=[[*tables.luma], [*tables.chroma]], subsampling=tables.subsampling
    )


def mozjpeg_tables(level: int) -> TablePair:
    """The tables of mozjpeg at quality ``level`` 1-100, and its sampling."""
    table = tuple(mozjpeg_table(level).tolist())
    return TablePair(table, table, "4:2:0")


def compress_jpeg(pixels: UInt8Array, level: int, sampling: str = "4:2:0") -> UInt8Array:
    """Pixels uint8 [H, W, 3] -> the same picture after JPEG at quality ``level`` 1-100."""
    return load(encode_jpeg(pixels, level, sampling))


def jpeg_codec(
    encode: Callable[[UInt8Array, int], bytes], levels: Sequence[int] = JPEG_QUALITIES, sampling: str = "4:2:0"
) -> Codec:
    """A codec of libjpeg-turbo from a function that encodes; one of ``SAMPLINGS`` says what a window depends on."""
    return Codec(
        function=lambda pixels, level: load(encode(pixels, level)),
        levels=levels,
        versions=partial(pillow_versions, "libjpeg_turbo"),
        max_side=MAX_JPEG_SIDE,
        geometry=SAMPLINGS[sampling],
    )


JPEG = jpeg_codec(encode_jpeg)
