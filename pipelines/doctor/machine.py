"""Whether the engine answers, the accelerator is seen, memory of disks is left and the clock is right."""

import os
import shutil
import socket
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions, StandardOptions
from apache_beam.transforms.resources import parse_resource_hints

import pipelines
from pipelines.doctor.finding import Finding, fail, ok, warn
from pipelines.runtime.dataflow import inference_hints
from pipelines.runtime.options import describe_engine, is_local
from pipelines.runtime.quiet import start_quietly
from q1net_core.errors import ConfigError

SECONDS_TO_CONNECT = 5.0
DISK_NEEDED, DISK_WANTED = 1e9, 10e9
# Stores refuse signed requests that are older than a quarter of an hour, Google's tokens those of five minutes.
SECONDS_OFF, SECONDS_WRONG = 30, 300
BACKENDS = ("tensorflow", "jax")


def check_engine(options: PipelineOptions) -> Finding:
    """The engine that the flags name; a job service must answer."""
    engine = describe_engine(options)
    endpoint = options.view_as(PortableOptions).job_endpoint
    if options.view_as(StandardOptions).runner != "PortableRunner":
        return ok("engine", engine)
    host, _, port = (endpoint or "").rpartition(":")
    if not port.isdigit():
        return fail("engine", f"--job_endpoint is {endpoint}", "expected HOST:PORT of a Beam job service")
    try:
        socket.create_connection((host, int(port)), SECONDS_TO_CONNECT).close()
    except OSError as error:
        return fail("engine", f"no job service answers at {endpoint}: {error}", "start it, or mend --job_endpoint")
    return ok("engine", f"{engine}, a service answers at {endpoint}")


def check_hints(accelerator: str | None, ram: str | None, options: PipelineOptions) -> Finding:
    """The hints of the inference step, and those of Beam's own flag, can be read."""
    try:
        hints = inference_hints(accelerator, ram)
        given = options.get_all_options()["resource_hints"] or []
        parse_resource_hints(dict(hint.split("=", 1) for hint in given))
    except (ConfigError, ValueError) as error:
        return fail("hints", str(error), "see docs/dataflow.md")
    return ok("hints", "; ".join([*(f"{name}={value}" for name, value in hints.items()), *given]) or "none")


def check_accelerator(wanted: str | None, options: PipelineOptions) -> Finding:
    """What the backend of Keras sees here; with an engine elsewhere it is the workers that matter."""
    name = os.environ.get("KERAS_BACKEND") or "tensorflow"
    if name not in BACKENDS:
        return fail("accelerator", f"KERAS_BACKEND is {name!r}", f"expected {' or '.join(BACKENDS)}")
    start_quietly()
    import keras

    backend = keras.backend.backend()
    if backend not in BACKENDS:
        return fail("accelerator", f"Keras's backend is {backend!r}", f"set KERAS_BACKEND to {' or '.join(BACKENDS)}")
    devices = keras.distribution.list_devices()
    seen = [device for device in devices if not device.startswith("cpu")]
    if seen:
        return ok("accelerator", f"Keras on {backend} sees {', '.join(seen)}")
    found = f"Keras on {backend} sees no accelerator"
    if Path("/dev/nvidia0").exists():
        return warn("accelerator", f"{found}, but this machine has one", "pip install 'tensorflow[and-cuda]'")
    if wanted and is_local(options):
        return warn(
            "accelerator", f"{found}, but --accelerator is {wanted}", "leave it out here: CPUs want small batches"
        )
    return ok("accelerator", f"{found}; the networks run on the CPU" if is_local(options) else f"{found} here")


def check_disk(folder: str | None = None) -> Finding:
    """There is room for temporary files."""
    folder = folder or tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    found = f"{free / 1e9:.1f} GB free in {folder}"
    if free < DISK_NEEDED:
        return fail("disk", found, f"free {DISK_NEEDED / 1e9:g} GB, or set TMPDIR to a folder with room")
    if free < DISK_WANTED:
        return warn("disk", found, "`q1net shards` may need more; free some, or set TMPDIR to a folder with room")
    return ok("disk", found)


def check_clock(now: datetime, stored: datetime | None = None) -> Finding:
    """The clock agrees with that of a store, or at least is not behind the installed package."""
    # A file that was just stored carries the time of its store.
    if stored:
        off = (now - stored).total_seconds()
        found = f"this clock is {abs(off):.0f} s {'ahead of' if off > 0 else 'behind'} the store's"
        mend = "let the system set the time (NTP)"
        if abs(off) > SECONDS_WRONG:
            return fail("clock", found, f"stores refuse such requests: {mend}")
        return warn("clock", found, mend) if abs(off) > SECONDS_OFF else ok("clock", found)
    installed = datetime.fromtimestamp(Path(pipelines.__file__).stat().st_mtime, UTC)
    if (installed - now).total_seconds() > SECONDS_WRONG:
        return fail("clock", f"{now:%Y-%m-%d %H:%M} UTC is before q1net was installed", "set the time")
    return ok("clock", f"{now:%Y-%m-%d %H:%M} UTC")
