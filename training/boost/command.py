"""`q1net boost train`: flags -> recipe -> train."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import keras

from q1net_core.boost.bases import BASES
from q1net_core.errors import ConfigError
from training.boost.trainer import PRESETS, train_boost


def make_parser() -> argparse.ArgumentParser:
    """The command's flags."""
    parser = argparse.ArgumentParser(
        prog="q1net boost train", description="Train post-filter and patterns for a base codec on lossless photographs."
    )
    parser.add_argument("--images", required=True, metavar="URI", help="folder, file or glob of lossless photographs")
    parser.add_argument("--base", required=True, choices=list(BASES), help="the codec")
    parser.add_argument("--output", required=True, type=Path, metavar="DIR", help="checkpoint and model; resumes")
    parser.add_argument("--preset", default="full", choices=list(PRESETS), help="recipe (%(default)s)")
    parser.add_argument("--steps", type=int, help="batches for the filter (the preset's)")
    parser.add_argument("--patterns", type=int, metavar="K", help='patterns, "none" included (the preset\'s)')
    parser.add_argument("--time-limit", type=float, metavar="SECONDS", help="stop the filter in time; call again")
    parser.add_argument(
        "--precision",
        default="float32",
        choices=("float32", "mixed_bfloat16"),
        help="arithmetic of the filter's training; mixed_bfloat16 is three times as fast with AMX (%(default)s)",
    )
    return parser


def run(argv: list[str]) -> int:
    """The command; returns its exit status."""
    options = make_parser().parse_args(argv)
    keras.mixed_precision.set_global_policy(options.precision)
    try:
        recipe = PRESETS[options.preset](base=options.base)
        if options.steps is not None:
            recipe = replace(recipe, filter=replace(recipe.filter, steps=options.steps))
        if options.patterns is not None:
            recipe = replace(recipe, codebook=replace(recipe.codebook, size=options.patterns))
        print(train_boost(options.images, recipe, options.output, options.time_limit))
    except ConfigError as error:
        print(f"q1net boost train: {error}", file=sys.stderr)
        return 2
    return 0
