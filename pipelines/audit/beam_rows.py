"""AuditImages for Beam YAML, where every element is a row of named, typed fields."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.typehints.row_type import RowTypeConstraint

from pipelines.audit.table import AUDIT_SCHEMA, Row
from pipelines.audit.transform import AuditImages
from q1net_core.records import ListedImage


class AuditRows(beam.PTransform):
    """Rows with a uri -> rows with the columns of the audit table, times as text; exactly one for each.

    Args:
        uri: the field with the uri.
        group: the field with the group, if there is one.
        settings: as of AuditImages.

    Raises:
        ConfigError: at construction.
    """

    def __init__(self, *, uri: str = "uri", group: str | None = None, **settings: Any) -> None:
        super().__init__()
        self.uri, self.group = uri, group
        # JSON and YAML have lists where settings have tuples.
        plain: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()
        }
        self.audit = AuditImages(**plain)

    def expand(self, rows: beam.PCollection[Any]) -> beam.PCollection[Any]:
        """One output, in no order."""
        return (
            rows
            | "ToImage" >> beam.Map(to_image, self.uri, self.group)
            | "AuditImages" >> self.audit
            | "ToRow" >> beam.Map(to_beam_row).with_output_types(ROW)
        )


def to_image(row: Any, uri: str, group: str | None) -> ListedImage:
    """A row -> the image that its fields name."""
    return ListedImage(getattr(row, uri), group=getattr(row, group) if group else None)


def to_beam_row(row: Row) -> beam.Row:
    """A row of the audit table as Beam knows rows."""
    return beam.Row(
        **{name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}
    )


def type_of(kind: pa.DataType) -> Any:
    """The type of a column in a Beam row; every column may be null."""
    if pa.types.is_list(kind):
        return Sequence[int] | None
    if pa.types.is_integer(kind):
        return int | None
    if pa.types.is_floating(kind):
        return float | None
    return bool | None if pa.types.is_boolean(kind) else str | None


ROW = RowTypeConstraint.from_fields([(column.name, type_of(column.type)) for column in AUDIT_SCHEMA])
