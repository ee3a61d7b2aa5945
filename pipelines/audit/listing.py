"""The runs of an output: which there are, which of them are committed, and what they say of themselves."""

from collections.abc import Iterator
from dataclasses import dataclass

from pipelines import files
from q1net_core import storage
from q1net_core.errors import ConfigError, ImageError
from q1net_core.records import Status


@dataclass(frozen=True, slots=True)
class FoundRun:
    """A run's folder: what its `_started.json` and its `_run.json` say, None where they are not there.

    ``damaged`` says what is wrong with one of them that is there and cannot be used.
    """

    uri: str
    started: files.JSON | None
    committed: files.JSON | None
    damaged: str | None = None

    @property
    def run_id(self) -> str:
        """The last part of the uri, ``run_id=...``, without its name."""
        return self.uri.rpartition("run_id=")[2]


def find_runs(output: str) -> Iterator[FoundRun]:
    """All runs of an output, the newest first."""
    names = (name for name in storage.list_names(output) if name.startswith("run_id="))
    for name in sorted(names, reverse=True):
        uri = storage.join(output, name)
        damaged: list[str] = []
        started, committed = (read_about(uri, about, damaged) for about in ("_started.json", "_run.json"))
        yield FoundRun(uri, started, committed, "; ".join(damaged) or None)


def read_about(run_uri: str, name: str, damaged: list[str]) -> files.JSON | None:
    """A JSON file of a run, None where it is not there or not whole; what is wrong is added to ``damaged``."""
    try:
        return files.read_json(storage.join(run_uri, name))
    except ImageError as error:
        if error.status is not Status.MISSING:
            damaged.append(str(error))
    except ValueError as error:
        damaged.append(f"{name} is not JSON: {error}")
    return None


def newest_run(output: str) -> str:
    """The uri of the newest committed run of an output; raises ConfigError where there is none."""
    for run in find_runs(output):
        if run.committed is not None:
            return run.uri
    raise ConfigError(f"no committed run in {storage.printable_uri(output)}; expected the output of a finished audit")
