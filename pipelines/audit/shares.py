"""An audit on this machine alone: processes take turns at the inputs and keep rows in pieces of the run.

A share is one pipeline in one process. It takes inputs as it goes, so that nothing of an image is left once its row is
written.
"""

import sys
from functools import partial, reduce
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from pipelines.audit.transform import estimate_to_pieces
from pipelines.inputs import take_turns
from pipelines.runtime import counters
from pipelines.runtime.local import make_runner, run_job
from pipelines.runtime.processes import begin_turns, next_turn, run_processes
from pipelines.runtime.progress import show_progress
from pipelines.transforms import READS_AHEAD, EstimateRoutes

# A process takes seconds to start: below so many images for each, threads of one process are sooner done.
IMAGES_PER_PROCESS = 50
# Turns that each process has at least, so that all end at nearly the same time.
TURNS = 8


def take_share(_: None, input_files: list[str], size: int) -> Any:
    """The batches of inputs that this process gets."""
    return take_turns(input_files, size, next_turn)


def build_share(root: beam.Pipeline, estimate: EstimateRoutes, input_files: list[str], size: int, run_uri: str) -> None:
    """The pipeline of one process: inputs -> pieces of the run."""
    batches = (
        root | "Once" >> beam.Create([None], reshuffle=False) | "Take" >> beam.FlatMap(take_share, input_files, size)
    )
    estimate_to_pieces(batches, estimate, run_uri)


def run_share(
    options: dict[str, Any], estimate: EstimateRoutes, input_files: list[str], size: int, run_uri: str
) -> dict[str, Any]:
    """Work in this process until no input is left; returns what it counted.

    Raises:
        RuntimeError: whatever made the pipeline fail, in a form that every process can be told.
    """
    build = partial(build_share, estimate=estimate, input_files=input_files, size=size, run_uri=run_uri)
    local = PipelineOptions.from_dictionary(options)
    try:
        return run_job(build, local, make_runner(local))
    except Exception as error:
        # Whatever it is: an error of a class that cannot be pickled would reach the waiting process as another one.
        raise RuntimeError(str(error)) from error


def estimate_in_shares(
    estimate: EstimateRoutes,
    options: PipelineOptions,
    processes: int,
    input_files: list[str],
    images: int,
    run_uri: str,
) -> dict[str, Any]:
    """Estimate all images in so many processes, this one if it is the only one; their rows become pieces of the run.

    Returns:
        what all of them have counted.

    Raises:
        RuntimeError: a process failed or was killed.
    """
    print(f"engine: FnApiRunner in {processes} process{'es' if processes > 1 else ''} of this machine", file=sys.stderr)
    alone = options.get_all_options(drop_default=True) | {"direct_num_workers": 1, "direct_running_mode": "in_memory"}
    size = min(READS_AHEAD, max(1, images // (TURNS * processes)))
    arguments = alone, estimate, input_files, size, run_uri
    with show_progress("rows", images, "image"):
        if processes == 1:
            begin_turns()
            counted = run_share(*arguments)
        else:
            counted = reduce(counters.add_totals, run_processes(run_share, arguments, processes, "rows"))
    print(f"counted: {counters.render_totals(counted)}", file=sys.stderr)
    return counted
