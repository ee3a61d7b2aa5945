"""The audit table as BigQuery creates it: `python -m pipelines.audit.bigquery DATASET.TABLE` prints the statement."""

import sys

import pyarrow as pa

from pipelines.audit.table import AUDIT_SCHEMA


def type_of(kind: pa.DataType) -> str:
    """BigQuery's name of an Arrow type; raises KeyError for types that the audit table does not have."""
    if pa.types.is_list(kind):
        return f"ARRAY<{type_of(kind.value_type)}>"
    if pa.types.is_integer(kind):
        return "INT64"
    if pa.types.is_timestamp(kind):
        return "TIMESTAMP"
    return {pa.string(): "STRING", pa.float32(): "FLOAT64", pa.bool_(): "BOOL"}[kind]


def render_ddl(table: str) -> str:
    """The statement that creates ``table``, partitioned by day and clustered by group and verdict."""
    columns = [
        f"  `{field.name}` {type_of(field.type)}{'' if field.nullable else ' NOT NULL'}" for field in AUDIT_SCHEMA
    ]
    return "\n".join(
        [
            f"CREATE TABLE IF NOT EXISTS `{table}` (",
            ",\n".join(columns),
            ")",
            "PARTITION BY DATE(`processed_at`)",
            "CLUSTER BY `group`, `verdict`;",
        ]
    )


if __name__ == "__main__":
    print(render_ddl(sys.argv[1]))
