"""A folder of images served over loopback, where something happens in the middle of an audit."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Archive(ThreadingHTTPServer):
    """Serves a folder over loopback, and calls back before it answers one of the requests."""

    def __init__(self, folder: Path, number: int, callback: Callable[[], None]) -> None:
        super().__init__(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
        self.left, self.callback, self.lock = number, callback, threading.Lock()

    def count(self) -> None:
        with self.lock:
            self.left -= 1
            if self.left == 0:
                self.callback()


class Handler(SimpleHTTPRequestHandler):
    server: Archive

    def do_GET(self) -> None:
        self.server.count()
        super().do_GET()

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serve(folder: Path, number: int, callback: Callable[[], None]) -> Iterator[str]:
    """The URL of an archive whose request of this number calls back."""
    with Archive(folder, number, callback) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def write_manifest(path: Path, url: str, names: list[str]) -> Path:
    """A manifest of images of an archive."""
    path.write_text("\n".join(["uri", *(f"{url}/{name}" for name in names)]) + "\n")
    return path
