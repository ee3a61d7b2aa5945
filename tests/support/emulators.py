"""Real object stores over loopback: the fixtures ``s3_server`` and ``gcs_server``, each the URL of an empty bucket.

They set environment variables for the rest of the session, so that subprocesses find the same stores.
"""

import contextlib
import json
import os
import sys
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import fsspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from faulty_proxy import Faults, Proxy, faulty_proxy
from servers import free_port, running

BUCKET = "q1net-test"
# What names a store's address, by the fixture that starts it, and the protocol of its uris.
ADDRESSES = {"s3_server": ("AWS_ENDPOINT_URL", "s3"), "gcs_server": ("STORAGE_EMULATOR_HOST", "gs")}


def pytest_configure(config: pytest.Config) -> None:
    # Read when gcsfs is imported: without it, every gs:// path first waits for a service that no emulator has.
    os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An S3 store with one bucket: ``s3://q1net-test``."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with running(command, port, tmp_path_factory.mktemp("s3")) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", server.url)
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        _request(f"{server.url}/{BUCKET}", method="PUT")
        yield f"s3://{BUCKET}"


@pytest.fixture(scope="session")
def gcs_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Google Cloud Storage store with one bucket: ``gs://q1net-test``."""
    port = free_port()
    folder = tmp_path_factory.mktemp("gcs")
    command = [sys.executable, "-m", "gcp_storage_emulator", "start", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--in-memory", "--quiet", "--default-bucket", BUCKET]
    with (
        running(command, port, folder) as server,
        _token_server() as token_uri,
        pytest.MonkeyPatch.context() as patch,
    ):
        credentials = folder / "credentials.json"
        credentials.write_text(json.dumps(_service_account(token_uri)))
        patch.setenv("STORAGE_EMULATOR_HOST", server.url)
        patch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(credentials))
        patch.setenv("GOOGLE_CLOUD_PROJECT", "test")
        yield f"gs://{BUCKET}"


@contextlib.contextmanager
def through_faults(server: str, faults: Faults) -> Iterator[Proxy]:
    """Send what goes to the store of a fixture through a proxy that injects faults, while this lasts."""
    variable, protocol = ADDRESSES[server]
    kind = fsspec.get_filesystem_class(protocol)
    with faulty_proxy(os.environ[variable], faults) as proxy, pytest.MonkeyPatch.context() as patch:
        patch.setenv(variable, proxy.url)
        kind.clear_instance_cache()
        try:
            yield proxy
        finally:
            kind.clear_instance_cache()


def _request(url: str, method: str = "GET") -> None:
    with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=10):
        pass


class _TokenHandler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = json.dumps({"access_token": "test", "expires_in": 3600, "token_type": "Bearer"}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextlib.contextmanager
def _token_server() -> Iterator[str]:
    # Google's libraries look for a metadata server for 20 seconds unless they can get a token somewhere.
    server = HTTPServer(("127.0.0.1", 0), _TokenHandler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/token"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _service_account(token_uri: str) -> dict[str, str]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {
        "type": "service_account",
        "project_id": "test",
        "private_key_id": "test",
        "private_key": key.decode(),
        "client_email": "test@test.iam.gserviceaccount.com",
        "client_id": "1",
        "token_uri": token_uri,
    }
