"""What the launcher of the Flex Template runs: an audit with the template's parameters."""

import sys

from pipelines.audit.command import run
from pipelines.audit.config import make_parser
from pipelines.runtime.template import to_command_line

if __name__ == "__main__":
    sys.exit(run(to_command_line(make_parser(), sys.argv[1:])))
