"""A corpus of two hundred varied small images, made of the bundled photographs: every format, altered, and broken."""

from io import BytesIO
from pathlib import Path

import numpy as np
from image_files import with_size
from pictures import PHOTOGRAPHS, encode_jpeg
from PIL import Image

IMAGES = 200
LOSSLESS = {"png": "PNG", "bmp": "BMP", "tif": "TIFF", "ppm": "PPM", "jp2": "JPEG2000"}


def crop(photograph: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A piece of a photograph, 72 to 144 pixels a side."""
    width, height = (int(side) for side in rng.integers(72, 145, 2))
    left, top = int(rng.integers(photograph.width - width)), int(rng.integers(photograph.height - height))
    return photograph.crop((left, top, left + width, top + height))


def make_file(number: int, picture: Image.Image, rng: np.random.Generator) -> tuple[str, bytes]:
    """The name's ending and the bytes of one file, of one of twenty kinds in turn."""
    kind = number % 20
    pixels, quality = np.asarray(picture), int(rng.integers(5, 101))
    jpeg = encode_jpeg(pixels, quality)
    if kind < 6:
        return "jpg", encode_jpeg(pixels, quality, subsampling=kind % 3, progressive=kind > 3)
    if kind < 9:
        # Shown, then saved without loss: the header is gone, the lattice is left.
        ending, form = list(LOSSLESS.items())[kind - 6]
        return ending, save(Image.open(BytesIO(jpeg)), form)
    if kind < 11:
        return "jpg", encode_jpeg(np.asarray(Image.open(BytesIO(jpeg))), int(rng.integers(5, 101)))
    if kind < 15:
        ending, form = list(LOSSLESS.items())[kind - 10]
        return ending, save(picture, form)
    made = {
        15: ("webp", save(picture, "WEBP")),
        16: ("gif", save(picture.quantize(64), "GIF")),
        17: ("jpg", encode_jpeg(np.asarray(picture.convert("L")), quality)),
        18: ("jpg", jpeg[: len(jpeg) * 2 // 5]),
    }
    return made[kind] if kind in made else make_broken(number // 20 % 6, rng)


def make_broken(kind: int, rng: np.random.Generator) -> tuple[str, bytes]:
    """One of six files that are no usable image."""
    tiny = Image.fromarray(rng.integers(0, 256, (9, 70, 3), dtype=np.uint8))
    return [
        ("jpg", b""),
        ("jpg", b"this is not an image\n"),
        ("png", rng.bytes(500)),
        ("png", save(tiny, "PNG")),
        ("png", with_size("PNG", 60_000, 60_000)),
        ("webp", with_size("WEBP", 16_000, 16_000)),
    ][kind]


def save(picture: Image.Image, form: str) -> bytes:
    """A picture as a file of one of Pillow's formats."""
    buffer = BytesIO()
    picture.save(buffer, form)
    return buffer.getvalue()


def write_corpus(folder: Path) -> Path:
    """Write the corpus, always the same one; returns the folder."""
    rng = np.random.default_rng(20260101)
    # At half their size no compression is left in the compressed ones.
    photographs = [
        picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.LANCZOS)
        for path in sorted(PHOTOGRAPHS.glob("*/*.*"))
        for picture in [Image.open(path).convert("RGB")]
    ]
    for number in range(IMAGES):
        ending, encoded = make_file(number, crop(photographs[number % len(photographs)], rng), rng)
        (folder / f"{number:03d}.{ending}").write_bytes(encoded)
    return folder
