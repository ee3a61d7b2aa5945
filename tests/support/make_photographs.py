"""Make tests/photographs/ and its truth.csv: `python tests/support/make_photographs.py KODAK_FOLDER`.

The patches by which `q1net export` checks models are cut from them, as a mosaic, one photograph a row.
The folder holds kodak_1 ... kodak_24, in any lossless format. The same Pillow gives the same bytes every time.
"""

import csv
import sys
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from q1net_core.images.decode import decode
from q1net_core.jpeg.header import read_jpeg_header
from q1net_core.jpeg.tables import PHOTOSHOP_TABLES
from q1net_core.patches import sample_patches
from q1net_core.records import UInt8Array

OUTPUT = Path(__file__).parents[1] / "photographs"
EXPORT_PATCHES = Path(__file__).parents[2] / "q1net_core/data/patches.png"
PATCHES_PER_PHOTOGRAPH = 16
COLUMNS = ("file", "quality", "header_quality", "grid_x", "grid_y", "subsampling", "note")
BLOCK = 8

PHOTOSHOP_7 = {
    "qtables": [list(PHOTOSHOP_TABLES[7].luma), list(PHOTOSHOP_TABLES[7].chroma)],
    "subsampling": PHOTOSHOP_TABLES[7].subsampling,
}
Options = dict[str, object]


def jpeg(quality: int, **options: object) -> Options:
    """Pillow's options of one JPEG compression, 4:2:0 unless said otherwise."""
    return {"subsampling": "4:2:0"} | options | {"quality": quality}


@dataclass(frozen=True)
class Photograph:
    """One file: the Kodak image ``source``, compressed by each of ``jpegs`` in turn, then cut to ``box``.

    ``quality`` is the level that dominates the pixels; a .png file is saved from the pixels after all of that.
    """

    file: str
    source: int
    jpegs: tuple[Options, ...]
    quality: int | None
    note: str
    box: tuple[int, int, int, int] | None = None
    mode: str = "RGB"


# A box is (left, top, right, bottom).
PHOTOGRAPHS = (
    Photograph("camera/parrots.jpg", 23, (jpeg(92),), 92, "plain"),
    Photograph("camera/lighthouse.jpg", 21, (jpeg(85),), 85, "plain"),
    Photograph("camera/hats.jpg", 3, (jpeg(90, subsampling="4:4:4"),), 90, "full colour resolution"),
    Photograph("camera/statue.jpg", 17, (jpeg(80),), 80, "grey", mode="L"),
    Photograph("camera/barn.jpg", 22, (PHOTOSHOP_7,), None, "tables of Photoshop's level 7; no libjpeg level"),
    Photograph("camera/airplane.png", 20, (), None, "never compressed", box=(128, 96, 640, 480)),
    Photograph("messenger/houses.jpg", 8, (jpeg(75),), 75, "plain"),
    Photograph("messenger/sailing.jpg", 10, (jpeg(60, progressive=True),), 60, "progressive"),
    Photograph("messenger/motocross.jpg", 5, (jpeg(35),), 35, "plain"),
    Photograph("messenger/rafting.jpg", 14, (jpeg(40), jpeg(95)), 40, "saved twice on the same grid, 40 then 95"),
    Photograph(
        "messenger/wreck.png", 11, (jpeg(70),), 70, "header lost, cut on the grid", box=(128, 64, 128 + 512, 64 + 384)
    ),
    Photograph("messenger/chalet.png", 24, (jpeg(50),), 50, "header lost, cut off the grid", box=(131, 69, 643, 453)),
)


def encode(picture: Image.Image, options: Options) -> bytes:
    """One JPEG compression."""
    buffer = BytesIO()
    picture.save(buffer, "JPEG", **options)
    return buffer.getvalue()


def make_photograph(photograph: Photograph, kodak: Path) -> bytes:
    """The encoded file of one photograph."""
    (source,) = kodak.glob(f"kodak_{photograph.source}.*")
    picture = Image.open(source).convert(photograph.mode)
    encoded = b""
    for options in photograph.jpegs:
        encoded = encode(picture, options)
        picture = Image.open(BytesIO(encoded))
    if photograph.file.endswith(".jpg"):
        return encoded
    buffer = BytesIO()
    picture.crop(photograph.box).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def describe(photograph: Photograph, encoded: bytes) -> dict[str, object]:
    """One line of truth.csv; the header's quality is read from the file, all else is how the file was made."""
    header = read_jpeg_header(encoded)
    left, top = photograph.box[:2] if photograph.box else (0, 0)
    last = photograph.jpegs[-1] if photograph.jpegs else None
    return {
        "file": photograph.file,
        "quality": photograph.quality,
        "header_quality": None if header is None or header.quality is None else round(header.quality),
        "grid_x": -left % BLOCK if last else None,
        "grid_y": -top % BLOCK if last else None,
        "subsampling": None if last is None else "grey" if photograph.mode == "L" else last["subsampling"],
        "note": photograph.note,
    }


def make_mosaic() -> UInt8Array:
    """Patches of all photographs, decoded as an audit would: uint8 [16 per photograph, 16 x 16, 3]."""
    paths = [OUTPUT / photograph.file for photograph in PHOTOGRAPHS]
    patches = [sample_patches(decode(path.read_bytes()).pixels, PATCHES_PER_PHOTOGRAPH) for path in sorted(paths)]
    return np.concatenate([row.transpose(1, 0, 2, 3).reshape(len(row[0]), -1, 3) for row in patches])


def main(kodak: Path) -> None:
    """Write every photograph and the table of their truth."""
    rows = []
    for photograph in PHOTOGRAPHS:
        encoded = make_photograph(photograph, kodak)
        path = OUTPUT / photograph.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded)
        rows.append(describe(photograph, encoded))
    with (OUTPUT / "truth.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    Image.fromarray(make_mosaic()).save(EXPORT_PATCHES, optimize=True)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
