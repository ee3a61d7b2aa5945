"""Every codec by its name: what ``--codec`` takes. A new codec is one function and one line here.

Layer: numpy and Pillow, PyAV where a video codec is used; no keras, no beam, no pyarrow.
"""

from functools import partial

from q1net_core.codecs import still, video
from q1net_core.codecs.base import Codec, pillow_versions
from q1net_core.codecs.jpeg import JPEG, encode_jpeg, encode_tables, jpeg_codec, mozjpeg_tables
from q1net_core.jpeg.tables import PHOTOSHOP_TABLES, SAVE_FOR_WEB_TABLES

# Photoshop's lower levels are 4:2:0, the others 4:4:4, to which the geometry of 4:2:0 applies as well.
CODECS: dict[str, Codec] = {
    "jpeg": JPEG,
    "jpeg-422": jpeg_codec(partial(encode_jpeg, sampling="4:2:2"), sampling="4:2:2"),
    "jpeg-444": jpeg_codec(partial(encode_jpeg, sampling="4:4:4"), sampling="4:4:4"),
    "jpeg-grey": jpeg_codec(partial(encode_jpeg, sampling="grey"), sampling="grey"),
    "jpeg-photoshop": jpeg_codec(lambda pixels, level: encode_tables(pixels, PHOTOSHOP_TABLES[level]), range(13)),
    "jpeg-save-for-web": jpeg_codec(
        lambda pixels, level: encode_tables(pixels, SAVE_FOR_WEB_TABLES[level]), tuple(SAVE_FOR_WEB_TABLES)
    ),
    "jpeg-mozjpeg": jpeg_codec(lambda pixels, level: encode_tables(pixels, mozjpeg_tables(level))),
    "webp": Codec(still.compress_webp, range(101), partial(pillow_versions, "webp"), still.MAX_WEBP_SIDE),
    "avif": Codec(still.compress_avif, range(101), partial(pillow_versions, "avif"), still.MAX_AVIF_SIDE),
    "jpeg2000": Codec(
        still.compress_jpeg2000, range(20, 51), partial(pillow_versions, "jpg_2000"), still.MAX_JPEG2000_SIDE
    ),
    **{
        name: Codec(
            partial(video.compress_video, codec=name),
            video.QP if encoder.constant_qp else video.CRF,
            video.versions,
            video.MAX_VIDEO_SIDE,
        )
        for name, encoder in video.ENCODERS.items()
    },
}
