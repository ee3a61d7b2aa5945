"""The studies of video codecs: the error at each CRF or QP of intra frames, beside what a constant or the QP gives."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from typing import Any

import pyarrow as pa
from PIL import Image

from pipelines import text
from pipelines.evaluation.render import Rendered, Row, describe_estimator, to_parquet, to_text
from pipelines.evaluation.steps import Truth, quality_of
from pipelines.evaluation.studies.levels import HEADER as METRIC_NAMES
from pipelines.evaluation.studies.levels import METRICS, metric_cells
from pipelines.evaluation.study import Study
from q1net_core.arrays import UInt8Array
from q1net_core.codecs.video import CRF, ENCODERS, QP, compress_with_qp
from q1net_core.markdown import to_markdown
from q1net_core.metrics import QualityErrors
from q1net_core.records import ImageRecord

# At the fine end several levels may decode to the same picture.
BANDS = ((0, 5), (6, 17), (18, 28), (29, 40), (41, 51), (0, 51))
FINE_END = range(7)
ABOUT = [("scale", pa.string()), ("low", pa.int32()), ("high", pa.int32()), ("reader", pa.string())]
SCHEMA = pa.schema(ABOUT + METRICS)


@dataclass(frozen=True, slots=True)
class VideoTruth(Truth):
    """Also the levels that give the very same picture, ``least`` to ``most``, and the frame's mean quantizer ``qp``."""

    least: int
    most: int
    qp: int


@dataclass(frozen=True, slots=True)
class VideoErrors:
    """Errors of the network, and how often each (level, level - qp) occurred. Levels are one higher in ``network``."""

    network: QualityErrors
    offsets: Counter[tuple[int, int]] = field(default_factory=Counter)

    def __add__(self, other: "VideoErrors") -> "VideoErrors":
        return VideoErrors(self.network + other.network, self.offsets + other.offsets)


def to_ppm(pixels: UInt8Array) -> bytes:
    """Pixels as the bytes of a lossless file, which is quickly written and read."""
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "PPM")
    return buffer.getvalue()


def compress_frames(pixels: UInt8Array, levels: Sequence[int], codec: str) -> Iterator[tuple[VideoTruth, bytes]]:
    """A picture as one intra frame at each level, decoded."""
    wanted = {*levels, *(FINE_END if min(levels) in FINE_END else ())} & {*known_levels(codec)}
    made = {level: compress_with_qp(pixels, level, codec) for level in sorted(wanted)}
    for level in levels:
        picture, qp = made[level]
        tied = [other for other, (same, _) in made.items() if same.tobytes() == picture.tobytes()]
        yield VideoTruth(level, min(tied), max(tied), qp), to_ppm(picture)


def known_levels(codec: str) -> tuple[int, ...]:
    """All levels of a codec, ascending."""
    return tuple(sorted(QP if ENCODERS[codec].constant_qp else CRF))


def error_of(truth: VideoTruth, estimate: float) -> float:
    """Estimate minus truth; the truth is any level between those that give the same picture."""
    return estimate - min(max(estimate, truth.least), truth.most)


def to_errors(truth: VideoTruth, record: ImageRecord) -> tuple[None, VideoErrors]:
    """The error of one answer, and what the quantizer says of the level."""
    estimate, place = quality_of(record), truth.level + 1
    network = QualityErrors.of(place, None if estimate is None else min(max(place + error_of(truth, estimate), 0), 100))
    return None, VideoErrors(network, Counter({(truth.level, truth.level - truth.qp): 1}))


def summarise(results: Mapping[tuple[int, Any], VideoErrors], made_with: Sequence[Row], codec: str) -> Row:
    """By band: the network's errors, those of a constant answer, and those of whoever knows the mean QP exactly."""
    (errors,) = results.values()
    scale = "qp" if ENCODERS[codec].constant_qp else "crf"
    bands = []
    every = list(errors.offsets.elements())
    offset = sorted(difference for _, difference in every)[(len(every) - 1) // 2]
    middle = sorted(level for level, _ in every)[(len(every) - 1) // 2]
    for low, high in BANDS:
        inside = [(level, difference) for level, difference in every if low <= level <= high]
        if not inside:
            continue
        constant = sum(abs(level - middle) for level, _ in inside) / len(inside)
        exact_qp = sum(abs(difference - offset) for _, difference in inside) / len(inside)
        band = {"levels": [low, high], "network": errors.network.band(low + 1, high + 1)}
        band |= {"constant": {"images": len(inside), "mae": constant}}
        bands.append(band | {"exact_qp": {"images": len(inside), "mae": exact_qp}})
    return made_with[0] | {"scale": scale, "codec": codec, "constant": middle, "qp_offset": offset, "bands": bands}


def rows_of(statistics: Row) -> Iterator[Row]:
    """Rows of SCHEMA, also for the readers that the network is compared with."""
    readers = {"network": statistics["variant"], "constant": f"always {statistics['constant']}"}
    readers["exact_qp"] = f"mean QP {statistics['qp_offset']:+d}"
    for band in statistics["bands"]:
        low, high = band["levels"]
        for name, reader in readers.items():
            yield {"scale": statistics["scale"], "low": low, "high": high, "reader": reader} | band[name]


def cells_of(row: Row) -> tuple[str, ...]:
    """Cells of a row; readers without a network have an error alone."""
    blank = dict.fromkeys(name for name, _ in METRICS)
    return f"{row['scale']} {row['low']}-{row['high']}", row["reader"], *metric_cells(blank | row)


def render(statistics: Row) -> Rendered:
    """The bands on the screen, in Markdown and in Parquet."""
    rows = list(rows_of(statistics))
    header, cells = ("levels", "reader", *METRIC_NAMES), list(map(cells_of, rows))
    about = (
        f"{describe_estimator(statistics)}, codec {statistics['codec']}. Levels that decode to the same picture are "
        "ties. The last two readers of each band: the best constant answer, and whoever knows the mean quantizer of "
        "the frame and adds the best constant."
    )
    name = statistics["codec"]
    files = {f"{name}.md": to_text(about, to_markdown(header, cells)), f"{name}.parquet": to_parquet(rows, SCHEMA)}
    return Rendered(text.render_table(header, cells), files)


def of_codec(codec: str) -> Study:
    """The study of one video codec, which has the codec's name."""
    make: Callable[..., Iterator[tuple[VideoTruth, bytes]]] = partial(compress_frames, codec=codec)
    return Study(
        name=codec,
        help=f"error by level of intra frames of {codec}",
        file=f"{codec}.json",
        levels=known_levels(codec),
        make=make,
        measure=to_errors,
        summarise=partial(summarise, codec=codec),
        render=render,
        estimators=("q1net",),
        codecs=(codec,),
    )


VIDEO_STUDIES = tuple(map(of_codec, ENCODERS))
