import io
import re
import struct
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

import jpeglib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from image_files import (
    FLAT,
    OPAQUE_FORMATS,
    PHOTO,
    encode,
    failure,
    ordinary,
    photo,
    pixels_of,
    png,
    with_size,
)
from jpeg_segments import adobe, recolour
from pictures import encode_jpeg, load_original
from PIL import Image

from q1net_core.errors import ConfigError, ImageError
from q1net_core.images.decode import Limits, decode
from q1net_core.jpeg.header import read_jpeg_header
from q1net_core.lattice.blocks import luma_of
from q1net_core.lattice.estimate import estimate_lattice
from q1net_core.records import DecodedImage, Status

ALPHA = Image.fromarray(np.dstack([np.asarray(PHOTO), np.arange(40 * 56, dtype=np.uint32).reshape(40, 56) % 256])
                        .astype(np.uint8))  # fmt: skip


def assert_contract(decoded: DecodedImage) -> None:
    assert decoded.pixels.dtype == np.uint8
    assert decoded.pixels.ndim == 3
    assert decoded.pixels.shape[2] == 3
    assert decoded.pixels.flags.c_contiguous


@pytest.mark.parametrize("format", OPAQUE_FORMATS)
def test_colour_in_every_format_is_what_pillow_decodes(format: str) -> None:
    encoded = ordinary(format)
    decoded = decode(encoded)
    assert_contract(decoded)
    with Image.open(io.BytesIO(encoded)) as image:
        assert (decoded.format, decoded.mode) == (image.format, image.mode)
        np.testing.assert_array_equal(decoded.pixels, pixels_of(image))
    assert np.abs(decoded.pixels.astype(int) - np.asarray(PHOTO)).mean() < (40 if format == "GIF" else 12)


@pytest.mark.parametrize(
    ("format", "mode", "options"),
    [
        ("JPEG", "L", {}),
        ("JPEG", "RGB", {"progressive": True}),
        ("PNG", "L", {}),
        ("PNG", "1", {}),
        ("PNG", "LA", {}),
        ("PNG", "P", {}),
        ("TIFF", "1", {}),
        ("TIFF", "L", {"compression": "tiff_lzw"}),
        ("TIFF", "P", {}),
        ("TIFF", "PA", {}),
        ("TIFF", "CMYK", {"compression": "tiff_adobe_deflate"}),
        ("TIFF", "RGB", {"compression": "jpeg"}),
        ("BMP", "1", {}),
        ("BMP", "L", {}),
        ("BMP", "P", {}),
        ("GIF", "L", {}),
        ("JPEG2000", "L", {}),
        ("JPEG2000", "RGB", {"no_jp2": True}),
        ("PPM", "L", {}),
        ("PPM", "1", {}),
    ],
)
def test_modes_without_colour_or_with_a_palette(format: str, mode: str, options: dict[str, object]) -> None:
    source = PHOTO.convert(mode)
    encoded = encode(source, format, **options)
    decoded = decode(encoded)
    assert_contract(decoded)
    # Pillow may store grey GIFs with a palette.
    assert decoded.mode == mode or format == "GIF"
    with Image.open(io.BytesIO(encoded)) as image:
        np.testing.assert_array_equal(decoded.pixels, pixels_of(image))
    if format not in ("JPEG", "JPEG2000") and options.get("compression") != "jpeg":
        np.testing.assert_array_equal(decoded.pixels, pixels_of(source))


@pytest.mark.parametrize("inverted", [False, True])
def test_cmyk_jpeg(inverted: bool) -> None:
    cmyk = PHOTO.convert("CMYK")
    encoded = encode(cmyk, "JPEG", quality=98)
    decoded = decode(encoded)
    assert decoded.mode == "CMYK"
    assert np.abs(decoded.pixels.astype(int) - pixels_of(cmyk)).mean() < 4
    if inverted:
        # Adobe's transform 2 means YCCK: the same samples must now be taken as luma and chroma.
        ycck = re.sub(b"(Adobe.{6})\x00", b"\\1\x02", encoded, count=1, flags=re.DOTALL)
        assert ycck != encoded
        with Image.open(io.BytesIO(ycck)) as image:
            np.testing.assert_array_equal(decode(ycck).pixels, pixels_of(image))
        assert (decode(ycck).pixels != decoded.pixels).any()


# What each kind of plane holds of the picture that was compressed, before its compression.
PLANES = {
    "CMYK": (lambda: PHOTO.convert("CMYK"), {}),
    "black alone": (lambda: Image.merge("CMYK", [Image.new("L", PHOTO.size, 3)] * 3 + [PHOTO.convert("L")]), {}),
    "RGB": (lambda: PHOTO, {"keep_rgb": True}),
}


