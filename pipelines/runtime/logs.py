"""Structured logs: an event is one line of JSON under the logger ``q1net``, and repeats of it are capped."""

import json
import logging
from collections import Counter
from threading import Lock

LOGGER = logging.getLogger("q1net")
# Of one kind of event in one process; every row tells the same of its image.
REPEATS = 5

_seen: Counter[tuple[str, str]] = Counter()
_lock = Lock()


def log_event(event: str, kind: str, **fields: str | int | float | None) -> None:
    """Log ``{"event": ..., "kind": ..., **fields}`` at level INFO, which cloud engines show and local ones do not.

    After REPEATS of the same event and kind one more line says that there will be no others from this process.
    """
    with _lock:
        _seen[event, kind] += 1
        count = _seen[event, kind]
    line = {"event": event, "kind": kind}
    if count <= REPEATS:
        LOGGER.info(json.dumps(line | fields))
    elif count == REPEATS + 1:
        LOGGER.info(json.dumps(line | {"note": f"not logged again by this process after {REPEATS} times"}))
