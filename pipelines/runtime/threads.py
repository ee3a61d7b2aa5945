"""Threads that libraries start on their own."""

import os


def keep_to_one_thread() -> None:
    """Let numpy's matrix products run in the thread that asks for them; call it before numpy is imported.

    OpenBLAS starts a thread for each core and lets them wait in a loop: an audit in one process on two cores took twice
    the CPU time, and was no faster. Work is divided by images instead. A value that the user has set is kept.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
