"""An Apache Flink cluster on this machine: a job manager, two task managers, and Beam's job server in front of them."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from cluster import worker_pool
from servers import free_port, running

# Packages of Java 17 that Flink reaches into.
OPENED = (
    *("java.lang", "java.lang.invoke", "java.lang.reflect", "java.net", "java.nio", "java.io", "java.text"),
    *("java.time", "java.util", "java.util.concurrent", "java.util.concurrent.atomic", "sun.nio.ch"),
)
# Else Beam starts new workers for every stage of a job.
KEEP_WORKERS = "--environment_cache_millis=60000"
# Seconds that Beam waits for the job server.
PATIENCE = "--job_server_timeout=300"
TASK_MANAGERS = ("one", "two")
SLOTS = 2
# Flink's own scripts work out the sizes of a task manager's memory; without them all must be given.
CONFIGURATION = {
    "jobmanager.rpc.address": "localhost",
    "jobmanager.bind-host": "localhost",
    "rest.address": "localhost",
    "rest.bind-address": "localhost",
    "taskmanager.host": "localhost",
    "taskmanager.bind-host": "localhost",
    "taskmanager.numberOfTaskSlots": SLOTS,
    "taskmanager.cpu.cores": SLOTS,
    "taskmanager.memory.framework.heap.size": "64m",
    "taskmanager.memory.framework.off-heap.size": "64m",
    "taskmanager.memory.task.heap.size": "256m",
    "taskmanager.memory.task.off-heap.size": "0m",
    "taskmanager.memory.network.min": "256m",
    "taskmanager.memory.network.max": "256m",
    "taskmanager.memory.managed.size": "128m",
    "taskmanager.memory.jvm-metaspace.size": "128m",
    "taskmanager.memory.jvm-overhead.min": "64m",
    "taskmanager.memory.jvm-overhead.max": "64m",
    # A job of two at a time uses both task managers, and fits into one of them.
    "cluster.evenly-spread-out-slots": "true",
    # Restarts go to a killed task manager too, in vain, until the job manager knows that it is gone.
    "restart-strategy.type": "fixed-delay",
    "restart-strategy.fixed-delay.attempts": 30,
    "restart-strategy.fixed-delay.delay": "1s",
    # A killed process refuses the next heartbeats; one that is only slow has a minute to answer.
    "heartbeat.interval": 1000,
    "heartbeat.timeout": 60_000,
    "pekko.ask.timeout": "60s",
    # Everything runs on one class path.
    "classloader.resolve-order": "parent-first",
}


@dataclass(frozen=True, slots=True)
class Flink:
    """Flags that send a pipeline to the cluster, its address, and the processes of its task managers by their name."""

    flags: tuple[str, ...]
    url: str
    task_managers: dict[str, int]

    def ask(self, path: str) -> Any:
        """What the job manager answers, JSON."""
        with urlopen(f"{self.url}/{path}", timeout=60) as response:
            return json.load(response)

    def running_job(self) -> str:
        """The one job that runs at this moment."""
        (job,) = [job["jid"] for job in self.ask("jobs/overview")["jobs"] if job["state"] == "RUNNING"]
        return str(job)

    def running_tasks(self, job: str) -> Counter[str]:
        """How many tasks of a job run on each task manager."""
        tasks: Counter[str] = Counter()
        for vertex in self.ask(f"jobs/{job}")["vertices"]:
            for manager in self.ask(f"jobs/{job}/vertices/{vertex['id']}/taskmanagers")["taskmanagers"]:
                tasks[manager["taskmanager-id"]] += manager["status-counts"]["RUNNING"]
        return tasks

    def failures(self, job: str) -> list[str]:
        """What made Flink restart parts of a job."""
        return [entry["exceptionName"] for entry in self.ask(f"jobs/{job}/exceptions")["exceptionHistory"]["entries"]]


@contextmanager
def start_flink(jars: Path, folder: Path) -> Iterator[Flink]:
    """A cluster of the jars in a folder, with a pool of Python workers; logs go to the other folder."""
    rpc, rest, jobs = free_port(), free_port(), free_port()
    configuration = CONFIGURATION | {"jobmanager.rpc.port": rpc, "rest.port": rest, "io.tmp.dirs": folder}
    (folder / "flink-conf.yaml").write_text("".join(f"{key}: {value}\n" for key, value in configuration.items()))
    java = ["java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx400m", "-cp", f"{jars}/*"]
    java += [f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in OPENED]
    with ExitStack() as stack:
        start = stack.enter_context
        runtime = "org.apache.flink.runtime"
        settings = f"--configDir={folder}"
        job_manager = [f"{runtime}.entrypoint.StandaloneSessionClusterEntrypoint", settings]
        start(running([*java, *job_manager], rest, folder))
        task_managers = {}
        for name in TASK_MANAGERS:
            port = free_port()
            task_manager = [f"{runtime}.taskexecutor.TaskManagerRunner", settings]
            own = [f"-Dtaskmanager.resource-id={name}", f"-Dtaskmanager.data.port={port}"]
            task_managers[name] = start(running([*java, *task_manager, *own], port, folder)).pid
        job_server = ["org.apache.beam.runners.flink.FlinkJobServerDriver", "--job-host=localhost"]
        ports = [f"--job-port={jobs}", "--artifact-port=0", "--expansion-port=0"]
        folders = [f"--flink-conf-dir={folder}", f"--artifacts-dir={folder}"]
        start(running([*java, *job_server, f"--flink-master=localhost:{rest}", *ports, *folders], jobs, folder))
        workers, _ = start(worker_pool(folder, shared=True))
        flags = (
            "--runner=FlinkRunner",
            f"--job_endpoint=localhost:{jobs}",
            f"--parallelism={SLOTS}",
            KEEP_WORKERS,
            PATIENCE,
            *workers,
        )
        flink = Flink(flags, f"http://localhost:{rest}", task_managers)
        await_task_managers(flink)
        yield flink


def await_task_managers(flink: Flink) -> None:
    """Wait until all have registered: a job that starts before would use the first alone."""
    deadline = time.monotonic() + 180
    while flink.ask("overview")["taskmanagers"] < len(flink.task_managers):
        if time.monotonic() > deadline:
            raise TimeoutError("the task managers did not register with the job manager")
        time.sleep(0.2)
