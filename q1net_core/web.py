"""Files of web servers: with limits of time and size, and few requests to one host at a time.

Layer: standard library and requests.
"""

import time
from collections import defaultdict
from threading import BoundedSemaphore, Lock, local
from urllib.parse import urlsplit

import requests

from q1net_core import __version__

# Requests of this process to one host at a time.
PER_HOST = 4
# Seconds to connect, between two pieces of an answer, and for all of it.
TIMEOUTS, DEADLINE = (10, 60), 300.0
PIECE = 1 << 16
REDIRECTS = 5

_slots: dict[str, BoundedSemaphore] = defaultdict(lambda: BoundedSemaphore(PER_HOST))
_slots_lock = Lock()
_kept = local()


def is_web(uri: str) -> bool:
    """Whether a uri is a web server's."""
    return uri.startswith(("http://", "https://"))


def read_url(url: str, max_bytes: int) -> bytes:
    """What a web server answers with, one byte more than ``max_bytes`` at most; it waits where its host is busy.

    Raises:
        FileNotFoundError: the server says so.
        requests.RequestException: any other failure.
        TimeoutError: the whole answer takes too long.
    """
    with _slot_of(urlsplit(url).netloc), _session().get(url, stream=True, timeout=TIMEOUTS) as response:
        if response.status_code in (404, 410):
            raise FileNotFoundError(f"the server answers {response.status_code}")
        response.raise_for_status()
        start, data = time.monotonic(), bytearray()
        for piece in response.iter_content(PIECE):
            data += piece
            if len(data) > max_bytes:
                break
            if time.monotonic() - start > DEADLINE:
                raise TimeoutError(f"not all there after {DEADLINE:.0f} s")
    return bytes(data[: max_bytes + 1])


def _slot_of(host: str) -> BoundedSemaphore:
    with _slots_lock:
        return _slots[host]


def _session() -> requests.Session:
    # Sessions keep connections open; they are not made for several threads.
    if not hasattr(_kept, "session"):
        _kept.session = requests.Session()
        _kept.session.max_redirects = REDIRECTS
        # Packed answers could grow beyond all limits.
        _kept.session.headers.update({"User-Agent": f"q1net/{__version__}", "Accept-Encoding": "identity"})
    session: requests.Session = _kept.session
    return session
