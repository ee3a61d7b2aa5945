"""`python -m training.studies.verdicts`: verdicts, answers and intervals on validation pictures, by condition.

Pictures are compressed, altered and judged as in an audit. Every picture is judged by intervals that were fitted
without it; with --write those of all pictures go into the card of the weights.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from tqdm import tqdm

from q1net_core.arrays import Float32Array, UInt8Array
from q1net_core.errors import ConfigError, WeightsError
from q1net_core.estimator import PatchModel, choose_grid, finish
from q1net_core.fusion import estimate_quality
from q1net_core.intervals import SHARE, add_interval, fit_intervals, tables_to_json
from q1net_core.lattice.estimate import estimate_lattice
from q1net_core.markdown import to_markdown
from q1net_core.network.predictor import Predictor
from q1net_core.network.weights import find_weights, read_card, read_weights, write_card
from q1net_core.patches import sample_patches
from q1net_core.records import FusionRule, ImageRecord, LatticeEstimate, ListedImage, Verdict
from q1net_core.settings import ROBUST_WEIGHTS
from q1net_core.verdict import choose_answer
from training.conditions import CLEAN, CONDITIONS, Example, make_examples
from training.data.photographs import load_corpus

FOLDS = 5
# Levels within which an answer is near the truth.
NEAR = 10
# Up to here a compression is one that must not be overlooked.
PLAIN_LEVEL = 85
VERDICTS = (Verdict.PRISTINE, Verdict.ALTERED, Verdict.STRIPPED, Verdict.UNSURE)
HEADER = (
    "condition", "pictures", "lattice %", "answered %", "within 10 %", "MAE", "inside %", "width",
    *(f"{verdict} %" for verdict in VERDICTS),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Observation:
    """What both estimators see of one example: ``quality`` and ``confidence`` float32 [N] are the network's."""

    example: Example
    lattice: LatticeEstimate
    quality: Float32Array
    confidence: Float32Array


def observe(model: PatchModel, example: Example) -> Observation:
    """One example as an audit sees it; its pixels are let go."""
    lattice = estimate_lattice(example.pixels)
    grid = choose_grid(lattice.grid, *example.pixels.shape[:2])
    quality, confidence = model.predict(sample_patches(example.pixels, grid=grid))
    return Observation(replace(example, pixels=example.pixels[:0]), lattice, quality, confidence)


def observe_corpus(model: PatchModel, corpus: Sequence[UInt8Array], conditions: Sequence[str]) -> list[Observation]:
    """Every picture under every condition."""
    examples = (
        example for number, pixels in enumerate(corpus) for example in make_examples(number, pixels, tuple(conditions))
    )
    return [observe(model, example) for example in tqdm(examples, desc="observe", unit="picture", disable=None)]


def is_asked(observation: Observation, clean: bool) -> bool:
    """Whether an audit asks weights for ``clean`` decodes, or else those for all the rest, about such a picture."""
    return (observation.example.condition in CLEAN) if clean else (observation.lattice.quality is None)


def fit_rule(observations: Iterable[Observation], rule: FusionRule, clean: bool) -> FusionRule:
    """The rule with intervals that are fitted on the pictures it is for."""
    chosen = [seen for seen in observations if is_asked(seen, clean)]
    quality, confidence = (np.stack([getattr(seen, name) for seen in chosen]) for name in ("quality", "confidence"))
    truth = np.array([seen.example.level for seen in chosen], np.float32)
    return replace(rule, intervals=fit_intervals(quality, confidence, truth, rule))


def judge(observation: Observation, rule: FusionRule) -> ImageRecord:
    """The record that an audit would make of a picture that is no JPEG file now."""
    estimate = add_interval(estimate_quality(observation.quality, observation.confidence, rule), rule.intervals)
    return finish(ListedImage(observation.example.condition), lattice=observation.lattice, network=estimate)


def cross_judge(observations: Sequence[Observation], rule: FusionRule, clean: bool) -> list[ImageRecord]:
    """Records in order, each by intervals of the folds that its picture is not in."""
    fold_of = [seen.example.picture % FOLDS for seen in observations]
    rules = {
        fold: fit_rule((seen for seen, own in zip(observations, fold_of, strict=True) if own != fold), rule, clean)
        for fold in sorted(set(fold_of))
    }
    return [judge(seen, rules[fold]) for seen, fold in zip(observations, fold_of, strict=True)]


