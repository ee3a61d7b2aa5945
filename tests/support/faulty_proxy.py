"""A loopback proxy in front of a store that answers some requests with 503, breaks their connection, or is slow.

with faulty_proxy("http://127.0.0.1:9000", Faults(unavailable=0.1, reset=0.05)) as proxy:
    ...  # requests to proxy.url
"""

import contextlib
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

# Headers that are about one connection, not about what it carries.
OF_THE_CONNECTION = {"connection", "keep-alive", "transfer-encoding", "content-length", "proxy-connection", "expect"}

# What S3 writes with a status.
ERRORS = {
    503: b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>",
    401: b"<Error><Code>Unauthorized</Code><Message>No credentials</Message></Error>",
    403: b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>",
}


@dataclass(frozen=True, slots=True)
class Faults:
    """Shares of all requests, 0-1, drawn with ``seed``.

    ``unavailable`` answers with ``status``; ``reset`` breaks the connection, ``cut`` in the middle of the answer;
    ``slow`` waits for ``delay`` seconds.
    """

    unavailable: float = 0.0
    status: int = 503
    reset: float = 0.0
    cut: float = 0.0
    slow: float = 0.0
    delay: float = 0.2
    seed: int = 0

    def shares(self) -> dict[str, float]:
        return {"unavailable": self.unavailable, "reset": self.reset, "cut": self.cut, "slow": self.slow}


@dataclass
class Proxy:
    """A running proxy: where it listens; what it did to how many requests; the paths it was asked for, and statuses."""

    url: str
    faults: Faults
    done: Counter[str] = field(default_factory=Counter)
    answers: list[tuple[str, str, int]] = field(default_factory=list)


@contextlib.contextmanager
def faulty_proxy(target: str, faults: Faults = Faults()) -> Iterator[Proxy]:
    """The proxy, while it runs; all of ``faults`` may be changed through ``Proxy.faults`` meanwhile."""
    draw, lock = random.Random(faults.seed), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one_request(self) -> None:
            with contextlib.suppress(ConnectionError):
                super().handle_one_request()

        def answer(self) -> None:
            body = self.read_body()
            with lock:
                kinds = proxy.faults.shares()
                fault = draw.choices([*kinds, "none"], [*kinds.values(), max(0, 1 - sum(kinds.values()))])[0]
                proxy.done[fault] += 1
            if fault == "reset":
                return self.break_connection()
            if fault == "unavailable":
                with lock:
                    proxy.answers.append((self.command, self.path, proxy.faults.status))
                return self.send(proxy.faults.status, {"Content-Type": "application/xml"}, ERRORS[proxy.faults.status])
            if fault == "slow":
                time.sleep(proxy.faults.delay)
            status, headers, content = self.forward(body)
            with lock:
                proxy.answers.append((self.command, self.path, status))
            if fault == "cut" and content and self.command != "HEAD":
                return self.send(status, headers, content, len(content) // 2)
            return self.send(status, headers, content)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer

        def read_body(self) -> bytes:
            if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
                body = b""
                while size := int(self.rfile.readline().split(b";")[0], 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return body
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))

        def forward(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
            headers = {name: value for name, value in self.headers.items() if name.lower() not in OF_THE_CONNECTION}
            connection = HTTPConnection(urlsplit(target).netloc, timeout=60)
            try:
                connection.request(self.command, self.path, body, headers | {"Content-Length": str(len(body))})
                response = connection.getresponse()
                kept = {name: value for name, value in response.headers.items() if name.lower() != "transfer-encoding"}
                return response.status, kept, response.read()
            finally:
                connection.close()

        def send(self, status: int, headers: dict[str, str], content: bytes, cut: int | None = None) -> None:
            self.send_response_only(status)
            for name, value in headers.items():
                if name.lower() not in OF_THE_CONNECTION or (name.lower(), self.command) == ("content-length", "HEAD"):
                    self.send_header(name, value)
            if self.command != "HEAD":
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content[:cut])
            if cut is not None:
                self.wfile.flush()
                self.break_connection()

        def break_connection(self) -> None:
            # Without waiting for what is unsent, a close is a reset.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()
            # The base class would flush this file.
            self.wfile = _Nowhere()  # type: ignore[assignment]

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    proxy = Proxy(f"http://127.0.0.1:{server.server_port}", faults)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Nowhere:
    closed = True

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass
