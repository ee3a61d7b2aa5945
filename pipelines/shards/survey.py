"""The first pass of `q1net shards`: every image is looked at; what cannot be used is named, the others get a split."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput

from pipelines import files
from pipelines.runtime import counters
from pipelines.shards.config import ShardsConfig
from pipelines.transforms import FINISHED, Encoded, ReadImages
from q1net_core import storage
from q1net_core.codecs.base import CODECS
from q1net_core.codecs.places import check_room
from q1net_core.errors import ImageError
from q1net_core.images.decode import decode
from q1net_core.lattice.estimate import estimate_lattice
from q1net_core.records import ImageRecord, ListedImage, Status, UInt8Array

# Shares of an unknown corpus, as the paper splits DIV2K: 700, 100, 100.
SHARES = {"train": 7, "valid": 1, "test": 1}
DIV2K = re.compile(r"(?:^|/)DIV2K_(train|valid)_[^/]+/(?:.*/)?(\d{4})(?:x\d+\w*)?\.\w+$")
# Lossless AVIF exists, but is not told from lossy before all of it is parsed.
LOSSY_FORMATS = ("JPEG", "MPO", "AVIF")
UNUSABLE = "unusable"
SCREENED = "screened"
UNUSABLE_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Source:
    """A usable image: its ``name`` inside the corpus, its pixels' sha256, and its split once that is known."""

    uri: str
    name: str
    fingerprint: str
    split: str = ""


def fingerprint_of(pixels: UInt8Array) -> str:
    """What makes two images the same picture, whatever their files: sha256 of size and pixels."""
    return sha256(b"%dx%d:" % pixels.shape[1::-1] + pixels.tobytes()).hexdigest()


def div2k_split(uri: str) -> str | None:
    """The split of an image of DIV2K, also of its downscaled versions: 0001-0700, 0701-0800, 0801-0900."""
    found = DIV2K.search(uri)
    number = int(found[2]) if found else 0
    if found and found[1] == "valid" and 801 <= number <= 900:
        return "test"
    if found and found[1] == "train" and 1 <= number <= 800:
        return "train" if number <= 700 else "valid"
    return None


def choose_split(fingerprint: str, uris: Iterable[str]) -> str:
    """The one split of all images with the same pixels: DIV2K's if one of them is of it, else by their hash."""
    known = [split for split in map(div2k_split, sorted(uris)) if split]
    if known:
        return known[0]
    share = int(fingerprint[:16], 16) % sum(SHARES.values())
    return [split for split, parts in SHARES.items() for _ in range(parts)][share]


def assign_split(same: tuple[str, Iterable[Source]]) -> Iterator[Source]:
    """Images with the same pixels -> the same, each with its split."""
    fingerprint, images = same
    images = list(images)
    split = choose_split(fingerprint, [image.uri for image in images])
    for image in images:
        yield replace(image, split=split)


def is_lossy(format: str, encoded: bytes) -> bool:
    """Whether a file's format loses quality; of WebP, whether its picture is a ``VP8`` and not a ``VP8L`` chunk."""
    return format in LOSSY_FORMATS or (format == "WEBP" and b"VP8 " in riff_chunks(encoded))


def riff_chunks(encoded: bytes) -> Iterator[bytes]:
    """The names of a RIFF file's chunks."""
    start = 12
    while start < len(encoded):
        yield encoded[start : start + 4]
        length = int.from_bytes(encoded[start + 4 : start + 8], "little")
        start += 8 + length + length % 2


def load_pixels(encoded: bytes, config: ShardsConfig) -> UInt8Array:
    """Decode an image that shards can be cut from; raises ImageError for any other."""
    decoded = decode(encoded)
    if is_lossy(decoded.format, encoded):
        raise ImageError(Status.UNSUPPORTED, f"image is {decoded.format}; expected a lossless one, never compressed")
    check_room(decoded.pixels, config.patches_per_image, config.phases)
    codec = CODECS[config.codec]
    if codec.geometry is None:
        codec.check_size(decoded.pixels)
    return decoded.pixels


def survey(image: Encoded, config: ShardsConfig, folder: str) -> Iterator[Any]:
    """An image -> a Source; or, on the output UNUSABLE, its uri and why it cannot be used.

    An image with the lattice of an earlier compression is named on the output SCREENED, and is no Source if it is to be
    dropped: it would teach that compressed pixels are not.
    """
    listed, encoded = image
    try:
        pixels = load_pixels(encoded, config)
        lattice = estimate_lattice(pixels)
        if lattice.quality is not None:
            found = {"uri": storage.printable_uri(listed.uri), "quality": lattice.quality, "match": lattice.match}
            yield TaggedOutput(SCREENED, found)
        if lattice.quality is None or config.screen != "drop":
            yield Source(listed.uri, listed.uri.removeprefix(folder), fingerprint_of(pixels))
    except ImageError as error:
        yield TaggedOutput(UNUSABLE, (listed.uri, f"{error.status}: {error}"))
    counters.inc("shard_images")


def describe_failure(record: ImageRecord) -> tuple[str, str]:
    """An image that could not be read -> its uri and why."""
    return record.image.uri, f"{record.status}: {record.error}"


def refuse_unusable(_: None, unusable: list[tuple[str, str]], output: str) -> None:
    """List all unusable images in unusable.json and stop the run, if there are any."""
    if unusable:
        images = [{"uri": storage.printable_uri(uri), "error": error} for uri, error in sorted(unusable)]
        files.write_json(storage.join(output, "unusable.json"), {"images": images})
        raise RuntimeError(f"{len(images)} images cannot be used, the first is {images[0]['uri']}")


def describe_unusable(images: list[dict[str, str]], uri: str) -> str:
    """Which images stopped the run, and what to do about it."""
    shown = [f"  {image['uri']}: {image['error']}" for image in images[:UNUSABLE_SHOWN]]
    more = [f"  and {len(images) - len(shown)} more, in {uri}"] if len(images) > len(shown) else []
    return "\n".join(
        [
            f"{len(images)} images cannot be used; mend or remove them and start again (nothing is skipped):",
            *shown,
            *more,
        ]
    )


class SurveyImages(beam.PTransform):
    """ListedImage -> Source with its split; on UNUSABLE uri and reason, on SCREENED what was compressed before."""

    def __init__(self, config: ShardsConfig, folder: str) -> None:
        super().__init__()
        self.config, self.folder = config, folder

    def expand(self, images: beam.PCollection[ListedImage]) -> Any:
        """Three outputs, ``sources``, UNUSABLE and SCREENED."""
        read = images | "ReadImages" >> ReadImages()
        surveyed = read.read | "Survey" >> beam.FlatMap(survey, self.config, self.folder).with_outputs(
            UNUSABLE, SCREENED, main="usable"
        )
        unread = read[FINISHED] | "Describe" >> beam.Map(describe_failure)
        usable = (
            surveyed.usable
            | "ByPixels" >> beam.Map(lambda source: (source.fingerprint, source)).with_output_types(tuple[str, Source])
            | "SamePixels" >> beam.GroupByKey()
            | "AssignSplit" >> beam.FlatMap(assign_split)
            | "Spread" >> beam.Reshuffle()
        )
        unusable = (unread, surveyed[UNUSABLE]) | "Unusable" >> beam.Flatten()
        return {"sources": usable, UNUSABLE: unusable, SCREENED: surveyed[SCREENED]}
