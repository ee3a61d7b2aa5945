"""With this folder on PYTHONPATH every process, workers among them, writes a piece for every ten rows."""

from pipelines.audit import pieces

pieces.ROWS_PER_PIECE = 10
