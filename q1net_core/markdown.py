"""Tables in Markdown, for training and pipelines alike.

Layer: tabulate only.
"""

from collections.abc import Sequence

from tabulate import tabulate


def to_markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of finished cells, its columns aligned; cells stay as they are, whatever number they look like.

    >>> print(to_markdown(("level", "MAE"), [("50", "0.10")]))
    | level   | MAE   |
    |---------|-------|
    | 50      | 0.10  |
    """
    return tabulate(rows, header, tablefmt="github", disable_numparse=True)