@pytest.mark.parametrize(("make", "options"), PLANES.values(), ids=PLANES)
def test_planes_coded_each_by_itself_are_kept_apart_the_busiest(
    make: Callable[[], Image.Image], options: dict[str, bool]
) -> None:
    image = make()
    encoded = encode(image, "JPEG", quality=90, **options)
    planes = np.asarray(Image.open(io.BytesIO(encoded)))
    busiest = planes[..., planes.reshape(-1, planes.shape[2]).std(axis=0).argmax()]
    assert busiest.std() > 10
    assert np.array_equal(decode(encoded).coded, busiest)


@pytest.mark.parametrize(
    ("file", "lattice"),
    [("L", None), ("RGB", None), ("PNG", None), ("YCCK", 70), ("YCCK of mozjpeg", 61)],
)
def test_the_luma_that_was_coded_can_be_found(file: str, lattice: int | None, tmp_path: Path) -> None:
    """YCCK is YCbCr of the inverted inks, and black; all else needs nothing apart from its pixels."""
    if file.startswith("YCCK"):
        inks = np.asarray(Image.fromarray(load_original("camera/airplane.png")).convert("CMYK")).copy()
        with jpeglib.version("mozjpeg403" if "mozjpeg" in file else "6b"):
            jpeg = jpeglib.from_spatial(inks, in_color_space=jpeglib.JCS_CMYK)
            jpeg.jpeg_color_space = jpeglib.JCS_YCCK
            jpeg.write_spatial(str(tmp_path / "ycck.jpg"), qt=70)
        decoded = decode((tmp_path / "ycck.jpg").read_bytes())
        assert decoded.mode == "CMYK"
        assert decoded.coded.shape == decoded.pixels.shape[:2]
        assert decoded.coded.dtype == np.uint8
        assert estimate_lattice(decoded.coded).quality == lattice
    else:
        format, mode = ("PNG", "RGB") if file == "PNG" else ("JPEG", file)
        assert decode(encode(PHOTO.convert(mode), format)).coded is None


def test_ycbcr_is_not_taken_for_rgb_because_of_its_components_names() -> None:
    plain = encode_jpeg(load_original("camera/airplane.png"), 70)
    named = recolour(plain, b"RGB", adobe(1))
    decoded = decode(named)
    np.testing.assert_array_equal(decoded.pixels, decode(plain).pixels)
    assert decoded.coded is None
    header = read_jpeg_header(named)
    assert (header.quality, header.match) == (70, "exact")
    assert estimate_lattice(decoded.pixels).quality == 70


@pytest.mark.parametrize("transform", [1, 2, 3])
def test_luma_of_ycck_is_that_of_its_inks_but_for_clipped_pixels(transform: int) -> None:
    busy = np.random.default_rng(2).integers(0, 256, (40, 56, 4), dtype=np.uint8)
    encoded = recolour(encode(Image.fromarray(busy, "CMYK"), "JPEG", quality=90), b"\1\2\3\4", adobe(transform))
    inks = np.asarray(Image.open(io.BytesIO(encoded)))[..., :3]
    clipped = ((inks == 0) | (inks == 255)).any(axis=2)
    assert 0.1 < clipped.mean() < 0.9
    assert np.array_equal(decode(encoded).coded, np.where(clipped, 0, luma_of(inks)))


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF", "AVIF"])
def test_alpha_is_dropped_not_composited(format: str) -> None:
    options: dict[str, object] = {"lossless": True, "exact": True} if format == "WEBP" else {}
    decoded = decode(encode(ALPHA, format, **options))
    assert decoded.mode == "RGBA"
    distance = np.abs(decoded.pixels.astype(int) - np.asarray(ALPHA)[:, :, :3]).max(axis=2)
    # libwebp's animation decoder clears what is fully transparent, and lossy AVIF is close at best.
    visible = np.asarray(ALPHA)[:, :, 3] > 0
    assert np.median(distance[visible]) <= (8 if format == "AVIF" else 0)


def test_transparency_of_palettes_and_colours_is_ignored() -> None:
    for transparency in (3, bytes(range(0, 240, 20))):
        for format in ("PNG", "GIF") if isinstance(transparency, int) else ("PNG",):
            decoded = decode(encode(FLAT, format, transparency=transparency))
            np.testing.assert_array_equal(decoded.pixels, pixels_of(FLAT))
    for source, colour in ((PHOTO.convert("L"), 99), (PHOTO, (1, 2, 3))):
        decoded = decode(encode(source, "PNG", transparency=colour))
        np.testing.assert_array_equal(decoded.pixels, pixels_of(source))


