"""A pool of Python workers for several task managers on one machine: `python shared_worker_pool.py PORT`.

Every task manager numbers its workers from one. Beam's pool knows a worker by its number alone, and would stop that of
another task manager. Here workers are not stopped: they end when their task manager closes its connection.
"""

import sys

from apache_beam.portability.api import beam_fn_api_pb2
from apache_beam.runners.worker.worker_pool_main import BeamFnExternalWorkerPoolServicer


class SharedWorkerPool(BeamFnExternalWorkerPoolServicer):
    def StopWorker(
        self, stop_worker_request: beam_fn_api_pb2.StopWorkerRequest, unused_context: object
    ) -> beam_fn_api_pb2.StopWorkerResponse:
        return beam_fn_api_pb2.StopWorkerResponse()


if __name__ == "__main__":
    _, server = SharedWorkerPool.start(use_process=True, port=int(sys.argv[1]))
    server.wait_for_termination()
