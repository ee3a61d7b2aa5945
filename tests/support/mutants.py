"""Damaged image files by seed, and a process that judges many of them: `python tests/support/mutants.py FIRST COUNT`.

Every mutant is made from its number alone, so that one that makes trouble can be had again. The process prints a JSON
line of totals. A mutant that takes more than SECONDS of processor time ends it by SIGPROF, a crash by its own signal;
the last line on stderr is the number of the mutant.
"""

import json
import random
import signal
import struct
import sys
import zlib
from collections import Counter, defaultdict
from functools import cache
from pathlib import Path

from memory import peak_kibibytes

# Of processor time for one image of up to PIXELS pixels, and of memory for the whole process.
SECONDS, PIXELS, MEBIBYTES = 10, 4_000_000, 512
SIDE = 64
INTERESTING = (0, 1, 0x7F, 0x80, 0xFE, 0xFF)


@cache
def originals() -> tuple[bytes, ...]:
    """Sound files of three formats: baseline and progressive, grey and CMYK, palette and alpha, lossy and lossless."""
    from image_files import encode, photo

    picture = photo(SIDE, SIDE)
    jpegs = [encode(picture, "JPEG", quality=60), encode(picture, "JPEG", progressive=True, subsampling=0)]
    jpegs += [encode(picture.convert("L"), "JPEG"), encode(picture.convert("CMYK"), "JPEG", restart_marker_rows=1)]
    pngs = [encode(picture, "PNG"), encode(picture.quantize(16), "PNG"), encode(picture.convert("LA"), "PNG")]
    webps = [encode(picture, "WEBP", quality=50), encode(picture, "WEBP", lossless=True)]
    webps += [encode(picture, "WEBP", save_all=True, append_images=[picture.rotate(90)], duration=40)]
    return *jpegs, *pngs, *webps


def make_mutant(number: int) -> bytes:
    """One to eight damages to one of the files; of half of the PNG files the checksums are made right again."""
    draw = random.Random(number)
    files = originals()
    content = bytearray(draw.choice(files))
    for _ in range(draw.choice((1, 1, 2, 3, 8))):
        damage(content, draw, files)
    return mend_checksums(bytes(content)) if draw.random() < 0.5 else bytes(content)


def format_of(number: int) -> str:
    """The format of the file that a mutant was made from."""
    from q1net_core.images.sniff import sniff_format

    return sniff_format(random.Random(number).choice(originals()))


def damage(content: bytearray, draw: random.Random, files: tuple[bytes, ...]) -> None:
    """Change something in place; headers twice as often as they are long."""
    end = max(1, len(content))
    at = draw.randrange(end if draw.random() < 0.5 else min(end, 200))
    length = draw.choice((1, 2, 4, 16, 200))
    kind = draw.randrange(8)
    if kind == 0 and content:
        content[min(at, len(content) - 1)] ^= 1 << draw.randrange(8)
    elif kind == 1:
        content[at : at + 1] = bytes([draw.choice(INTERESTING)])
    elif kind == 2:
        content[at : at + 4] = struct.pack(draw.choice("<>") + "I", draw.choice((0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 65535)))
    elif kind == 3:
        del content[at:]
    elif kind == 4:
        del content[at : at + length]
    elif kind == 5:
        content[at:at] = content[at : at + length] * draw.choice((1, 2, 50))
    elif kind == 6:
        content[at:at] = draw.randbytes(length)
    else:
        other = draw.choice(files)
        place = draw.randrange(len(other))
        content[at : at + length] = other[place : place + length]


def mend_checksums(content: bytes) -> bytes:
    """A PNG file with right checksums as far as its chunks can be followed; any other file as it is."""
    if content[:8] != b"\x89PNG\r\n\x1a\n":
        return content
    mended, at = bytearray(content), 8
    while at + 12 <= len(mended):
        end = at + 8 + int.from_bytes(mended[at : at + 4])
        if end + 4 > len(mended):
            break
        mended[end : end + 4] = struct.pack(">I", zlib.crc32(mended[at + 4 : end]))
        at = end + 4
    return bytes(mended)


def judge_all(numbers: range) -> dict[str, object]:
    """Statuses of these mutants by format, and what the most expensive one and all of them together took."""
    from q1net_core.estimator import sample_image
    from q1net_core.records import ImageRecord, ListedImage
    from q1net_core.settings import EstimatorSettings

    settings = EstimatorSettings(estimators=("lattice",), max_pixels=PIXELS, max_bytes=1 << 20)
    statuses: defaultdict[str, Counter[str]] = defaultdict(Counter)
    slowest = 0.0
    for number in numbers:
        print(number, file=sys.stderr)
        encoded = make_mutant(number)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        record = sample_image(ListedImage(f"{number}"), encoded, settings)
        slowest = max(slowest, SECONDS - signal.getitimer(signal.ITIMER_PROF)[0])
        signal.setitimer(signal.ITIMER_PROF, 0)
        assert isinstance(record, ImageRecord)
        assert (record.error is None) == (record.status.value == "ok") == (record.verdict is not None)
        assert record.error is None or "\n" not in record.error
        statuses[format_of(number)][record.status.value] += 1
    return {
        "statuses": statuses,
        "slowest_seconds": round(slowest, 2),
        "peak_mebibytes": peak_kibibytes() // 1024,
    }


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    first, count = map(int, sys.argv[1:])
    print(json.dumps(judge_all(range(first, first + count))))
