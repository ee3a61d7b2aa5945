"""`python -m training.studies.shards --shards shards/ --weights q1net-k8`: errors of single patches, by level.

Every patch of a split counts on its own: no fusion, no threshold, no calibration.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np

from q1net_core.arrays import Float32Array
from q1net_core.errors import ConfigError, WeightsError
from q1net_core.markdown import to_markdown
from q1net_core.network.predictor import load_model
from q1net_core.network.weights import read_weights
from q1net_core.sampling import PATCHES
from training.data.shards import ShardDataset, open_dataset, patches_of, read_shard
from training.validation import predict_sets

HEADER = ("level", "patches", "MAE", "bias", "SDE")


def make_parser() -> argparse.ArgumentParser:
    """The command's flags."""
    parser = argparse.ArgumentParser(prog="python -m training.studies.shards", description=__doc__)
    parser.add_argument("--shards", required=True, metavar="URI", help="folder that q1net shards made")
    parser.add_argument("--weights", default="q1net-k8", metavar="NAME", help="variant or .keras file (%(default)s)")
    parser.add_argument("--split", default="test", help="of the shards (%(default)s)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="also write the table here")
    return parser


def measure_split(
    model: keras.Model, variant: str, dataset: ShardDataset, split: str
) -> Iterator[tuple[Float32Array, Float32Array]]:
    """Levels and signed errors of the patches of each file, float32 [N] each.

    Raises:
        ConfigError: the split has no rows, or a file is not the one that dataset.json lists.
    """
    if not dataset.rows(split):
        raise ConfigError(f"shards in {dataset.uri} have no rows in the split {split!r}; choose another --split")
    for file in dataset.files[split]:
        table = read_shard(dataset, file)
        levels = table["level"].to_numpy().astype(np.float32)
        quality, _ = predict_sets(model, variant, patches_of(table)[:, None])
        yield levels, quality[:, 0] - levels


def describe_errors(name: str, errors: Float32Array) -> tuple[str, ...]:
    """Cells below HEADER; SDE is the standard deviation of the absolute errors."""
    absolute = np.abs(errors.astype(np.float64))
    figures = (absolute.mean(), errors.mean(dtype=np.float64), absolute.std())
    return name, str(len(errors)), *(f"{figure:.3f}" for figure in figures)


def make_table(levels: Float32Array, errors: Float32Array) -> str:
    """A line for each level, and one for all of them."""
    lines = [describe_errors(f"{level:g}", errors[levels == level]) for level in np.unique(levels)]
    return to_markdown(HEADER, [*lines, describe_errors("all", errors)]) + "\n"


def study(shards: str, weights: str, split: str) -> str:
    """The table of one split.

    Raises:
        ConfigError, WeightsError: shards or weights that cannot be used, or not together.
    """
    dataset = open_dataset(shards)
    file = read_weights(weights, [dataset.codec])
    if file.network.input != PATCHES:
        raise ConfigError(f"shards hold patches; {file.variant} sees a {file.network.input.sampler}")
    measured = list(measure_split(load_model(file), file.variant, dataset, split))
    levels, errors = (np.concatenate(values) for values in zip(*measured, strict=True))
    return make_table(levels, errors)


def run(argv: list[str]) -> int:
    """The command; returns its exit status."""
    options = make_parser().parse_args(argv)
    try:
        table = study(options.shards, options.weights, options.split)
    except (ConfigError, WeightsError) as error:
        print(f"shards: {error}", file=sys.stderr)
        return 2
    print(table, end="")
    if options.output:
        options.output.write_text(table)
    return 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
