"""Errors: about one image (it becomes a row) or about the run (it stops before work starts).

Layer: standard library only.
"""

from q1net_core.records import Status


class Q1NetError(Exception):
    """Base of every error this project raises on purpose."""


class ImageError(Q1NetError):
    """One image has no estimate; ``status`` says which kind of reason, the message says what happened.

    Args:
        status: the value of the row's ``status`` column, never ``Status.OK``.
        message: one line: what happened, the value received, what was expected.
    """

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(status, message)
        self.status = status
        self.message = " ".join(message.split())

    def __str__(self) -> str:
        return self.message


class ConfigError(Q1NetError, ValueError):
    """The run was asked for something impossible; raised before any work starts."""


class WeightsError(Q1NetError):
    """A weights file is missing, damaged, or does not fit its variant; raised before any work starts."""