def percent(flags: Iterable[bool]) -> str:
    """Share of flags that are set; a dash without any."""
    values = list(flags)
    return f"{100 * np.mean(values):.1f}" if values else "-"


Judged = Sequence[tuple[Observation, ImageRecord]]


def describe(name: str, judged: Judged, clean: bool) -> list[str]:
    """Cells below HEADER. Answers and intervals are the network's, of the pictures that it is asked about."""
    asked = [
        (seen.example.level, choose_answer(LatticeEstimate(), record.network))
        for seen, record in judged
        if is_asked(seen, clean)
    ]
    errors = [abs(answer.quality - level) for level, answer in asked if answer.quality is not None]
    ends = [
        (level, answer.low, answer.high)
        for level, answer in asked
        if answer.low is not None and answer.high is not None
    ]
    return [
        name,
        str(len(judged)),
        percent(record.lattice.quality is not None for _, record in judged),
        percent(answer.quality is not None for _, answer in asked),
        percent(error <= NEAR for error in errors),
        f"{np.mean(errors):.1f}" if errors else "-",
        percent(low <= level <= high for level, low, high in ends),
        f"{np.median([high - low for _, low, high in ends]):.0f}" if ends else "-",
        *(percent(record.verdict is verdict for _, record in judged) for verdict in VERDICTS),
    ]


def tabulate(judged: Judged, clean: bool) -> str:
    """Two Markdown tables: of pictures that were compressed, by condition, and of those that never were."""
    tables = []
    for compressed in (True, False):
        rows = []
        for condition in CONDITIONS:
            of_condition = [
                pair for pair in judged
                if (pair[0].example.condition, pair[0].example.compressed) == (condition, compressed)
            ]  # fmt: skip
            if of_condition:
                rows.append(describe(condition, of_condition, clean))
        chosen = [pair for pair in judged if pair[0].example.compressed == compressed]
        rows.append(describe("all" if compressed else "all, never compressed", chosen, clean))
        if compressed and not clean:
            altered = [
                pair for pair in chosen
                if pair[0].example.condition not in CLEAN and pair[0].example.level <= PLAIN_LEVEL
            ]  # fmt: skip
            rows.append(describe(f"altered, up to {PLAIN_LEVEL}", altered, clean))
        tables.append(to_markdown(HEADER, rows))
    return "\n\n".join(tables)


def write_intervals(source: str, observations: Sequence[Observation], clean: bool) -> None:
    """Put intervals, fitted on all pictures, for each fusion rule into the card of the weights."""
    uri, file = find_weights(source), read_weights(source)
    intervals = {rule.fusion: tables_to_json(fit_rule(observations, rule, clean).intervals) for rule in file.rules}
    write_card(replace(read_card(uri), intervals=intervals), uri)


def make_parser() -> argparse.ArgumentParser:
    """The command's flags."""
    parser = argparse.ArgumentParser(prog="python -m training.studies.verdicts", description=__doc__)
    parser.add_argument("--images", required=True, nargs="+", metavar="URI", help="lossless validation images")
    parser.add_argument("--weights", default=ROBUST_WEIGHTS, help="variant or .keras file (default: %(default)s)")
    parser.add_argument("--fusion", help="fusion rule of the table (the weights' best)")
    parser.add_argument("--clean", action="store_true", help="weights for clean decodes: only such pictures count")
    parser.add_argument("--write", action="store_true", help="write intervals into the card beside the weights")
    return parser


def run(argv: list[str]) -> int:
    """Print the tables; returns the exit status."""
    parser = make_parser()
    options = parser.parse_args(argv)
    try:
        file = read_weights(options.weights)
        rule = file.rule(options.fusion)
        corpus = [pixels for pattern in options.images for pixels in load_corpus(pattern)]
        if len(corpus) < FOLDS:
            raise ConfigError(f"--images matches {len(corpus)} pictures; expected {FOLDS} or more, to judge by others")
        observations = observe_corpus(Predictor(file), corpus, tuple(CLEAN) if options.clean else tuple(CONDITIONS))
    except (ConfigError, WeightsError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    records = cross_judge(observations, rule, options.clean)
    print(f"{file.variant}, fusion {rule.fusion}, {len(corpus)} pictures; intervals of {SHARE:.0%}\n")
    print(tabulate(list(zip(observations, records, strict=True)), options.clean))
    if options.write:
        write_intervals(options.weights, observations, options.clean)
        print(f"\nintervals written to the card of {find_weights(options.weights)}")
    return 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
