"""The Flex Template's parameters are the flags that the command has today."""

import runpy
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "deploy/template"


def test_the_committed_file_is_current() -> None:
    made = runpy.run_path(str(FOLDER / "describe.py"))["render"]()
    assert (FOLDER / "metadata.json").read_text() == made, "run: python deploy/template/describe.py"
