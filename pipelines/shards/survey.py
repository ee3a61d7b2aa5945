"""The first pass of `q1net shards`: every image is looked at, and what was found is written, one line an image."""

from collections.abc import Iterable
from hashlib import blake2b

import apache_beam as beam

from pipelines.files import write_json
from pipelines.runtime import counters
from pipelines.shards.config import ShardsConfig
from pipelines.shards.images import (
    Finding,
    draw_image_positions,
    fingerprint_of,
    load_pixels,
    read_lines,
    write_lines,
)
from pipelines.shards.tiles import write_tiles
from pipelines.transforms import FINISHED, Encoded, ReadImages
from q1net_core import storage
from q1net_core.codecs.positions import cut_mosaics
from q1net_core.codecs.table import CODECS
from q1net_core.errors import ConfigError, ImageError
from q1net_core.lattice.estimate import estimate_lattice
from q1net_core.records import ImageRecord, ListedImage

FINDINGS_PER_FILE = 50_000
UNUSABLE_SHOWN = 5


def survey(image: Encoded, config: ShardsConfig, work: str) -> Finding:
    """Decode one image, look for an earlier JPEG compression, and keep in ``work`` what the second pass needs of it.

    Pixels that were compressed before would teach that compressed pixels are not.
    """
    listed, encoded = image
    try:
        pixels = load_pixels(encoded, config)
        lattice = estimate_lattice(pixels)
        finding = Finding(listed.uri, fingerprint_of(pixels), quality=lattice.quality, match=lattice.match)
        codec = CODECS[config.codec]
        if codec.geometry and (lattice.quality is None or config.screen != "drop"):
            positions = draw_image_positions(pixels, finding.fingerprint, config)
            write_tiles(work, finding.fingerprint, positions, cut_mosaics(pixels, positions, codec))
    except ImageError as error:
        finding = Finding(listed.uri, error=f"{error.status}: {error}")
    counters.inc("shard_images")
    return finding


def describe_failure(record: ImageRecord) -> Finding:
    """The finding of an image that could not be read."""
    return Finding(record.image.uri, error=f"{record.status}: {record.error}")


def findings_uri(output: str, number: int, files: int) -> str:
    """Where one file of findings is."""
    return storage.join(output, "_survey", f"findings-{number:05d}-of-{files:05d}.jsonl")


def count_files(images: int) -> int:
    """How many files hold the findings of so many images."""
    return -(-images // FINDINGS_PER_FILE)


def file_of(finding: Finding, files: int) -> int:
    """Which file a finding belongs to: depends on the uri alone, so a retry writes the same files."""
    digest = blake2b(finding.uri.encode(errors="surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest) % files


def write_findings(numbered: tuple[int, Iterable[Finding]], output: str, files: int) -> str:
    """Write one file of findings in order of their uris; returns the file's uri."""
    number, findings = numbered
    return write_lines(findings_uri(output, number, files), sorted(findings, key=lambda finding: finding.uri))


def read_findings(output: str, images: int) -> list[Finding]:
    """All that the first pass found.

    Raises:
        RuntimeError: there are not as many findings as images.
    """
    files = count_files(images)
    findings = [
        Finding(**fields) for number in range(files) for fields in read_lines(findings_uri(output, number, files))
    ]
    if len(findings) != images:
        raise RuntimeError(f"the first pass found out about {len(findings)} of {images} images; start again")
    return findings


def refuse_unusable(findings: Iterable[Finding], output: str) -> None:
    """List all unusable images in unusable.json and stop the run, if there are any.

    Raises:
        ConfigError: some images cannot be used.
    """
    unusable = sorted((finding for finding in findings if finding.error), key=lambda finding: finding.uri)
    if not unusable:
        return
    images = [{"uri": storage.printable_uri(finding.uri), "error": finding.error} for finding in unusable]
    uri = storage.join(output, "unusable.json")
    write_json(uri, {"images": images})
    shown = [f"  {image['uri']}: {image['error']}" for image in images[:UNUSABLE_SHOWN]]
    more = [f"  and {len(images) - len(shown)} more, in {uri}"] if len(images) > len(shown) else []
    head = f"{len(images)} images cannot be used; mend or remove them and start again (nothing is skipped):"
    raise ConfigError("\n".join([head, *shown, *more]))


class SurveyImages(beam.PTransform):
    """ListedImage -> files of findings, one line for each image, usable or not; the elements are the files' uris.

    Args:
        config: what the images are wanted for; files go below its output.
        images: how many images there are.
        work: folder for what the second pass needs.
    """

    def __init__(self, config: ShardsConfig, images: int, work: str) -> None:
        super().__init__()
        self.config, self.files, self.work = config, count_files(images), work

    def expand(self, images: beam.PCollection[ListedImage]) -> beam.PCollection[str]:
        """One output, in no order."""
        read = images | "ReadImages" >> ReadImages()
        surveyed = read.read | "Survey" >> beam.Map(survey, self.config, self.work)
        unread = read[FINISHED] | "DescribeFailure" >> beam.Map(describe_failure)
        return (
            (surveyed, unread)
            | "Findings" >> beam.Flatten()
            | "ByFile" >> beam.WithKeys(file_of, self.files)
            | "GroupByFile" >> beam.GroupByKey()
            | "WriteFindings" >> beam.Map(write_findings, self.config.output, self.files)
        )
