"""Header, lattice and Q1Net -> the one answer for an image, and what the image has been through.

Layer: standard library and records only. Never an average: an answer has one source.
"""

from q1net_core.records import Estimate, ImageInfo, ImageRecord, JpegHeader, LatticeEstimate, Status, Verdict

# Levels between Q1Net's answer and the header's: so near they agree, so far below the pixels were compressed harder.
AGREEMENT = 3.0
DISAGREEMENT = 8.0
# Q1Net takes pictures that were never compressed for at least this.
PRISTINE_QUALITY = 95.0
# The lattice's evidence where there is none is far below this; near zero there was too little to look at.
NO_LATTICE = -1.0


def answer(lattice: LatticeEstimate, estimate: Estimate | None) -> tuple[float | None, str | None]:
    """Quality and its source: the lattice's where it accepts, else Q1Net's where it is confident, else None twice."""
    if lattice.quality is not None:
        return lattice.quality, "lattice"
    if estimate is not None and estimate.quality is not None:
        return estimate.quality, "q1net"
    return None, None


def judge(record: ImageRecord) -> Verdict | None:
    """What an image has been through, as far as header and pixels tell; None for an image without pixels."""
    if record.status is not Status.OK:
        return None
    info = record.info
    quality = record.estimate.quality if record.estimate else None
    if info.lattice.quality is not None:
        return judge_lattice(info)
    if info.header is not None:
        return judge_q1net(info.header, quality)
    rejected = info.lattice.evidence is not None and info.lattice.evidence < NO_LATTICE
    if rejected and (quality is None or quality >= PRISTINE_QUALITY):
        return Verdict.PRISTINE
    return Verdict.UNSURE


def judge_lattice(info: ImageInfo) -> Verdict:
    """The verdict on pixels that lie on a lattice."""
    lattice, header = info.lattice, info.header
    if header is None:
        return Verdict.STRIPPED
    if lattice.grid != (0, 0) or lattice.last_quality != lattice.quality:
        return Verdict.RECOMPRESSED
    if same_table(lattice, header):
        return Verdict.SINGLE
    if header.quality is not None and lattice.quality is not None and lattice.quality < header.quality:
        return Verdict.RECOMPRESSED
    return Verdict.UNSURE


def same_table(lattice: LatticeEstimate, header: JpegHeader) -> bool:
    """Whether the lattice is that of the file's own luma table, as far as its steps are known, or ties with it."""
    steps = header.tables[0] if header.tables else ()
    if lattice.steps is not None and len(steps) == len(lattice.steps):
        known = [(found, stated) for found, stated in zip(lattice.steps, steps, strict=True) if found]
        # Of a table of no known encoder single steps may be found wrong, by a divisor.
        if sum(found == stated for found, stated in known) >= 0.9 * len(known):
            return True
    return header.luma_quality is not None and header.luma_quality in lattice.ties


def judge_q1net(header: JpegHeader, quality: float | None) -> Verdict:
    """The verdict on a JPEG file whose lattice could not be seen, by Q1Net's answer alone."""
    if quality is None or header.quality is None:
        return Verdict.UNSURE
    if quality <= header.quality - DISAGREEMENT:
        return Verdict.RECOMPRESSED
    return Verdict.SINGLE if abs(quality - header.quality) <= AGREEMENT else Verdict.UNSURE
