"""Start-up notices of libraries stay off the screen, but not when something fails."""

import logging
import os
import subprocess
import sys
import warnings

import pytest

from pipelines.runtime.quiet import drop_beam_notices, hold_back_stderr, keep_quiet


def test_native_notices_are_held_back(capfd: pytest.CaptureFixture[str]) -> None:
    with hold_back_stderr():
        os.write(2, b"a native notice\n")
    print("after", file=sys.stderr)
    assert capfd.readouterr().err == "after\n"


def test_notices_are_shown_when_the_block_fails(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError), hold_back_stderr():
        raise ZeroDivisionError(os.write(2, b"why it failed\n"))
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "why it failed\nafter\n"


def test_only_known_notices_are_dropped(caplog: pytest.LogCaptureFixture) -> None:
    root = logging.getLogger()
    before = list(root.filters)
    drop_beam_notices()
    try:
        root.warning("apitools not found or something")
        root.warning("Resource module is not available for current platform")
        root.warning("a real warning")
    finally:
        root.filters[:] = before
    assert [record.getMessage() for record in caplog.records] == ["a real warning"]


# Beam fits curves to the times of batches of varying sizes, and numpy warns of a poor fit. Here every fit is a poor
# one. The order of imports is the command's: numpy, which puts a filter of its own in front, comes after the notices.
FITS = """
import sys
from pipelines.cli import drop_beam_notices
drop_beam_notices()
assert "numpy" not in sys.modules
import apache_beam as beam
import numpy as np
from apache_beam.ml.inference.base import RunInference
from pipelines.inference import Q1NetHandler
from pipelines.runtime.local import run_pipeline
from pipelines.runtime.options import choose_engine
from apache_beam.options.pipeline_options import PipelineOptions
import warnings

fit = np.polyfit
def poor_fit(*arguments, **settings):
    warnings.warn("Polyfit may be poorly conditioned", np.exceptions.RankWarning, stacklevel=2)
    return fit(*arguments, **settings)
np.polyfit = poor_fit

class Model: pass
class Handler(Q1NetHandler):
    def load_model(self): return Model()
    def run_inference(self, batch, model, inference_args=None): return batch
    def get_num_bytes(self, batch): return 1

handler = Handler("unused", "unused")
options = PipelineOptions([])
choose_engine(options, 1)
run_pipeline(lambda root: root | beam.Create(range(60), reshuffle=False) | RunInference(handler),
             options, "rows", 60, "image", with_keras=False)
"""


def test_beam_fits_no_curves_to_the_times_of_batches() -> None:
    done = subprocess.run([sys.executable, "-c", FITS], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "RankWarning" not in done.stderr


def test_the_process_ends_with_its_status_and_everything_printed() -> None:
    code = (
        "import atexit, sys\n"
        "from pipelines.runtime.quiet import end_process\n"
        "class Left:\n"
        "    def __del__(self): print('an interpreter that is dismantled')\n"
        "left = Left()\n"
        "atexit.register(print, ', then the end')\n"
        "sys.stdout.write('kept')\n"
        "end_process(7)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (7, "kept, then the end\n", "")


def test_converters_are_silenced_unless_they_fail(capfd: pytest.CaptureFixture[str]) -> None:
    def talk() -> None:
        logging.getLogger("a.converter").warning("logged")
        warnings.warn("warned", UserWarning, stacklevel=1)
        os.write(2, b"written\n")

    with keep_quiet():
        talk()
    assert capfd.readouterr().err == ""
    with pytest.raises(ZeroDivisionError), keep_quiet():
        raise ZeroDivisionError(talk())
    assert capfd.readouterr().err == "written\n"
    assert logging.root.manager.disable == logging.NOTSET
