"""Keep start-up notices of libraries off the screen, where people read results."""

import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def hold_back_stderr() -> Iterator[None]:
    """Keep what native libraries write to file descriptor 2; shown only if the block fails."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(kept, held.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def start_quietly() -> None:
    """Import TensorFlow before anything is printed: its start-up notices (no GPU, CPU features) are not the command's.

    It writes them natively, past every logging setting.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with hold_back_stderr():
        import keras

        keras.ops.zeros(1)


def drop_import_notices() -> None:
    """Without its Google Cloud extra, Beam warns at import of clients that nobody asked for."""
    logging.getLogger().addFilter(lambda record: "apitools not found" not in str(record.msg))
