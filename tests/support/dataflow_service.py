"""A Dataflow service on loopback: takes jobs over its REST API, and runs their staged graphs in this process."""

import contextlib
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import gcsfs
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability import python_urns
from apache_beam.portability.api import beam_runner_api_pb2

from pipelines.runtime.local import make_runner

JOB_ID = "2026-11-21_00_00_00-1"


@dataclass
class Service:
    """What a service was asked, and what became of it."""

    url: str
    requests: list[str] = field(default_factory=list)
    job: dict[str, Any] = field(default_factory=dict)
    state: str = "JOB_STATE_PENDING"
    error: BaseException | None = None

    @property
    def environment(self) -> dict[str, Any]:
        """The job's environment: worker pools, options, service account."""
        return dict(self.job["environment"])

    @property
    def options(self) -> dict[str, Any]:
        """The pipeline options that workers get."""
        return dict(self.environment["sdkPipelineOptions"]["options"])

    def read_graph(self) -> beam_runner_api_pb2.Pipeline:
        """The job's graph, as it was staged."""
        uri = self.options["pipelineUrl"]
        return beam_runner_api_pb2.Pipeline.FromString(gcsfs.GCSFileSystem().cat(uri))

    def work(self) -> None:
        """Run the job's graph as workers would, but in this process."""
        try:
            graph = self.read_graph()
            for environment in graph.components.environments.values():
                environment.urn, environment.payload = python_urns.EMBEDDED_PYTHON, b""
                del environment.dependencies[:]
            options = PipelineOptions(["--runner=FnApiRunner"])
            runner = make_runner(options)
            assert runner is not None
            runner.run_via_runner_api(graph, options).wait_until_finish()
            self.state = "JOB_STATE_DONE"
        except BaseException as error:
            self.state, self.error = "JOB_STATE_FAILED", error

    def answer(self, method: str, path: str, body: bytes) -> dict[str, Any] | None:
        """The JSON that answers a request; None for one that the service does not know."""
        self.requests.append(f"{method} {path}")
        if method == "POST" and re.fullmatch(r"/v1b3/projects/project/locations/europe-west4/jobs", path):
            self.job = json.loads(body)
            threading.Thread(target=self.work).start()
        elif not re.fullmatch(rf"/v1b3/projects/project/locations/europe-west4/jobs/{JOB_ID}(/\w+)?", path):
            return None
        if path.endswith(("/messages", "/metrics")):
            return {}
        return {"id": JOB_ID, "name": self.job["name"], "currentState": self.state}


class Handler(BaseHTTPRequestHandler):
    """Hands requests to the service."""

    def do_GET(self) -> None:
        self.respond(b"")

    def do_POST(self) -> None:
        self.respond(self.rfile.read(int(self.headers["Content-Length"])))

    def respond(self, body: bytes) -> None:
        answer = self.server.service.answer(self.command, self.path.partition("?")[0], body)  # type: ignore[attr-defined]
        content = json.dumps(answer or {}).encode()
        self.send_response(404 if answer is None else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextlib.contextmanager
def serve_dataflow() -> Iterator[Service]:
    """The service, while it runs; Beam speaks REST to it because its host is called localhost."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        service = Service(f"http://localhost:{server.server_port}")
        server.service = service  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield service
        finally:
            server.shutdown()
            thread.join()
