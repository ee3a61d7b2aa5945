"""Which failures of a store pass by themselves, and the one place where they are tried again.

Layer: standard library and tenacity.
"""

import errno
from collections.abc import Callable, Iterator
from typing import TypeVar

from tenacity import Retrying, retry_if_exception, stop_after_attempt, stop_after_delay, wait_random_exponential

T = TypeVar("T")

TRIES = 6
# Seconds: no try starts later than this after the first, and no wait is longer.
PATIENCE, LONGEST_WAIT = 60.0, 10.0
# HTTP statuses of a store that asks to come back: request timeout, too many requests, and failures of its own.
STATUSES = frozenset({408, 429, 500, 502, 503, 504})
# Connections that broke or were too slow, as clients of stores call them; they share no base class.
BROKEN_CONNECTIONS = frozenset(
    {"ClientConnectionError", "ClientPayloadError", "ConnectionError", "HTTPClientError", "IncompleteRead"}
    | {"IncompleteReadError", "ChecksumError", "ChunkedEncodingError", "ProtocolError", "ProxyError", "TimeoutError"}
    | {"Timeout", "TransportError"}
)
# What looks like a broken connection, but will be the same next time.
LASTING = frozenset({"SSLError", "SSLCertVerificationError", "ClientSSLError", "NameResolutionError", "gaierror"})
ERRNOS = frozenset({errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE, errno.ETIMEDOUT, errno.EHOSTUNREACH})


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error and those it was made from."""
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__ or found.__context__


def http_status(error: BaseException) -> int | None:
    """The HTTP status that an error of a store's client carries, if any."""
    response = getattr(error, "response", None)
    values: tuple[object, ...]
    if isinstance(response, dict):
        values = (response.get("ResponseMetadata", {}).get("HTTPStatusCode"),)
    else:
        values = (getattr(error, "status", None), getattr(error, "code", None), getattr(response, "status_code", None))
    for value in values:
        if isinstance(value, int | str) and str(value).isdigit():
            return int(value)
    return None


def is_transient(error: BaseException) -> bool:
    """Whether the same request may succeed a little later: 503, a reset or a timeout may, 403 and 404 do not."""
    chain = list(causes(error))
    for each in chain:
        status = http_status(each)
        if status is not None:
            return status in STATUSES
    names = {kind.__name__ for each in chain for kind in type(each).__mro__}
    if names & LASTING or isinstance(error, FileNotFoundError | PermissionError):
        return False
    return bool(names & BROKEN_CONNECTIONS) or any(getattr(each, "errno", None) in ERRNOS for each in chain)


def persist(function: Callable[..., T], *arguments: object, **options: object) -> T:
    """Call a function, again while it fails for a transient reason, after random waits that grow; raises its error."""
    retrying = Retrying(
        retry=retry_if_exception(is_transient),
        wait=wait_random_exponential(multiplier=0.25, max=LONGEST_WAIT),
        stop=stop_after_attempt(TRIES) | stop_after_delay(PATIENCE),
        reraise=True,
    )
    return retrying(function, *arguments, **options)