def test_16_bit_samples_keep_their_high_byte() -> None:
    samples = np.array([[0, 1, 255, 256], [257, 0x1234, 0xFF00, 0xFFFF]], np.uint16)
    expected = np.repeat((samples >> 8).astype(np.uint8)[:, :, np.newaxis], 3, axis=2)
    big_endian = Image.frombytes("I;16B", (4, 2), samples.astype(">u2").tobytes())
    files = {
        "PNG": encode(Image.fromarray(samples), "PNG"),
        "TIFF": encode(Image.fromarray(samples), "TIFF"),
        "TIFF big-endian": encode(big_endian, "TIFF"),
        "TIFF 32-bit": encode(Image.fromarray(samples.astype(np.int32)), "TIFF"),
        "PPM": b"P5 4 2 65535\n" + samples.astype(">u2").tobytes(),
        "JPEG2000": encode(Image.fromarray(samples), "JPEG2000"),
    }
    for name, encoded in files.items():
        decoded = decode(encoded)
        assert_contract(decoded)
        assert decoded.mode.startswith("I"), name
        np.testing.assert_array_equal(decoded.pixels, expected, err_msg=name)


def test_16_bit_colour_png_keeps_its_high_byte() -> None:
    row = b"\0" + struct.pack(">6H", 0x1234, 0xFF00, 0x00FF, 0xABCD, 0, 0xFFFF)
    encoded = png(struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0), row)
    assert decode(encoded).pixels.tolist() == [[[0x12, 0xFF, 0], [0xAB, 0, 0xFF]]]


