"""A command as a Dataflow Flex Template: its flags as the template's parameters, and parameters back to flags.

The launcher of a template passes every parameter as ``--name=value``; names have no hyphens, and no value is a flag.
"""

import argparse
import re
from collections.abc import Iterator, Sequence
from typing import Any

# Flags that mean nothing in a job on Dataflow, or only where the command waits for its end.
LEFT_OUT = ("help", "workers", "dry_run", "plan", "no_report", "fail_on")
# By flag: the kind of a parameter, and what its value must look like.
KINDS = {
    "output": ("GCS_WRITE_FOLDER", r"^gs:\/\/[^\n\r]+$"),
    "manifest": ("GCS_READ_FILE", r"^gs:\/\/[^\n\r]+$"),
    "inputs": ("TEXT", r"^[^\n\r]+$"),
}
# Beam's own option that every job needs: the workers' image is not the launcher's.
IMAGE: dict[str, Any] = {
    "name": "sdk_container_image",
    "label": "Workers' image",
    "helpText": "Of the same version as the launcher: gpu-worker with an accelerator, else cpu-worker.",
    "isOptional": False,
    "regexes": [r"^[^\s]+:[^\s]+$"],
    "paramType": "TEXT",
}


def describe_command(parser: argparse.ArgumentParser) -> dict[str, Any]:
    """The template's metadata: name, description, and a parameter for each flag."""
    parameters = [describe_flag(action, parser) for action in actions_of(parser)]
    return {
        "name": parser.prog,
        "description": parser.description,
        "streaming": False,
        "parameters": [*sorted(parameters, key=lambda one: bool(one["isOptional"])), IMAGE],
    }


def actions_of(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """The flags that are parameters."""
    return (action for action in parser._actions if name_of(action) not in LEFT_OUT)


def name_of(action: argparse.Action) -> str:
    """A parameter's name: the flag's, or that of the values without flag."""
    return action.option_strings[-1].lstrip("-").replace("-", "_") if action.option_strings else action.dest


def describe_flag(action: argparse.Action, parser: argparse.ArgumentParser) -> dict[str, Any]:
    """One parameter; its help is the flag's."""
    name = name_of(action)
    kind, regex = KINDS.get(name, ("TEXT", None))
    about: dict[str, Any] = {
        "name": name,
        "label": name.replace("_", " ").capitalize(),
        "helpText": parser._get_formatter()._expand_help(action),
        # An empty list of values is no value: argparse calls it required all the same.
        "isOptional": not action.required or action.nargs == "*",
    }
    if not action.option_strings:
        about["helpText"] += "; several are separated by spaces"
    if action.nargs == 0:
        kind, about["defaultValue"] = "BOOLEAN", "false"
    elif action.type in (int, float):
        kind = "NUMBER"
    elif action.choices:
        kind = "ENUM"
        about["enumOptions"] = [{"value": str(choice), "label": str(choice)} for choice in action.choices]
    if regex:
        about["regexes"] = [regex]
    if isinstance(action.default, str | int | float) and action.nargs != 0:
        about["defaultValue"] = str(action.default)
    return about | {"paramType": kind}


def to_command_line(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> list[str]:
    """What the launcher passes -> what the command takes: ``--group_column=a`` becomes ``--group-column=a``.

    What is no parameter of the command, Beam's flags, stays as it is.
    """
    actions = {name_of(action): action for action in actions_of(parser)}
    line: list[str] = []
    for argument in arguments:
        found = re.fullmatch(r"--(\w+)=(.*)", argument, re.DOTALL)
        action = actions.get(found[1]) if found else None
        if not found or not action:
            line.append(argument)
        elif not action.option_strings:
            line += found[2].split()
        elif action.nargs == 0:
            line += [action.option_strings[0]] * (found[2].lower() == "true")
        elif found[2]:
            # A parameter that is left empty in the console is passed all the same.
            line.append(f"{action.option_strings[0]}={found[2]}")
    return line
