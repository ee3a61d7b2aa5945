"""`python -m training.studies.patches`: how many patches an image needs, and what fewer of them change.

Validation pictures under every condition are judged by the weights that an audit would choose, by all patches and by as
many as each of some bounds wants (q1net_core.stopping).
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from q1net_core.arrays import Float32Array, UInt8Array
from q1net_core.errors import ConfigError, WeightsError
from q1net_core.estimator import choose_grid, finish, predict_until_enough
from q1net_core.fusion import estimate_quality
from q1net_core.intervals import add_interval
from q1net_core.lattice.estimate import estimate_lattice
from q1net_core.markdown import to_markdown
from q1net_core.network.predictor import Predictor
from q1net_core.patches import cut_patches, first_blocks
from q1net_core.records import FusionRule, ImageInfo, ImagePatches, ImageRecord, LatticeEstimate, ListedImage
from q1net_core.settings import EstimatorSettings
from q1net_core.stopping import Bounds
from training.conditions import CONDITIONS, Example, make_examples
from training.data.photographs import load_corpus

AGREEMENTS = (1.0, 2.0, 3.0, 5.0)
WIDTHS = (3.0, 6.0, 10.0, 15.0, 25.0)
# Levels by which a wrong lattice is moved, to see how often the network confirms it all the same.
SHIFT = 5.0
HEADER_AGREES = (
    "levels", "patches", "wrong confirmed %", "q1net moves", "q1net MAE", "of all patches",
)  # fmt: skip
HEADER_NARROW = (
    "width", "pictures", "patches", "quality moves", "quality MAE", "of all patches", "answered %", "of all patches",
    "verdict differs %",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Seen:
    """One example with the predictions for all its patches, in spread order, by the weights that judge it."""

    level: int
    lattice: LatticeEstimate
    rule: FusionRule
    quality: Float32Array
    confidence: Float32Array


class Known:
    """A model that gives predictions which are known, from the first patch on."""

    def __init__(self, seen: Seen) -> None:
        self.seen, self.given = seen, 0

    def predict(self, samples: UInt8Array) -> tuple[Float32Array, Float32Array]:
        """The next as many predictions as there are samples."""
        start, self.given = self.given, self.given + len(samples)
        return self.seen.quality[start : self.given], self.seen.confidence[start : self.given]


def observe(example: Example, settings: EstimatorSettings, models: dict[str, tuple[Predictor, FusionRule]]) -> Seen:
    """One example as an audit sees it."""
    lattice = estimate_lattice(example.pixels)
    height, width = example.pixels.shape[:2]
    grid = choose_grid(lattice.grid, height, width)
    blocks = first_blocks(height, width, settings.most_patches, settings.most_patches, grid)
    model, rule = models[settings.weights_for(lattice.quality is not None) or ""]
    return Seen(example.level, lattice, rule, *model.predict(cut_patches(example.pixels, blocks)))


def judge(seen: Seen, bounds: Bounds | None) -> tuple[int, ImageRecord]:
    """Patches looked at, and the record of a picture that is no JPEG file now; by all patches without bounds."""
    item = ImagePatches(
        ListedImage("seen"), ImageInfo(), seen.lattice, np.zeros((len(seen.quality), 1, 1, 3), np.uint8)
    )
    if bounds is None:
        quality, confidence = seen.quality, seen.confidence
    else:
        found = predict_until_enough(Known(seen), item, seen.rule, bounds)
        quality, confidence = found.quality, found.confidence
    network = add_interval(estimate_quality(quality, confidence, seen.rule), seen.rule.intervals)
    return len(quality), finish(item.image, lattice=seen.lattice, network=network)


def is_confirmed(seen: Seen, bounds: Bounds, shift: float) -> bool:
    """Whether fewer than all patches confirm the lattice's answer, moved by ``shift`` levels."""
    assert seen.lattice.quality is not None
    moved = LatticeEstimate(quality=seen.lattice.quality + shift)
    item = ImagePatches(ListedImage("seen"), ImageInfo(), moved, np.zeros((len(seen.quality), 1, 1, 3), np.uint8))
    found = predict_until_enough(Known(seen), item, seen.rule, bounds)
    return len(found.quality) < len(seen.quality)


