"""Groups of images by their uris: `--group`."""

import re
from dataclasses import replace

from q1net_core import storage
from q1net_core.errors import ConfigError
from q1net_core.records import ListedImage


def group_by(pattern: str) -> re.Pattern[str]:
    """A checked ``--group`` expression; raises ConfigError unless it is valid and captures something."""
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"--group is {pattern!r}, not a regular expression: {error}") from error
    if not expression.groups:
        raise ConfigError(f"--group is {pattern!r}; expected a capture, for example 'photos/([^/]+)/'")
    return expression


def assign_group(image: ListedImage, expression: re.Pattern[str]) -> ListedImage:
    """The image with the first capture on its uri as its group, or without group."""
    found = expression.search(storage.printable_uri(image.uri))
    return replace(image, group=found[1] if found else None)
