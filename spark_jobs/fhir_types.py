"""Silver's types: a resource tree as Arrow's, DuckDB's and Spark's, and the lake's own columns.

FHIR decimals are DECIMAL(38,18); dates and times stay text, since FHIR allows partial ones.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.sql.types import StructType

from cohortlake.core.catalog.resource import Node
from cohortlake.core.fhir.intervals import dated, intervals, intervals_type

DECIMAL = pa.decimal128(38, 18)
ARROW = {
    "boolean": pa.bool_(),
    "integer": pa.int32(),
    "positiveInt": pa.int32(),
    "unsignedInt": pa.int32(),
    "decimal": DECIMAL,
}
DUCKDB = {
    "boolean": "BOOLEAN",
    "integer": "INTEGER",
    "positiveInt": "INTEGER",
    "unsignedInt": "INTEGER",
    "decimal": "DECIMAL(38,18)",
}


def list_of(inner: pa.DataType) -> pa.ListType:
    """A list whose items are called as Parquet has them, so that a file's paths are the same whoever writes it."""
    return pa.list_(pa.field("element", inner))


UNMAPPED = list_of(pa.struct([("map", pa.string()), ("code", pa.string())]))
# Every silver row carries which version of the record it is, where it came from, the codes that no map knew, and what
# its columns do not hold: JSON text of an object with those root elements, or null (see core/readers/fhir_json.py).
# After these stands `_intervals`: what the dates among its root elements may mean (see core/fhir/intervals.py).
LAKE_FIELDS = [
    pa.field("_version", pa.string()),
    pa.field("_file_hash", pa.string()),
    pa.field("_offset", pa.int64()),
    pa.field("_unmapped", UNMAPPED),
    pa.field("_rest", pa.string()),
]
INTERVALS = "_intervals"
LAKE_COLUMNS = [*(field.name for field in LAKE_FIELDS), INTERVALS]
PARTITION = "silo"


def arrow_type(node: Node) -> pa.DataType:
    """The Arrow type of an element, a list type where it repeats."""
    if node.children:
        inner = pa.struct([pa.field(child.name, arrow_type(child)) for child in node.children.values()])
    else:
        inner = ARROW.get(node.type, pa.string())
    return list_of(inner) if node.is_list else inner


def duckdb_type(node: Node) -> str:
    """The DuckDB type of an element."""
    if node.children:
        inner = "STRUCT(" + ", ".join(f'"{child.name}" {duckdb_type(child)}' for child in node.children.values()) + ")"
    else:
        inner = DUCKDB.get(node.type, "VARCHAR")
    return f"{inner}[]" if node.is_list else inner


def fhir_schema(tree: Node) -> pa.Schema:
    """The resource's own columns, as Arrow."""
    return pa.schema([pa.field(child.name, arrow_type(child)) for child in tree.children.values()])


def silver_schema(tree: Node) -> pa.Schema:
    """A silver table's columns: the resource's, the lake's, and the partition."""
    return pa.schema([*part_schema(tree), pa.field(PARTITION, pa.string())])


def part_schema(tree: Node) -> pa.Schema:
    """The columns of a silver table's files."""
    moments = [pa.field(INTERVALS, intervals_type(tree))] if dated(tree) else []
    return pa.schema([*fhir_schema(tree), *LAKE_FIELDS, *moments])


def with_intervals(tree: Node, rows: pa.Table) -> pa.Table:
    """A part's rows, with the moments that their dates may mean."""
    schema = part_schema(tree)
    if not dated(tree):
        return rows.select(schema.names).cast(schema)
    # Batch by batch: a struct that is cut later cannot be written (arrow-rs 59 refuses one with an offset).
    moments = [intervals(tree, batch) for batch in rows.to_batches()]
    made = rows.append_column(INTERVALS, pa.chunked_array(moments, intervals_type(tree)))
    return made.select(schema.names).cast(schema)


def spark_schema(tree: Node) -> StructType:
    """The resource's own columns, as Spark's."""
    return from_arrow_schema(fhir_schema(tree))


COLUMN_TYPES = {
    "STRING": pa.string(),
    "BOOLEAN": pa.bool_(),
    "INT": pa.int32(),
    "BIGINT": pa.int64(),
    "DOUBLE": pa.float64(),
    "DECIMAL(18,2)": pa.decimal128(18, 2),
    "DATE": pa.date32(),
    "TIMESTAMP": pa.timestamp("us", tz="UTC"),
}


def table_schema(columns: Mapping[str, str]) -> pa.Schema:
    """A curated table's columns, from their declared SQL types."""
    return pa.schema([pa.field(name, COLUMN_TYPES[kind]) for name, kind in columns.items()])
