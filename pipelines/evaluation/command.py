"""`q1net evaluate`: lossless images, compressed at known levels, estimated as in an audit, compared with the truth.

The pipeline writes one JSON file of statistics; tables and pictures are made of it afterwards, where the command runs.
"""

import argparse
import sys

from apache_beam.options.pipeline_options import PipelineOptions

from pipelines.evaluation.config import EvaluateConfig
from pipelines.evaluation.costs import add_costs
from pipelines.evaluation.pipeline import evaluate, read_candidates
from pipelines.evaluation.studies import STUDIES
from pipelines.evaluation.study import EVALUATED
from pipelines.runtime.options import add_workers, parse_flags, parse_levels
from q1net_core import storage
from q1net_core.codecs.video import ENCODERS
from q1net_core.errors import ConfigError, WeightsError
from q1net_core.fusion import FUSIONS
from q1net_core.network.variants import VARIANTS
from q1net_core.network.weights import packaged_variants
from q1net_core.patches import DEFAULT_PATCHES
from q1net_core.settings import CLEAN_WEIGHTS, ROBUST_WEIGHTS


def make_parser() -> argparse.ArgumentParser:
    """The command's flags."""
    parser = argparse.ArgumentParser(
        prog="q1net evaluate",
        description="Compress lossless images at every level, estimate, compare.",
        epilog="All other flags go to Apache Beam.",
        allow_abbrev=False,
    )
    parser.add_argument("--images", required=True, metavar="URI", help="folder, file or glob of lossless images")
    parser.add_argument("--output", required=True, metavar="URI", help="folder that gets metrics, tables and pictures")
    parser.add_argument(
        "--study",
        choices=list(STUDIES),
        help="; ".join(f"{study.name}: {study.help}" for study in STUDIES.values()),
    )
    parser.add_argument(
        "--codec",
        choices=["jpeg", *ENCODERS],
        help="that compresses the images: jpeg (default), or a video codec, whose study it chooses",
    )
    parser.add_argument(
        "--estimator",
        choices=list(EVALUATED),
        help="q1net (default), lattice (default of --study stress), or combined: Q1Net where the lattice abstains",
    )
    parser.add_argument(
        "--conditions",
        type=lambda names: tuple(dict.fromkeys(names.split(","))),
        default=(),
        metavar="NAMES",
        help="of --study stress, by commas (all)",
    )
    parser.add_argument("--levels", type=parse_levels, metavar="LEVELS", help="1-100, 5-100:5 or 10,50,90 (all)")
    parser.add_argument(
        "--variant",
        "--weights",
        dest="weights",
        action="append",
        metavar="NAME",
        help=f"variant, or a .keras file ({CLEAN_WEIGHTS}; of combined, {ROBUST_WEIGHTS}); table2, table3 and "
        "figure4 take several, each with its flag (all packaged ones)",
    )
    parser.add_argument("--fusion", choices=list(FUSIONS), help="how patches become one estimate (the weights' best)")
    parser.add_argument("--threshold", type=float, help="confidence a patch must exceed, 0-100 (the weights' own)")
    parser.add_argument(
        "--patches", type=int, default=DEFAULT_PATCHES, help="patches per image, a square (%(default)s)"
    )
    add_workers(parser)
    return parser


def parse(argv: list[str]) -> tuple[EvaluateConfig, PipelineOptions]:
    """Command line -> config and Beam's options; what is not given is the study's own."""
    values, options = parse_flags(make_parser(), argv)
    codec = values.pop("codec")
    of_codec = codec if codec in STUDIES else next(iter(STUDIES))
    study = STUDIES[values["study"] or of_codec]
    if codec not in (None, *study.codecs):
        raise ConfigError(f"codec is {codec}; the study {study.name} is of {', '.join(study.codecs)}: leave one out")
    estimator = values["estimator"] or study.estimators[0]
    if values["weights"] is not None:
        weights = values["weights"]
    elif estimator == "lattice":
        weights = []
    else:
        # As in an audit, where the clean network judges only what the lattice has answered.
        default = ROBUST_WEIGHTS if estimator == "combined" else CLEAN_WEIGHTS
        packaged = [name for name in packaged_variants() if VARIANTS[name].codec in study.codecs]
        weights = packaged if study.compares_weights or (packaged and default not in packaged) else [default]
    return EvaluateConfig(
        **values
        | {
            "study": study.name,
            "estimator": estimator,
            "weights": tuple(weights),
            "levels": study.default_levels or study.levels if values["levels"] is None else values["levels"],
            "conditions": values["conditions"] or study.conditions,
        }
    ), options


def run(argv: list[str]) -> int:
    """The command; returns its exit status, 0 only when everything is written."""
    try:
        config, options = parse(argv)
        study, candidates = STUDIES[config.study], read_candidates(config)
        statistics = evaluate(config, candidates, options)
        if study.compares_costs:
            statistics = add_costs(statistics, candidates, study.expected)
        rendered = study.render(statistics)
        for name, content in rendered.files.items():
            storage.write_bytes(storage.join(config.output, name), content)
    except (ConfigError, WeightsError) as error:
        print(f"q1net evaluate: {error}", file=sys.stderr)
        return 2
    print(rendered.screen)
    return 0
