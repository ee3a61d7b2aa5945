"""Whether a store can be written, listed, read and deleted in, by the very functions that runs use."""

import time
import uuid
from datetime import datetime

from pipelines.doctor.finding import Finding, fail, ok
from q1net_core import listing, storage
from q1net_core.errors import Q1NetError

MEND = "grant this process rights to create, list, read and delete there, or name another folder; docs/doctor.md"


def check_store(uri: str) -> tuple[Finding, datetime | None]:
    """A file's round trip in a folder, and the time at which the store says that it was written."""
    probe = storage.join(uri, f".q1net-doctor-{uuid.uuid4().hex}", "probe.png")
    shown, content, start = storage.printable_uri(uri), uuid.uuid4().bytes, time.perf_counter()
    step = "write to"
    try:
        storage.write_bytes(probe, content)
        step = "list"
        (listed,) = listing.list_images(probe)
        step = "read from"
        if storage.read_bytes(probe, len(content)) != content:
            raise OSError("other bytes came back than were written")
        step = "delete in"
        storage.remove(probe.rpartition("/")[0])
        if storage.exists(probe):
            raise OSError("the file is still there")
    except (Q1NetError, OSError, ValueError) as error:
        return fail("storage", f"cannot {step} {shown}: {storage.reason_of(error)}", MEND), None
    seconds = time.perf_counter() - start
    return ok("storage", f"{shown}: written, listed, read and deleted in {seconds:.2f} s"), listed.modified
