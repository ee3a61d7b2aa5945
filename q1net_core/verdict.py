"""Header, lattice and network -> the one answer for an image, and what the image has been through.

Layer: standard library and records only. Never an average: an answer has one source.
"""

from q1net_core.records import Answer, Estimate, JpegHeader, LatticeEstimate, Verdict

# Levels between Q1Net's answer and the header's: so near they agree, so far below the pixels were compressed harder.
AGREEMENT = 3.0
DISAGREEMENT = 8.0
# Q1Net takes pictures that were never compressed for at least this.
PRISTINE_QUALITY = 95.0
# The lattice's evidence where there is none is far below this; near zero there was too little to look at.
NO_LATTICE = -1.0


def choose_answer(lattice: LatticeEstimate, network: Estimate | None) -> Answer:
    """The lattice's answer where it accepts, else the network's where it is confident, else none."""
    if lattice.quality is not None:
        return Answer(lattice.quality, "lattice")
    if network is not None and network.quality is not None:
        return Answer(network.quality, "q1net")
    return Answer()


def judge(header: JpegHeader | None, lattice: LatticeEstimate, network: Estimate | None) -> Verdict:
    """What an image with pixels has been through, as far as header and pixels tell."""
    quality = network.quality if network else None
    if lattice.quality is not None:
        return judge_lattice(header, lattice)
    if header is not None:
        return judge_q1net(header, quality)
    rejected = lattice.evidence is not None and lattice.evidence < NO_LATTICE
    if rejected and (quality is None or quality >= PRISTINE_QUALITY):
        return Verdict.PRISTINE
    return Verdict.UNSURE


def judge_lattice(header: JpegHeader | None, lattice: LatticeEstimate) -> Verdict:
    """The verdict on pixels that lie on a lattice."""
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
