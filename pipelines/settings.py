"""The flags by which a user chooses how images are judged: those of EstimatorSettings, the same for every command."""

import argparse
from dataclasses import fields
from typing import Any

from q1net_core.fusion import FUSIONS
from q1net_core.settings import AUTO, CLEAN_WEIGHTS, ROBUST_WEIGHTS, EstimatorSettings


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add a flag for each field of EstimatorSettings, with its default."""
    default = EstimatorSettings()
    parser.add_argument(
        "--weights",
        metavar="NAME",
        help="variant, or URI of a .keras file, for all images (chosen for each: "
        f"{CLEAN_WEIGHTS} where the lattice accepts, else {ROBUST_WEIGHTS})",
    )
    parser.add_argument("--threshold", type=float, help="confidence a patch must exceed, 0-100 (the weights' own)")
    parser.add_argument(
        "--patches",
        type=lambda value: value if value == AUTO else int(value),
        default=default.patches,
        metavar="N",
        help="patches per image, a square number, or auto: some of 256, until they are enough (%(default)s)",
    )
    parser.add_argument("--max-bytes", type=int, default=default.max_bytes, help="largest file (%(default)s)")
    parser.add_argument("--max-pixels", type=int, default=default.max_pixels, help="largest image (%(default)s)")
    parser.add_argument(
        "--estimators",
        type=lambda names: tuple(names.split(",")),
        default=default.estimators,
        metavar="NAMES",
        help="which run, of lattice and q1net, by commas (both)",
    )
    parser.add_argument("--cascade", action="store_true", help="run Q1Net only where the lattice abstains: faster")
    parser.add_argument("--fusion", choices=list(FUSIONS), help="how patches become one estimate (the weights' best)")


def add_exclude(parser: argparse.ArgumentParser) -> None:
    """Add --exclude, which may be given several times."""
    parser.add_argument(
        "--exclude", action="append", default=[], metavar="GLOB", help="leave out images whose uri it matches"
    )


def take_settings(values: dict[str, Any]) -> EstimatorSettings:
    """The settings among parsed flags, which are taken out of ``values``; raises ConfigError for impossible ones."""
    return EstimatorSettings(**{field.name: values.pop(field.name) for field in fields(EstimatorSettings)})
