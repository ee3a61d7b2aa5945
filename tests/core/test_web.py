"""Images of web servers: status, size and time are limited, transient failures are tried again, hosts are spared."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from faulty_proxy import Faults, faulty_proxy

from q1net_core import storage, transient, web
from q1net_core.errors import ImageError
from q1net_core.records import Status


class Site:
    """A web server whose paths say how it answers; ``asked`` counts them, ``most`` is how many came at once."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.now = self.most = 0
        self.lock = threading.Lock()
        self.agents: set[str | None] = set()
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                with site.lock:
                    site.asked[self.path] += 1
                    site.agents.add(self.headers["User-Agent"])
                    site.now += 1
                    site.most = max(site.most, site.now)
                try:
                    self.answer(self.path.partition("?")[0])
                finally:
                    with site.lock:
                        site.now -= 1

            def answer(self, path: str) -> None:
                if path == "/slow.jpg":
                    time.sleep(0.05)
                if path == "/endless.jpg":
                    self.send_response(200)
                    self.end_headers()
                    try:
                        while True:
                            self.wfile.write(bytes(10_000))
                    except OSError:
                        self.close_connection = True
                        return
                if path == "/away.jpg":
                    self.send_response(302)
                    self.send_header("Location", "/here.jpg")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                status = int(path[1:4]) if path[1:4].isdigit() else 200
                if path == "/busy.jpg" and site.asked[self.path] < 3:
                    status = 503
                content = path.encode() if status == 200 else b"no"
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def site() -> Iterator[Site]:
    found = Site()
    thread = threading.Thread(target=found.server.serve_forever, daemon=True)
    thread.start()
    yield found
    found.server.shutdown()
    thread.join()
    found.server.server_close()


def status_of(url: str, max_bytes: int = 1000) -> tuple[Status, str]:
    with pytest.raises(ImageError) as caught:
        storage.read_bytes(url, max_bytes)
    return caught.value.status, caught.value.message


def test_files_are_read_and_redirects_followed(site: Site) -> None:
    assert storage.read_bytes(f"{site.url}/a.jpg?size=1&w=2", 100) == b"/a.jpg"
    assert storage.read_bytes(f"{site.url}/away.jpg", 100) == b"/here.jpg"
    assert all(str(agent).startswith("q1net/") for agent in site.agents)


def test_permanent_failures_are_asked_for_once(site: Site) -> None:
    assert status_of(f"{site.url}/404.jpg")[0] is status_of(f"{site.url}/410.jpg")[0] is Status.MISSING
    status, message = status_of(f"{site.url}/403.jpg")
    assert (status, "403" in message) == (Status.UNREADABLE, True)
    assert set(site.asked.values()) == {1}


def test_a_busy_server_is_asked_again(site: Site) -> None:
    assert storage.read_bytes(f"{site.url}/busy.jpg", 100) == b"/busy.jpg"
    assert site.asked["/busy.jpg"] == 3


def test_an_answer_without_end_is_too_large(site: Site) -> None:
    assert status_of(f"{site.url}/endless.jpg", 50_000)[0] is Status.TOO_LARGE


def test_an_answer_that_takes_too_long_is_unreadable(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "DEADLINE", -1.0)
    monkeypatch.setattr(transient, "TRIES", 1)
    status, message = status_of(f"{site.url}/a.jpg")
    assert (status, "not all there" in message) == (Status.UNREADABLE, True)


def test_hosts_are_spared(site: Site) -> None:
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda number: storage.read_bytes(f"{site.url}/slow.jpg?{number}", 100), range(24)))
    assert 1 < site.most <= web.PER_HOST


def test_broken_connections_lose_nothing(site: Site) -> None:
    with faulty_proxy(site.url, Faults(unavailable=0.1, reset=0.1, cut=0.1, seed=5)) as proxy:
        for number in range(20):
            assert storage.read_bytes(f"{proxy.url}/{number} a.jpg", 100) == f"/{number}%20a.jpg".encode()
        assert len(proxy.done) >= 3


def test_a_name_that_leads_nowhere_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", None)
    assert status_of("https://nowhere.invalid/a.jpg")[0] is Status.UNREADABLE
