"""Pixels + level -> pixels as that codec leaves them, whole images or only the windows that are needed.

Layer: numpy and Pillow, PyAV where a video codec is used; no keras, no beam, no pyarrow.

A level is one integer setting of a codec, on the codec's own scale: quality for most, CRF for video.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO

import numpy as np
import PIL
from PIL import Image, features

from q1net_core.codecs import video
from q1net_core.errors import ConfigError, ImageError
from q1net_core.jpeg.tables import PHOTOSHOP_TABLES, SAVE_FOR_WEB_TABLES, TablePair, mozjpeg_table
from q1net_core.patches import IntArray, cut_windows
from q1net_core.records import Status, UInt8Array

# Limits on width and height: of libjpeg, and OpenJPEG goes beyond; of libwebp; of libavif's decoder.
MAX_SIDE = 65_500
MAX_WEBP_SIDE = 16_383
MAX_AVIF_SIDE = 32_768


@dataclass(frozen=True, slots=True)
class Geometry:
    """What a window depends on, in pixels (rows, columns): ``unit`` is coded as one, upsampling looks ``reach`` on."""

    unit: tuple[int, int]
    reach: tuple[int, int]


# Where chroma is halved, a unit spans two blocks, and smooth upsampling looks one chroma sample, 2 pixels, further.
MCU = 16
SAMPLINGS = {
    "4:2:0": Geometry(unit=(MCU, MCU), reach=(2, 2)),
    "4:2:2": Geometry(unit=(8, MCU), reach=(0, 2)),
    "4:4:4": Geometry(unit=(8, 8), reach=(0, 0)),
    "grey": Geometry(unit=(8, 8), reach=(0, 0)),
}


@dataclass(frozen=True, slots=True)
class Codec:
    """One way to lose quality.

    Args:
        function: pixels uint8 [H, W, 3] and level -> the same picture after the codec.
        levels: all settings, the worst first.
        versions: the libraries that decide the pixels; raises ConfigError where one is missing.
        geometry: what the pixels of a window depend on; None if it may be the whole image.
        max_side: the limit on height and width.
    """

    function: Callable[[UInt8Array, int], UInt8Array]
    levels: Sequence[int]
    versions: Callable[[], dict[str, str]]
    geometry: Geometry | None = None
    max_side: int = MAX_SIDE

    def check_levels(self, levels: Sequence[int]) -> None:
        """Raise ConfigError unless there are levels and the codec has them all."""
        wrong = sorted(set(levels) - set(self.levels))
        if wrong or not levels:
            known = self.levels
            expected = f"{min(known)}..{max(known)}" if isinstance(known, range) else ", ".join(map(str, known))
            problem = f"levels {wrong} do not exist" if wrong else "no levels"
            raise ConfigError(f"{problem}; expected some of {expected}")

    def check_size(self, pixels: UInt8Array) -> None:
        """Raise ImageError ``too_large`` if the codec takes no image of this size."""
        height, width = pixels.shape[:2]
        if max(height, width) > self.max_side:
            raise ImageError(
                Status.TOO_LARGE, f"image is {width} x {height} pixels; the codec takes at most {self.max_side} a side"
            )

    def compress(self, pixels: UInt8Array, level: int) -> UInt8Array:
        """Pixels uint8 [H, W, 3] -> the same picture after the codec.

        Raises:
            ConfigError: the codec has no such level, or is not installed.
            ImageError: ``too_large``.
        """
        self.check_levels([level])
        self.check_size(pixels)
        return self.function(pixels, level)


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


def save(image: Image.Image, format: str, **settings: object) -> bytes:
    """An image encoded by Pillow."""
    buffer = BytesIO()
    image.save(buffer, format, **settings)
    return buffer.getvalue()


def load(encoded: bytes, format: str = "JPEG") -> UInt8Array:
    """Pixels uint8 [H, W, 3] of what ``save`` made."""
    return np.asarray(Image.open(BytesIO(encoded), formats=(format,)).convert("RGB"))


def compress_jpeg(pixels: UInt8Array, level: int, sampling: str = "4:2:0") -> UInt8Array:
    """Pixels uint8 [H, W, 3] -> the same picture after JPEG at quality ``level`` 1-100."""
    return load(encode_jpeg(pixels, level, sampling))


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


def pillow_versions(library: str) -> dict[str, str]:
    """Versions of Pillow and of one library inside it; raises ConfigError if this Pillow has it not."""
    version = features.version(library)
    if version is None:
        raise ConfigError(f"Pillow {PIL.__version__} was built without {library}; install the wheel from PyPI")
    return {"pillow": PIL.__version__, library: version}


def jpeg_codec(
    encode: Callable[[UInt8Array, int], bytes], levels: Sequence[int], geometry: Geometry = SAMPLINGS["4:2:0"]
) -> Codec:
    """A codec of libjpeg-turbo, whose windows can be compressed on their own."""
    return Codec(lambda pixels, level: load(encode(pixels, level)), levels, JPEG_VERSIONS, geometry)


JPEG_VERSIONS = partial(pillow_versions, "libjpeg_turbo")
QUALITIES = range(1, 101)
# Photoshop's lower levels are 4:2:0, the others 4:4:4, to which the geometry of 4:2:0 applies as well.
CODECS = {
    "jpeg": jpeg_codec(encode_jpeg, QUALITIES),
    "jpeg-422": jpeg_codec(partial(encode_jpeg, sampling="4:2:2"), QUALITIES, SAMPLINGS["4:2:2"]),
    "jpeg-444": jpeg_codec(partial(encode_jpeg, sampling="4:4:4"), QUALITIES, SAMPLINGS["4:4:4"]),
    "jpeg-grey": jpeg_codec(partial(encode_jpeg, sampling="grey"), QUALITIES, SAMPLINGS["grey"]),
    "jpeg-photoshop": jpeg_codec(lambda pixels, level: encode_tables(pixels, PHOTOSHOP_TABLES[level]), range(13)),
    "jpeg-save-for-web": jpeg_codec(
        lambda pixels, level: encode_tables(pixels, SAVE_FOR_WEB_TABLES[level]), tuple(SAVE_FOR_WEB_TABLES)
    ),
    "jpeg-mozjpeg": jpeg_codec(lambda pixels, level: encode_tables(pixels, mozjpeg_tables(level)), QUALITIES),
    "webp": Codec(compress_webp, range(101), partial(pillow_versions, "webp"), max_side=MAX_WEBP_SIDE),
    "avif": Codec(compress_avif, range(101), partial(pillow_versions, "avif"), max_side=MAX_AVIF_SIDE),
    "jpeg2000": Codec(compress_jpeg2000, range(20, 51), partial(pillow_versions, "jpg_2000")),
    "h264": Codec(video.compress_h264, video.CRF, video.versions, max_side=video.MAX_SIDE),
    "hevc": Codec(video.compress_hevc, video.CRF, video.versions, max_side=video.MAX_SIDE),
}


def tile_spans(window_starts: IntArray, size: int, unit: int, reach: int) -> tuple[IntArray, IntArray]:
    """Along one axis, the tile around each window of ``size`` pixels: starts and lengths, int [N], multiples of unit.

    Inside its tile a window compresses as it would inside the whole image.
    """
    starts = np.maximum(window_starts - reach, 0) // unit * unit
    return starts, -(-(window_starts + size + reach - starts) // unit) * unit


def tile_shapes(tops: IntArray, lefts: IntArray, size: int, geometry: Geometry) -> IntArray:
    """Height and width of the tile around each window: int [N, 2]."""
    axes = zip((tops, lefts), geometry.unit, geometry.reach, strict=True)
    return np.stack([tile_spans(starts, size, unit, reach)[1] for starts, unit, reach in axes], axis=1)


def cut_tiles(
    pixels: UInt8Array, tops: IntArray, lefts: IntArray, size: int, geometry: Geometry = SAMPLINGS["4:2:0"]
) -> tuple[UInt8Array, IntArray, IntArray]:
    """Tiles around windows, with the windows' places inside them: uint8 [N, T, U, 3], int [N], int [N].

    All tiles have one shape, the least that serves every window.

    Raises ConfigError where identity would be lost: if a tile would leave the image, for the encoder invents pixels
    there, or if a window lies so close to the left edge that in a mosaic it would see another tile's chroma.
    """
    reach = geometry.reach[1]
    if np.any(lefts < reach):
        raise ConfigError(f"a window starts {lefts.min()} pixels from the left edge; keep windows {reach} away from it")
    ys, heights = tile_spans(tops, size, geometry.unit[0], geometry.reach[0])
    xs, widths = tile_spans(lefts, size, geometry.unit[1], geometry.reach[1])
    tall, wide = (int(np.max(lengths, initial=0)) or size for lengths in (heights, widths))
    height, width = pixels.shape[:2]
    if len(ys) and (int(ys.max()) + tall > height or int(xs.max()) + wide > width):
        raise ConfigError(
            f"a window needs a {wide} x {tall} tile that leaves the {width} x {height} image; "
            "keep windows that far away from the right and lower edge"
        )
    return np.lib.stride_tricks.sliding_window_view(pixels, (tall, wide, 3))[ys, xs, 0], tops - ys, lefts - xs


def compress_tiles(tiles: UInt8Array, level: int, codec: Codec = CODECS["jpeg"]) -> UInt8Array:
    """Compress tiles uint8 [N, T, U, 3] as mosaics, images one tile high; returns the same shape."""
    count, tall, wide = tiles.shape[:3]
    fitting = MAX_SIDE // wide
    if count > fitting:
        parts = [compress_tiles(tiles[start : start + fitting], level, codec) for start in range(0, count, fitting)]
        return np.concatenate(parts)
    mosaic = tiles.transpose(1, 0, 2, 3).reshape(tall, count * wide, 3)
    return codec.compress(mosaic, level).reshape(tall, count, wide, 3).transpose(1, 0, 2, 3)


def cut_inner(tiles: UInt8Array, tops: IntArray, lefts: IntArray, size: int) -> UInt8Array:
    """One window out of each tile: uint8 [N, size, size, 3]."""
    windows = np.lib.stride_tricks.sliding_window_view(tiles, (1, size, size, 3))[:, :, :, 0, 0]
    return windows[np.arange(len(tiles)), tops, lefts]


def compress_windows(
    pixels: UInt8Array, tops: IntArray, lefts: IntArray, level: int, size: int, codec: Codec = CODECS["jpeg"]
) -> UInt8Array:
    """Windows of an image as they look after the codec at ``level``: uint8 [N, size, size, 3].

    Bit-identical to compressing the whole image and cutting; where the codec has a geometry, at the cost of the
    windows' surroundings only.
    """
    if codec.geometry is None:
        return cut_windows(codec.compress(pixels, level), tops, lefts, size)
    tiles, inner_tops, inner_lefts = cut_tiles(pixels, tops, lefts, size, codec.geometry)
    return cut_inner(compress_tiles(tiles, level, codec), inner_tops, inner_lefts, size)
