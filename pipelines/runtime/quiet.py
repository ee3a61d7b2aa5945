"""Keep start-up notices of libraries off the screen, where people read results."""

import atexit
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

# For every command: show what libraries log, and tracebacks.
VERBOSE = "--verbose"


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
            # Ctrl-C and sys.exit too: whatever ends the block, what it had to say is shown, and the end goes on.
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


@contextmanager
def keep_quiet() -> Iterator[None]:
    """Hold back what converters and their runtimes log, warn and write; shown only if the block fails.

    They use loggers of many names and create some while they work: only the switch for all of them reaches those.
    """
    disabled = logging.root.manager.disable
    with warnings.catch_warnings(), hold_back_stderr():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(disabled)


# Beam's, of clients without its Google Cloud extra, and of memory it could not measure around a model's loading.
NOTICES = ("apitools not found", "Resource module is not available")


def drop_beam_notices() -> None:
    """Drop two notices of Beam that no user can act on; it logs them with the root logger, whose filter this is."""
    logging.getLogger().addFilter(lambda record: not any(notice in str(record.msg) for notice in NOTICES))


# Clients of stores log what they also raise, with tracebacks of pages.
CLIENTS = ("aiobotocore", "aiohttp", "asyncio", "botocore", "fsspec", "gcsfs", "google", "s3fs", "urllib3")


def silence_clients() -> None:
    """Keep off the screen what clients of stores log and warn: what failed is said in one line by whoever asked."""
    for name in CLIENTS:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        warnings.filterwarnings("ignore", module=rf"{name}\b")


def describe_failure(error: BaseException) -> str:
    """What an error says last, without the traceback that an engine puts into its message."""
    lines = [line.strip() for line in str(error).splitlines()]
    told = [line for line in lines if line and not line.startswith("[while running")]
    return told[-1] if told else type(error).__name__


def end_process(status: int) -> NoReturn:
    """End this process at once, after what was registered with atexit; its results must be on disk.

    At a normal end, idle daemon threads of Beam and of native libraries meet a dismantled interpreter, and now and then
    one of them aborts the process after its work is done.
    """
    # Beam ends job servers that it started in such callbacks: they would outlive this process. Python calls them by
    # this name too.
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
