"""`q1net boost`: picks a subcommand and calls its run(argv)."""

import sys
from importlib import import_module

# Training and pipelines do not know each other: the module is named, not imported.
SUBCOMMANDS = {
    "train": ("training.boost.command", "train post-filter and patterns for a base codec"),
    "encode": ("pipelines.boost.encode", "a picture to a boosted file"),
    "decode": ("pipelines.boost.decode", "a boosted file to a PNG"),
    "evaluate": (
        "pipelines.boost.evaluate",
        "what post-filter and patterns gain on lossless pictures",
    ),
}
USAGE = "\n".join(
    [
        "usage: q1net boost SUBCOMMAND ...   (q1net boost SUBCOMMAND --help tells more)",
        "",
        *(f"  {name:<10}{purpose}" for name, (_, purpose) in SUBCOMMANDS.items()),
    ]
)


def run(argv: list[str]) -> int:
    """Run one subcommand; returns its exit status."""
    if argv in (["-h"], ["--help"]):
        print(USAGE)
        return 0
    if not argv or argv[0] not in SUBCOMMANDS:
        received = repr(argv[0]) if argv else "nothing"
        print(
            f"q1net boost: the subcommand is {received}; expected one of {', '.join(SUBCOMMANDS)}\n\n{USAGE}",
            file=sys.stderr,
        )
        return 2
    return int(import_module(SUBCOMMANDS[argv[0]][0]).run(argv[1:]))
