"""What is tried again, how often, and what is not; against real stores behind a proxy that injects faults."""

import os
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from emulators import through_faults
from faulty_proxy import Faults

from q1net_core import storage, transient
from q1net_core.errors import ConfigError, ImageError
from q1net_core.listing import list_images
from q1net_core.records import Status
from q1net_core.transient import is_transient, persist

SERVERS = ("s3_server", "gcs_server")


class HttpError(Exception):
    """As gcsfs has it."""

    def __init__(self, code: object) -> None:
        super().__init__(f"answered {code}")
        self.code = code


class ClientError(Exception):
    """As botocore has it."""

    def __init__(self, status: int) -> None:
        super().__init__(f"answered {status}")
        self.response = {"Error": {"Code": "x"}, "ResponseMetadata": {"HTTPStatusCode": status}}


class ServerDisconnectedError(type("ClientConnectionError", (Exception,), {})):  # type: ignore[misc]
    """As aiohttp has it."""


def made_from(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        HttpError(503),
        HttpError("429"),
        ClientError(500),
        made_from(OSError(5, "input/output error"), ClientError(503)),
        ConnectionResetError("reset by peer"),
        TimeoutError(),
        ServerDisconnectedError(),
        made_from(RuntimeError("cannot read"), BrokenPipeError()),
        OSError(104, "reset"),
    ],
    ids=repr,
)
def test_what_passes_by_itself_is_transient(error: BaseException) -> None:
    assert is_transient(error)


@pytest.mark.parametrize(
    "error",
    [
        HttpError(404),
        HttpError("403"),
        HttpError(None),
        ClientError(403),
        made_from(PermissionError("denied"), ClientError(403)),
        FileNotFoundError("gone"),
        IsADirectoryError("a folder"),
        OSError("Forbidden: bucket/x"),
        ValueError("nonsense"),
        type("SSLError", (ConnectionError,), {})("certificate"),
    ],
    ids=repr,
)
def test_what_will_be_the_same_next_time_is_not(error: BaseException) -> None:
    assert not is_transient(error)


def test_calls_are_repeated_a_few_times_with_waits_that_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    asked = []

    def fail(answer: int) -> int:
        asked.append(answer)
        if len(asked) < answer:
            raise HttpError(503)
        return answer

    assert persist(fail, 4) == len(asked) == 4
    assert len(waits) == 3
    assert all(0 <= wait <= 0.25 * 2**place for place, wait in enumerate(waits))
    asked.clear()
    with pytest.raises(HttpError):
        persist(fail, 100)
    assert len(asked) == transient.TRIES
    asked.clear()
    with pytest.raises(ZeroDivisionError):
        persist(lambda: asked.append(1) or 1 / 0)  # type: ignore[func-returns-value]
    assert len(asked) == 1


@pytest.mark.parametrize("server", SERVERS)
def test_faults_of_a_store_lose_nothing(server: str, request: pytest.FixtureRequest) -> None:
    base = f"{request.getfixturevalue(server)}/{uuid.uuid4().hex}"
    # As JPEG files end: the emulator of GCS drops a carriage return at the end of what it is given to store.
    contents = {f"{base}/{number}.jpg": os.urandom(20_000 + number) + b"\xff\xd9" for number in range(12)}
    faults = Faults(unavailable=0.08, reset=0.06, cut=0.06, slow=0.1, delay=0.05, seed=7)
    with through_faults(server, faults) as proxy:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(storage.write_bytes, contents, contents.values()))
            listed = [image.uri for image in list_images(base)]
            read = list(pool.map(lambda uri: storage.read_bytes(uri, 1 << 20), listed))
        assert listed == sorted(contents)
        assert dict(zip(listed, read, strict=True)) == contents
        assert len(proxy.done) >= 3


@pytest.mark.parametrize("server", SERVERS)
def test_what_is_gone_or_forbidden_is_not_asked_for_again(server: str, request: pytest.FixtureRequest) -> None:
    uri = f"{request.getfixturevalue(server)}/{uuid.uuid4().hex}/gone.jpg"
    with through_faults(server, Faults()) as proxy:
        with pytest.raises(ImageError) as caught:
            storage.read_bytes(uri, 100)
        assert caught.value.status is Status.MISSING
        assert [status for _, _, status in proxy.answers] == [404]
        proxy.answers.clear()
        proxy.faults = Faults(unavailable=1, status=403)
        with pytest.raises(ImageError) as caught:
            storage.read_bytes(uri, 100)
        assert caught.value.status is Status.UNREADABLE
        asked = [(method, path) for method, path, _ in proxy.answers]
        assert asked.count(asked[0]) == 1
        with pytest.raises(ConfigError, match="cannot list"):
            list(list_images(os.path.dirname(uri)))  # noqa: PTH120
        with pytest.raises(ConfigError, match="cannot write"):
            storage.ensure_writable(os.path.dirname(uri))  # noqa: PTH120


def test_a_store_that_stays_away_is_named(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transient, "TRIES", 2)
    with through_faults("s3_server", Faults(unavailable=1)), pytest.raises(ImageError) as caught:
        storage.read_bytes(f"{s3_server}/a.jpg", 100)
    assert caught.value.status is Status.UNREADABLE
    assert f"{s3_server}/a.jpg" in caught.value.message


def test_local_files_are_asked_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "persist", None)
    storage.write_bytes(f"{tmp_path}/a.jpg", b"x")
    assert storage.read_bytes(f"{tmp_path}/a.jpg", 10) == b"x"


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("https://me:hunter2@host/a.jpg", "https://***@host/a.jpg"),
        ("https://h/a.jpg?X-Amz-Signature=ab1&size=2", "https://h/a.jpg?X-Amz-Signature=***&size=2"),
        ("https://h/a.jpg?X-Goog-Credential=me%40x&w=1", "https://h/a.jpg?X-Goog-Credential=***&w=1"),
        ("cannot read https://h/a?sv=1&sig=abc: gone", "cannot read https://h/a?sv=1&sig=*** gone"),
        ("s3://b/sig=1/key=2.jpg", "s3://b/sig=1/key=2.jpg"),
        ("/photos/me:you@home/a.jpg?token=1", "/photos/me:you@home/a.jpg?token=1"),
    ],
)
def test_secrets_of_urls_are_never_shown(uri: str, shown: str) -> None:
    assert storage.printable_uri(uri) == shown


def test_secrets_of_parts_of_urls_are_not_shown_in_reasons() -> None:
    error = ConnectionError("no way to\n/a.jpg?X-Amz-Signature=abc (refused)")
    assert storage.reason_of(error) == "ConnectionError: no way to /a.jpg?X-Amz-Signature=*** (refused)"
