"""simplejpeg decodes ordinary JPEG files to Pillow's pixels, bit for bit, and leaves all others to Pillow."""

import io
from itertools import product
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jpeg_segments import adobe, recolour
from pictures import ORIGINALS, PHOTOGRAPHS, encode_jpeg, load_original, make_texture
from PIL import Image, ImageCms

from q1net_core.errors import ImageError
from q1net_core.images import decode as module
from q1net_core.images.decode import decode
from q1net_core.records import UInt8Array


@pytest.fixture
def decoded_fast(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Of each file that is decoded from now on, whether simplejpeg gave its pixels."""
    seen: list[bool] = []
    original = module._decode_ordinary_jpeg

    def spy(*arguments: object) -> object:
        found = original(*arguments)  # type: ignore[arg-type]
        seen.append(found is not None)
        return found

    monkeypatch.setattr(module, "_decode_ordinary_jpeg", spy)
    return seen


def assert_pillows(encoded: bytes) -> None:
    decoded = decode(encoded)
    with Image.open(io.BytesIO(encoded)) as image:
        assert (decoded.format, decoded.mode) == (image.format, image.mode)
        np.testing.assert_array_equal(decoded.pixels, np.asarray(image.convert("RGB")))
    assert decoded.pixels.flags.c_contiguous
    assert decoded.coded is None


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0", "grey"])
def test_pixels_are_pillows_bit_for_bit(subsampling: str, progressive: bool, decoded_fast: list[bool]) -> None:
    options: dict[str, object] = {"progressive": progressive}
    if subsampling != "grey":
        options["subsampling"] = subsampling
    sizes = [(1, 1), (7, 9), (8, 8), (16, 17), (33, 31), (64, 48), (101, 203)]
    pictures = [make_texture(number, *size) for number, size in enumerate(sizes)] + list(map(load_original, ORIGINALS))
    for pixels, quality in product(pictures, (5, 50, 85, 100)):
        assert_pillows(encode_jpeg(pixels[:, :, 0] if subsampling == "grey" else pixels, quality, **options))
    assert decoded_fast == [True] * 4 * len(pictures)


def test_bundled_photographs_are_pillows_bit_for_bit(decoded_fast: list[bool]) -> None:
    paths = sorted(PHOTOGRAPHS.glob("*/*.jpg"))
    for path in paths:
        assert_pillows(path.read_bytes())
    assert len(paths) == 9
    assert decoded_fast == [True] * 9


def test_profiles_orientation_and_comments_change_no_pixel(decoded_fast: list[bool]) -> None:
    pixels, exif = load_original("camera/airplane.png"), Image.Exif()
    exif[0x0112] = 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    encoded = encode_jpeg(pixels, 80, exif=exif, icc_profile=profile, comment=b"x" * 2000, restart_marker_rows=1)
    assert_pillows(encoded)
    np.testing.assert_array_equal(decode(encoded).pixels, decode(encode_jpeg(pixels, 80)).pixels)
    assert decoded_fast == [True] * 3


def test_other_colour_spaces_are_left_to_pillow(decoded_fast: list[bool]) -> None:
    pixels = make_texture(3, 40, 56)
    cmyk = Image.fromarray(pixels).convert("CMYK")
    buffer = io.BytesIO()
    cmyk.save(buffer, "JPEG")
    rgb = recolour(encode_jpeg(pixels, 90, subsampling="4:4:4"), b"RGB", adobe(0))
    for encoded in (buffer.getvalue(), rgb):
        decode(encoded)
    assert decoded_fast == [False, False]


def test_faults_are_left_to_pillow_and_its_words(decoded_fast: list[bool]) -> None:
    whole = encode_jpeg(load_original("camera/airplane.png"), 80)
    with pytest.raises(ImageError, match="image file is truncated"):
        decode(whole[: len(whole) // 2])
    # Pillow decodes a file whose last marker is missing, as it did before.
    junk = whole[:-2] + b"\xff\x00\x12\xff\xd9"
    with Image.open(io.BytesIO(junk)) as image:
        expected = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(decode(junk).pixels, expected)
    assert decoded_fast[0] is False


SEEDS = [
    encode_jpeg(make_texture(1, 40, 56), 75),
    encode_jpeg(make_texture(2, 24, 24), 90, progressive=True, subsampling="4:4:4"),
    encode_jpeg(make_texture(3, 30, 20)[:, :, 0], 60),
]


def outcome(encoded: bytes) -> UInt8Array | str:
    """Pixels, or the status of the error."""
    try:
        return decode(encoded).pixels
    except ImageError as error:
        return str(error.status)


@given(
    st.sampled_from(SEEDS),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=4),
    st.integers(0, 40),
)
def test_damaged_files_come_out_as_if_there_were_pillow_alone(
    seed: bytes, changes: list[tuple[float, int]], cut: int
) -> None:
    mutated = bytearray(seed)
    for place, value in changes:
        mutated[int(place * len(mutated))] = value
    encoded = bytes(mutated[: len(mutated) - cut])
    found = outcome(encoded)
    with patch.object(module, "_decode_ordinary_jpeg", return_value=None):
        np.testing.assert_array_equal(found, outcome(encoded))
