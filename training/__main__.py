"""`q1net train`: flags -> config -> train."""

import argparse
import sys
from pathlib import Path

import keras

from q1net_core.errors import ConfigError
from training.config import PRESETS, preset
from training.trainer import train


def make_parser() -> argparse.ArgumentParser:
    """The command's flags."""
    parser = argparse.ArgumentParser(prog="q1net train", description="Train a Q1Net on lossless photographs.")
    parser.add_argument("--images", required=True, metavar="URI", help="folder, file or glob of lossless images")
    parser.add_argument(
        "--validation-images",
        required=True,
        metavar="URI",
        help="other lossless images, which choose the threshold and the best weights",
    )
    parser.add_argument(
        "--output", required=True, type=Path, metavar="DIR", help="checkpoint, weights, curves; resumes from here"
    )
    parser.add_argument("--preset", default="cpu", choices=sorted(PRESETS), help="recipe (default: %(default)s)")
    parser.add_argument("--variant", help="architecture, as in the table of variants (default: the preset's)")
    parser.add_argument("--steps", type=int, help="batches in all (default: the preset's)")
    parser.add_argument("--seed", type=int, help="seed of places, levels and initial weights (default: the preset's)")
    parser.add_argument("--time-limit", type=float, metavar="SECONDS", help="stop in time; call again to go on")
    parser.add_argument(
        "--precision",
        default="float32",
        choices=("float32", "mixed_bfloat16"),
        help="arithmetic; mixed_bfloat16 pays on recent accelerators (default: %(default)s)",
    )
    return parser


def parse(argv: list[str]) -> argparse.Namespace:
    """Command line -> options."""
    return make_parser().parse_args(argv)


def run(argv: list[str]) -> int:
    """Train as the command line says; returns the exit status."""
    options = parse(argv)
    changes = {name: value for name in ("variant", "steps", "seed") if (value := getattr(options, name)) is not None}
    keras.mixed_precision.set_global_policy(options.precision)
    try:
        config = preset(options.preset, **changes)
        result = train(config, options.images, options.validation_images, options.output, options.time_limit)
    except ConfigError as error:
        print(f"q1net train: {error}", file=sys.stderr)
        return 2
    state = "finished" if result.finished else "time limit reached, call again to go on"
    print(
        f"{state}: step {result.steps} of {config.steps}; best weights have validation MAE {result.best_mae:.3f} "
        f"with the fusion {result.best_rule.fusion!r} above {result.best_rule.threshold:g}: "
        f"{options.output / config.variant}.keras"
    )
    return 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
