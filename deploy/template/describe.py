"""Write metadata.json, the template's parameters, from the flags of the command.

python deploy/template/describe.py
"""

import json
from pathlib import Path

from pipelines.audit.config import make_parser
from pipelines.runtime.template import describe_command

FILE = Path(__file__).parent / "metadata.json"


def render() -> str:
    """The file's content."""
    return json.dumps(describe_command(make_parser()), indent=2) + "\n"


if __name__ == "__main__":
    FILE.write_text(render())
