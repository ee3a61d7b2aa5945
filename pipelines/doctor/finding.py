"""What a check found."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is: with a FAIL a run cannot start."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report: what a check found and, where that is not OK, what to do."""

    level: Level
    check: str
    found: str
    mend: str = ""

    def __str__(self) -> str:
        return f"{self.level:<4}  {self.check:<11}  {self.found}{f'; {self.mend}' if self.mend else ''}"


def ok(check: str, found: str) -> Finding:
    """Nothing to do."""
    return Finding(Level.OK, check, found)


def warn(check: str, found: str, mend: str) -> Finding:
    """A run can start, but somebody should look at this."""
    return Finding(Level.WARN, check, found, mend)


def fail(check: str, found: str, mend: str) -> Finding:
    """A run cannot start."""
    return Finding(Level.FAIL, check, found, mend)
