"""JPEG codecs: the tables and the sampling that were asked for stand in the file."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from q1net_core.arrays import UInt8Array
from q1net_core.codecs.jpeg import SAMPLINGS, encode_jpeg, encode_tables, mozjpeg_tables
from q1net_core.codecs.table import CODECS
from q1net_core.jpeg.header import read_jpeg_header
from q1net_core.jpeg.tables import PHOTOSHOP_TABLES, SAVE_FOR_WEB_TABLES, TablePair

PHOTOGRAPH = Path(__file__).parents[2] / "photographs" / "camera" / "airplane.png"


@pytest.fixture(scope="module")
def photograph() -> UInt8Array:
    return np.asarray(Image.open(PHOTOGRAPH))


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_jpeg_has_standard_tables_at_the_level_and_sampling_asked_for(photograph: UInt8Array, sampling: str) -> None:
    for level in (1, 50, 93, 100):
        header = read_jpeg_header(encode_jpeg(photograph[:64, :64], level, sampling))
        assert header is not None
        assert (header.quality, header.match, header.subsampling) == (level, "exact", sampling)


@pytest.mark.parametrize(
    ("family", "tables"),
    [
        ("photoshop", PHOTOSHOP_TABLES),
        ("save_for_web", SAVE_FOR_WEB_TABLES),
        ("mozjpeg", {level: mozjpeg_tables(level) for level in (40, 50, 90)}),
    ],
)
def test_tables_of_other_encoders_are_written_as_they_are(
    photograph: UInt8Array, family: str, tables: dict[int, TablePair]
) -> None:
    for level, pair in tables.items():
        encoded = encode_tables(photograph[:64, :64], pair)
        header = read_jpeg_header(encoded)
        assert header is not None
        assert (header.match, header.subsampling) == (family, pair.subsampling)
        codec = CODECS[f"jpeg-{family.replace('_', '-')}"]
        decoded = np.asarray(Image.open(BytesIO(encoded)))
        assert np.array_equal(codec.compress(photograph[:64, :64], level), decoded)
        written = Image.open(BytesIO(encoded)).quantization
        assert tuple(written[0]) == pair.luma
