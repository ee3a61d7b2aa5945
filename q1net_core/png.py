"""A matplotlib figure -> PNG bytes, for training and pipelines alike.

Layer: standard library only; matplotlib comes with the figure.
"""

from io import BytesIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def to_png(figure: "Figure") -> bytes:
    """The figure at its own resolution. The same figure gives the same bytes.

    A ``Figure`` made without pyplot has no global state: any thread may draw it, and no display is needed.
    """
    buffer = BytesIO()
    # Without the version of matplotlib in the file.
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
