"""The command `q1net`: picks a module and calls its run(argv)."""

import sys
from importlib import import_module

from pipelines.runtime.allocator import keep_freed_memory
from pipelines.runtime.quiet import (
    VERBOSE,
    describe_failure,
    drop_beam_notices,
    end_process,
    silence_clients,
    start_quietly,
)
from pipelines.runtime.threads import keep_to_one_thread
from q1net_core import __version__

# Each value is a module with ``run(argv) -> exit status``; imported only when asked for, since Beam takes seconds.
COMMANDS = {
    "audit": ("pipelines.audit.command", "estimate the quality of every image of a corpus, into a Parquet run"),
    "report": ("pipelines.audit.report.command", "write an HTML page about a run"),
    "runs": ("pipelines.runs", "list the runs of an output, committed or not"),
    "predict": ("pipelines.predict", "estimate the quality of a few images"),
    "export": ("pipelines.export", "write a variant as TFLite, ONNX or SavedModel"),
    "evaluate": ("pipelines.evaluation.command", "measure the error on lossless images, compressed at every level"),
    "shards": ("pipelines.shards.command", "cut training shards from lossless images, compressed at every level"),
    "boost": ("pipelines.boost.command", "residual patterns on top of a codec: train, encode, decode, evaluate"),
    "doctor": ("pipelines.doctor.command", "check whether a run can start here, and say what to do if not"),
    "train": ("training.__main__", "train a network, on shards or on lossless images"),
}

# Commands that import TensorFlow before they look at their arguments.
WITH_TENSORFLOW = frozenset({"train"})
# Exit status of a command that ended in an error nobody foresaw.
FAILED = 1

USAGE = "\n".join(
    [
        "usage: q1net COMMAND ...   (q1net COMMAND --help tells more; q1net --version)",
        "",
        *(f"  {name:<10}{purpose}" for name, (_, purpose) in COMMANDS.items()),
        "",
        f"{VERBOSE}, with any command: show what libraries log, and where an error came up",
    ]
)


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns its exit status."""
    keep_to_one_thread()
    keep_freed_memory()
    drop_beam_notices()
    arguments = sys.argv[1:] if argv is None else argv
    if arguments in (["-h"], ["--help"]):
        print(USAGE)
        return 0
    if arguments == ["--version"]:
        print(f"q1net {__version__}")
        return 0
    if not arguments or arguments[0] not in COMMANDS:
        received = repr(arguments[0]) if arguments else "nothing"
        print(f"q1net: the command is {received}; expected one of {', '.join(COMMANDS)}\n\n{USAGE}", file=sys.stderr)
        return 2
    name, *rest = arguments
    if VERBOSE not in rest:
        silence_clients()
        if name in WITH_TENSORFLOW:
            start_quietly()
    return import_module(COMMANDS[name][0]).run([argument for argument in rest if argument != VERBOSE])


def command() -> None:
    """The console script: run one command and end the process with its status; what fails is told in one line."""
    try:
        status = main()
    except Exception as error:
        if VERBOSE in sys.argv:
            raise
        print(f"q1net: {describe_failure(error)}; {VERBOSE} shows where", file=sys.stderr)
        status = FAILED
    end_process(status)


if __name__ == "__main__":
    command()
