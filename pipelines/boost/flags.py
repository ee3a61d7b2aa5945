"""Flags that several subcommands of `q1net boost` have."""

import argparse

from q1net_core.boost.model import packaged_models


def add_model(parser: argparse.ArgumentParser) -> None:
    """The flag --model of a subcommand that encodes: the first packaged model by default, required if there is none."""
    packaged = packaged_models()
    parser.add_argument(
        "--model",
        default=packaged[0] if packaged else None,
        required=not packaged,
        metavar="NAME",
        help=f"an .npz file, or the packaged model of {' or '.join(packaged) or 'no codec'} (%(default)s)",
    )
