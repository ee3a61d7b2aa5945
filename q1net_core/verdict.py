"""Header, lattice and network -> the one answer for an image, and what the image has been through.

Layer: standard library and records only. Never an average: an answer has one source.

Thresholds were set on validation images; `python -m training.studies.verdicts` prints what they decide there.
"""

from q1net_core.records import Answer, Estimate, JpegHeader, LatticeEstimate, Verdict

# Levels between the ends of the network's interval. Where it is wider the network knows too little for a quality.
MAX_WIDTH = 40.0
# An image whose interval begins above this would have shown a compression, and shows none.
PRISTINE_LOW = 75.0
# An image whose interval ends below this was compressed, whatever happened to it since.
ALTERED_HIGH = 98.0
# With so many busy blocks the lattice of a clean decode would have been accepted.
ENOUGH_BLOCKS = 32
# The lattice's evidence of pixels on a lattice is about 1, that of altered ones below this.
NO_LATTICE = 0.7


def choose_answer(lattice: LatticeEstimate, network: Estimate | None) -> Answer:
    """The lattice's answer where it accepts, else the network's where it is confident, else none.

    The lattice's interval is the range of levels that tie with its answer. The network's answer has no quality, but its
    interval, where that is wider than MAX_WIDTH.
    """
    if lattice.quality is not None:
        levels = (lattice.quality, *lattice.ties)
        return Answer(lattice.quality, "lattice", float(min(levels)), float(max(levels)))
    if network is None or network.quality is None:
        return Answer()
    if network.low is not None and network.high is not None and network.high - network.low > MAX_WIDTH:
        return Answer(None, None, network.low, network.high)
    return Answer(network.quality, "q1net", network.low, network.high)


def judge(header: JpegHeader | None, lattice: LatticeEstimate, network: Estimate | None) -> Verdict:
    """What an image with pixels has been through, as far as header and pixels tell."""
    if lattice.quality is not None:
        return judge_lattice(header, lattice)
    if network is None or network.low is None or network.high is None:
        return Verdict.UNSURE
    if header is not None:
        return judge_header(header, network.low, network.high)
    return judge_pixels(lattice, network.low, network.high)


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


def judge_header(header: JpegHeader, low: float, high: float) -> Verdict:
    """The verdict on a JPEG file without a lattice, by where its header's level lies to the network's interval."""
    if header.quality is None or high - low > MAX_WIDTH:
        return Verdict.UNSURE
    if high < header.quality:
        return Verdict.RECOMPRESSED
    return Verdict.SINGLE if low <= header.quality else Verdict.UNSURE


def judge_pixels(lattice: LatticeEstimate, low: float, high: float) -> Verdict:
    """The verdict on pixels of no JPEG file, which lie on no lattice, by the network's interval.

    Plain pictures show no lattice even where they are just decoded: such are not judged.
    """
    if lattice.busy_blocks < ENOUGH_BLOCKS or lattice.evidence is None or lattice.evidence >= NO_LATTICE:
        return Verdict.UNSURE
    if low >= PRISTINE_LOW:
        return Verdict.PRISTINE
    return Verdict.ALTERED if high <= ALTERED_HIGH else Verdict.UNSURE