def test_samples_without_a_meaning_as_pixels_are_unsupported() -> None:
    floats = Image.fromarray(np.ones((4, 4), np.float32))
    wide = Image.fromarray(np.array([[0, 70_000]], np.int32))
    negative = Image.fromarray(np.array([[-1, 5]], np.int32))
    lab = Image.new("LAB", (8, 8))
    for source, words in ((floats, "mode F"), (wide, "70000"), (negative, "-1"), (lab, "mode LAB")):
        error = failure(encode(source, "TIFF"))
        assert (error.status, words in str(error)) == (Status.UNSUPPORTED, True), error


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_not_applied(format: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    decoded = decode(encode(PHOTO, format, exif=exif))
    np.testing.assert_array_equal(decoded.pixels, decode(encode(PHOTO, format)).pixels)


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF", "AVIF"])
def test_first_frame_of_several(format: str) -> None:
    first, second = FLAT, PHOTO.transpose(Image.Transpose.FLIP_LEFT_RIGHT).quantize(12)
    if format != "GIF":
        first, second = first.convert("RGB"), second.convert("RGB")
    options: dict[str, object] = {"lossless": True} if format == "WEBP" else {}
    if format in ("GIF", "PNG"):
        options["disposal"] = 2
    encoded = encode(first, format, save_all=True, append_images=[second], **options)
    with Image.open(io.BytesIO(encoded)) as image:
        assert image.n_frames == 2
    decoded = decode(encoded)
    assert decoded.pixels.shape == (40, 56, 3)
    distance = np.abs(decoded.pixels.astype(int) - pixels_of(first)).mean()
    assert distance < (15 if format == "AVIF" else 1e-9)
    assert np.abs(decoded.pixels.astype(int) - pixels_of(second)).mean() > 2 * distance


def test_no_bytes_are_empty() -> None:
    assert failure(b"").status is Status.EMPTY


def test_kinds_that_pillow_does_not_decode_are_unsupported() -> None:
    jpeg = ordinary("JPEG")
    twelve_bit = jpeg.replace(b"\xff\xc0\x00\x11\x08", b"\xff\xc0\x00\x11\x0c")
    tiff = encode(PHOTO, "TIFF")
    compression = struct.pack("<HHLL", 259, 3, 1, 1)
    assert compression in tiff
    for encoded in (twelve_bit, tiff.replace(compression, struct.pack("<HHLL", 259, 3, 1, 999))):
        assert failure(encoded).status is Status.UNSUPPORTED


@pytest.mark.parametrize("format", OPAQUE_FORMATS)
def test_truncated_anywhere_is_an_image_error(format: str) -> None:
    encoded = ordinary(format)
    for length in sorted({*range(1, 40), *np.linspace(40, len(encoded) * 0.9, 25).astype(int).tolist()}):
        if format == "JPEG2000" and length > 200:
            continue  # OpenJPEG decodes what there is
        error = failure(encoded[:length])
        expected = {Status.CORRUPT, Status.UNSUPPORTED} if length < 16 else {Status.CORRUPT}
        assert error.status in expected, (length, error)


def test_limits_are_exact() -> None:
    for format in OPAQUE_FORMATS:
        encoded = ordinary(format)
        assert decode(encoded, Limits(len(encoded), 56 * 40)).pixels.shape == (40, 56, 3)
        error = failure(encoded, Limits(len(encoded), 56 * 40 - 1))
        assert (error.status, "max_pixels=2239" in str(error)) == (Status.TOO_LARGE, True)
        error = failure(encoded, Limits(len(encoded) - 1, 56 * 40))
        assert (error.status, f"max_bytes={len(encoded) - 1}" in str(error)) == (Status.TOO_LARGE, True)
    for format in ("JPEG", "BMP", "PPM"):
        assert failure(with_size(format, 0, 40)).status is Status.CORRUPT


def test_limits_are_validated() -> None:
    for wrong in (0, -1, 1.5, True, None):
        with pytest.raises(ConfigError, match="max_bytes"):
            Limits(max_bytes=wrong)  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match="max_pixels"):
            Limits(max_pixels=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("format", OPAQUE_FORMATS)
def test_pillows_own_limit_neither_fails_nor_warns(format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert decode(ordinary(format)).pixels.shape == (40, 56, 3)
    assert Image.MAX_IMAGE_PIXELS == 10


DECODE = """
import sys
from pathlib import Path
from q1net_core.images.decode import decode
for name in sys.argv[1:]:
    print(decode(Path(name).read_bytes()).pixels.shape)
"""


@pytest.mark.parametrize("action", ["error", "always"])
def test_pillows_warnings_neither_fail_nor_show(action: str, tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 2, 1, 8, 0, 0, 0, 0)
    animation = png(header, b"\0\1\2", (b"acTL", struct.pack(">II", 0, 0)))
    samples, too_many = struct.pack("<HHLHH", 277, 3, 1, 3, 0), struct.pack("<HHLHH", 277, 3, 2, 3, 3)
    tiff = encode(PHOTO, "TIFF")
    assert samples in tiff
    files = {tmp_path / "a.png": animation, tmp_path / "b.tif": tiff.replace(samples, too_many)}
    for path, encoded in files.items():
        path.write_bytes(encoded)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(UserWarning), Image.open(path) as image:
                image.load()
    # In a process of its own, for pytest puts filters in front of the one that decode sets when it is loaded.
    command = [sys.executable, "-W", action, "-c", DECODE, *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("(1, 2, 3)\n(40, 56, 3)\n", "")


def test_threads_decode_at_once() -> None:
    encoded = encode(photo(400, 400), "PNG")
    expected = decode(encoded).pixels
    results: list[bool] = []

    def work() -> None:
        for _ in range(10):
            results.append(bool((decode(encoded).pixels == expected).all()))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 40


SEEDS = [ordinary(format) for format in OPAQUE_FORMATS]
SEEDS += [
    encode(PHOTO, "JPEG", progressive=True),
    encode(PHOTO, "TIFF", compression="tiff_lzw"),
    encode(PHOTO, "TIFF", compression="jpeg"),
    encode(PHOTO, "JPEG2000", no_jp2=True),
    encode(PHOTO, "WEBP", lossless=True),
    encode(FLAT, "PNG", transparency=3),
    encode(FLAT, "GIF", save_all=True, append_images=[FLAT.rotate(180)], transparency=1, disposal=2),
    encode(PHOTO, "PNG", save_all=True, append_images=[PHOTO.rotate(180)], disposal=1),
    encode(PHOTO, "MPO", save_all=True, append_images=[PHOTO.rotate(180)]),
    b"P3 2 1 255\n1 2 3 4 5 6\n",
    b"P6 2 1 100\n123456",
]


def pixels_or_image_error(encoded: bytes) -> None:
    status = Status.OK
    try:
        assert_contract(decode(encoded, Limits(max_pixels=1_000_000)))
    except ImageError as error:
        status = error.status
    assert status in {Status.OK, Status.EMPTY, Status.UNSUPPORTED, Status.CORRUPT, Status.TOO_LARGE}


@given(st.sampled_from(SEEDS), st.integers(0, 40), st.binary(max_size=200))
def test_random_bytes_give_pixels_or_an_image_error(seed: bytes, kept: int, tail: bytes) -> None:
    pixels_or_image_error(seed[:kept] + tail)


@given(
    st.sampled_from(SEEDS),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255), st.booleans()), min_size=1, max_size=6),
    st.floats(0, 2),
)
def test_mutated_files_give_pixels_or_an_image_error(
    seed: bytes, changes: list[tuple[float, int, bool]], keep: float
) -> None:
    mutated = bytearray(seed)
    for place, value, in_header in changes:
        mutated[min(int(place * (200 if in_header else len(mutated))), len(mutated) - 1)] = value
    pixels_or_image_error(bytes(mutated[: max(1, int(keep * len(mutated)))]))
