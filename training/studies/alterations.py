"""`python -m training.studies.alterations`: variants on validation images that were altered after their compression."""

import argparse
import sys

from q1net_core.errors import ConfigError, WeightsError
from q1net_core.markdown import to_markdown
from q1net_core.network.predictor import load_model
from q1net_core.network.weights import read_weights
from q1net_core.records import UInt8Array
from training.alterations import ALTERATIONS
from training.data.photographs import altered_set, load_corpus
from training.validation import error_of

PATCHES = 64


def compare_variants(sources: list[str], corpus: list[UInt8Array]) -> str:
    """A Markdown table: mean error of each variant, in levels, for each alteration; as in a training's history."""
    files = [read_weights(source) for source in sources]
    models = [(load_model(file), file.variant) for file in files]
    cells = []
    for alteration in ALTERATIONS:
        stacks, truth = altered_set(corpus, alteration, PATCHES)
        cells.append([alteration, *(f"{error_of(*model, stacks, truth):.2f}" for model in models)])
    header = ["alteration", *(f"`{source}`" for source in sources)]
    return to_markdown(header, cells)


def make_parser() -> argparse.ArgumentParser:
    """The command's flags."""
    parser = argparse.ArgumentParser(prog="python -m training.studies.alterations", description=__doc__)
    parser.add_argument("--images", required=True, metavar="URI", help="lossless validation images")
    parser.add_argument("--weights", required=True, nargs="+", metavar="NAME", help="variants or .keras files")
    return parser


def run(argv: list[str]) -> int:
    """Print the table; returns the exit status."""
    parser = make_parser()
    options = parser.parse_args(argv)
    try:
        table = compare_variants(options.weights, load_corpus(options.images))
    except (ConfigError, WeightsError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    print(table)
    return 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
