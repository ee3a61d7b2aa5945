"""The command `q1net`: usage, unknown commands, and help of every command."""

import subprocess
import sys
from importlib import import_module

import pytest

from pipelines.cli import COMMANDS, USAGE, main
from q1net_core import __version__


def test_usage_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == main(["-h"]) == 0
    printed = capsys.readouterr()
    assert printed.out == f"{USAGE}\n" * 2
    assert printed.err == ""
    assert all(f"\n  {name} " in USAGE and purpose in USAGE for name, (_, purpose) in COMMANDS.items())


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"q1net {__version__}\n"


@pytest.mark.parametrize(("arguments", "received"), [(["audot", "x"], "'audot'"), ([], "nothing"), ([""], "''")])
def test_unknown_commands_are_named(arguments: list[str], received: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    expected = ", ".join(COMMANDS)
    assert printed.err == f"q1net: the command is {received}; expected one of {expected}\n\n{USAGE}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        status = main([command, "--help"])
    except SystemExit as stopped:
        status = int(stopped.code or 0)
    assert status == 0
    assert capsys.readouterr().out.startswith(f"usage: q1net {command} ")


def test_every_command_is_a_module_that_runs() -> None:
    assert all(callable(import_module(module).run) for module, _ in COMMANDS.values())


def test_a_command_gets_the_arguments_after_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    received: list[list[str]] = []

    def run(argv: list[str]) -> int:
        received.append(argv)
        return 7

    monkeypatch.setattr("pipelines.predict.run", run)
    assert main(["predict", "--help", "audit"]) == 7
    monkeypatch.setattr(sys, "argv", ["q1net", "predict", "x"])
    assert main() == 7
    assert received == [["--help", "audit"], ["x"]]


def test_usage_needs_neither_beam_nor_tensorflow() -> None:
    code = (
        "import sys\n"
        "from pipelines.cli import main\n"
        "main(['--help'])\n"
        "print(sorted({'apache_beam', 'tensorflow', 'keras', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == f"{USAGE}\n[]\n"


def test_the_program_ends_with_the_status_of_its_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.cli", "audot"], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("q1net: the command is 'audot'")
