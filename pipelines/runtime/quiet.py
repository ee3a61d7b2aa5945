"""Keep start-up notices of libraries off the screen, where people read results."""

import logging
import os
import sys
import tempfile
import warnings
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


# Beam's, of clients without its Google Cloud extra, and of memory it could not measure around a model's loading.
NOTICES = ("apitools not found", "Resource module is not available")


def drop_beam_notices() -> None:
    """Beam warns of clients that nobody asked for, and of curves that it fits to the times of its batches."""
    logging.getLogger().addFilter(lambda record: not any(notice in str(record.msg) for notice in NOTICES))
    warnings.filterwarnings("ignore", module=r"apache_beam\.transforms\.util")