def mean(values: Sequence[float]) -> str:
    """Mean of numbers; a dash without any."""
    return f"{np.mean(values):.2f}" if values else "-"


def percent(flags: Sequence[bool]) -> str:
    """Share of flags that are set; a dash without any."""
    return f"{100 * np.mean(flags):.1f}" if flags else "-"


def describe_agreement(seen: Sequence[Seen], bounds: Bounds) -> list[str]:
    """Cells below HEADER_AGREES, of pictures whose lattice was accepted."""
    pairs = [
        (few.network.quality, whole.network.quality, one.level)
        for one in seen
        for few, whole in [(judge(one, bounds)[1], judge(one, None)[1])]
        if few.network and whole.network and few.network.quality is not None and whole.network.quality is not None
    ]
    return [
        f"{bounds.agreement:g}",
        mean([judge(one, bounds)[0] for one in seen]),
        percent([is_confirmed(one, bounds, shift) for one in seen for shift in (-SHIFT, SHIFT)]),
        mean([abs(few - whole) for few, whole, _ in pairs]),
        mean([abs(few - level) for few, _, level in pairs]),
        mean([abs(whole - level) for _, whole, level in pairs]),
    ]


def describe_width(seen: Sequence[Seen], bounds: Bounds) -> list[str]:
    """Cells below HEADER_NARROW, of pictures whose lattice abstained."""
    records = [(*judge(one, bounds), judge(one, None)[1], one.level) for one in seen]
    answers = [(few.answer.quality, whole.answer.quality, level) for _, few, whole, level in records]
    return [
        f"{bounds.width:g}",
        str(len(seen)),
        mean([looked for looked, *_ in records]),
        mean([abs(few - whole) for few, whole, _ in answers if few is not None and whole is not None]),
        mean([abs(few - level) for few, _, level in answers if few is not None]),
        mean([abs(whole - level) for _, whole, level in answers if whole is not None]),
        percent([few is not None for few, _, _ in answers]),
        percent([whole is not None for _, whole, _ in answers]),
        percent([few.verdict is not whole.verdict for _, few, whole, _ in records]),
    ]


def make_parser() -> argparse.ArgumentParser:
    """The command's flags."""
    parser = argparse.ArgumentParser(prog="python -m training.studies.patches", description=__doc__)
    parser.add_argument("--images", required=True, nargs="+", metavar="URI", help="lossless validation images")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="take every Nth of them (%(default)s)")
    return parser


def run(argv: list[str]) -> int:
    """Print the tables; returns the exit status."""
    parser = make_parser()
    options = parser.parse_args(argv)
    settings = EstimatorSettings()
    try:
        corpus = [pixels for pattern in options.images for pixels in load_corpus(pattern)][:: options.every]
        models = {source: (Predictor(file), settings.rule_of(file)) for source, file in settings.read_weights().items()}
    except (ConfigError, WeightsError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    examples = (one for number, pixels in enumerate(corpus) for one in make_examples(number, pixels, tuple(CONDITIONS)))
    seen = [observe(one, settings, models) for one in tqdm(examples, desc="observe", unit="picture", disable=None)]
    accepted = [one for one in seen if one.lattice.quality is not None]
    altered = [one for one in seen if one.lattice.quality is None]
    print(f"{len(corpus)} pictures, {len(CONDITIONS)} conditions: {len(accepted)} with a lattice\n")
    rows = [describe_agreement(accepted, Bounds(agreement, 0)) for agreement in AGREEMENTS]
    print(to_markdown(HEADER_AGREES, rows), "\n")
    print(to_markdown(HEADER_NARROW, [describe_width(altered, Bounds(0, width)) for width in WIDTHS]))
    return 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
