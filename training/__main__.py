"""`q1net train`: flags -> config -> train."""

import argparse
import sys
from pathlib import Path

import keras

from q1net_core.errors import ConfigError, WeightsError
from q1net_core.network.variants import VARIANTS, Variant
from q1net_core.sampling import PATCHES
from training.config import PRESETS, TrainConfig, default_preset, preset
from training.data.images import image_data
from training.data.photographs import Data
from training.data.shards import shard_data
from training.studies.ablations import ABLATIONS, run_ablations
from training.trainer import train


def make_parser() -> argparse.ArgumentParser:
    """The command's flags."""
    parser = argparse.ArgumentParser(
        prog="q1net train",
        description="Train a Q1Net, from shards or from lossless photographs that are compressed on the fly.",
    )
    parser.add_argument("--shards", metavar="URI", help="folder that q1net shards made: its train and valid splits")
    parser.add_argument("--images", metavar="URI", help="instead: folder, file or glob of lossless images")
    parser.add_argument(
        "--validation-images",
        metavar="URI",
        help="other lossless images, which choose thresholds and best weights; with --shards where those of its valid "
        "split are now (default: where they were when the shards were made)",
    )
    parser.add_argument(
        "--output", required=True, type=Path, metavar="DIR", help="checkpoint, weights, curves; resumes from here"
    )
    parser.add_argument(
        "--preset",
        choices=sorted(PRESETS),
        help="recipe (default: cpu; of networks that see a window, window; of those for frames, video)",
    )
    parser.add_argument("--variant", help="architecture, as in the table of variants (default: the preset's)")
    parser.add_argument(
        "--start-from",
        metavar="NAME",
        help="variant or .keras file to go on from, of the same network or of a classifier with fewer classes "
        "(default: the preset's)",
    )
    parser.add_argument("--steps", type=int, help="batches in all (default: the preset's)")
    parser.add_argument("--seed", type=int, help="seed of places, levels and initial weights (default: the preset's)")
    parser.add_argument("--time-limit", type=float, metavar="SECONDS", help="stop in time; call again to go on")
    parser.add_argument(
        "--precision",
        default="float32",
        choices=("float32", "mixed_bfloat16"),
        help="arithmetic; mixed_bfloat16 pays on recent accelerators (default: %(default)s)",
    )
    parser.add_argument(
        "--ablation",
        choices=("all", *ABLATIONS),
        metavar="ROW",
        help="train and evaluate a row of the paper's Table 3, or all; writes table3.md and table3.parquet",
    )
    parser.add_argument(
        "--test-images", metavar="URI", help="with --ablation: lossless images that the rows are measured on"
    )
    return parser


def parse(argv: list[str]) -> argparse.Namespace:
    """Command line -> options."""
    return make_parser().parse_args(argv)


def choose_data(options: argparse.Namespace, variant: Variant) -> Data:
    """Where patches come from; raises ConfigError unless it is shards, or images and validation images."""
    if options.shards and not options.images:
        if variant.input != PATCHES:
            raise ConfigError(f"shards hold patches; this network sees a {variant.input.sampler}: use --images")
        return shard_data(options.shards, validation_images=options.validation_images)
    if options.images and options.validation_images and not options.shards:
        return image_data(options.images, options.validation_images, variant)
    raise ConfigError("expected either --shards, or --images together with --validation-images")


def choose_test_data(options: argparse.Namespace) -> Data:
    """What ablations are measured on: the images named, or the shards' test split."""
    if options.test_images:
        return image_data(options.test_images, options.test_images)
    if options.shards:
        return shard_data(options.shards, "test")
    raise ConfigError("--ablation needs --test-images, lossless images that neither train nor choose anything")


def run(argv: list[str]) -> int:
    """Train as the command line says; returns the exit status."""
    options = parse(argv)
    changes = {
        name: value
        for name in ("variant", "steps", "seed", "start_from")
        if (value := getattr(options, name)) is not None
    }
    keras.mixed_precision.set_global_policy(options.precision)
    try:
        config = preset(options.preset or default_preset(options.variant), **changes)
        data = choose_data(options, VARIANTS[config.variant])
        if options.ablation:
            names = list(ABLATIONS) if options.ablation == "all" else [options.ablation]
            test = choose_test_data(options)
            print(run_ablations(names, config, data, test, options.output, options.time_limit), end="")
        else:
            print(train_one(config, data, options))
    except (ConfigError, WeightsError) as error:
        print(f"q1net train: {error}", file=sys.stderr)
        return 2
    return 0


def train_one(config: TrainConfig, data: Data, options: argparse.Namespace) -> str:
    """Train; returns where that has led, in a line."""
    result = train(config, data, options.output, options.time_limit)
    state = "finished" if result.finished else "time limit reached, call again to go on"
    state += f": step {result.steps} of {config.steps}"
    if result.best_rule is None:
        return f"{state} is kept; no weights yet, the first validation is after step {config.validation_every}"
    return (
        f"{state}; best weights have validation MAE {result.best_mae:.3f} "
        f"with the fusion {result.best_rule.fusion!r} above {result.best_rule.threshold:g}: "
        f"{options.output / config.variant}.keras"
    )


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
