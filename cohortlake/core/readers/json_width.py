"""A schema narrowed to the elements that come, and batches of it made as wide as the whole again.

A FHIR type has hundreds of elements, of which a hospital fills a few dozen; a reader pays for each in every row.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pyarrow as pa

# Elements by name, each with those within it.
Names = dict[str, "Names"]


def note(values: pa.Array, name: str, came: Names) -> None:
    """Note an element, and those within it, that have a value in some row."""
    if values.null_count == len(values):
        return
    within = came.setdefault(name, {})
    while pa.types.is_list(values.type):
        values = values.flatten()
    if pa.types.is_struct(values.type):
        for index in range(values.type.num_fields):
            note(values.field(index), values.type.field(index).name, within)


def only(fields: Iterable[pa.Field], came: Names) -> list[pa.Field]:
    """The fields that came, each with those within it that did."""

    def of(kind: pa.DataType, within: Names) -> pa.DataType:
        if pa.types.is_list(kind):
            return pa.list_(pa.field(kind.value_field.name, of(kind.value_type, within)))
        return pa.struct(only(kind, within)) if pa.types.is_struct(kind) and within else kind

    return [pa.field(field.name, of(field.type, came[field.name])) for field in fields if field.name in came]


def widened(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """A batch with nulls for the elements of the schema that it lacks."""

    def of(values: pa.Array, kind: pa.DataType) -> pa.Array:
        if values.type == kind:
            return values
        if values.offset:
            values = pa.concat_arrays([values])
        if pa.types.is_list(kind):
            return made(values, kind, values.buffers()[:2], [of(values.values, kind.value_type)])
        has = {field.name: index for index, field in enumerate(values.type)}
        children = [
            of(values.field(has[field.name]), field.type) if field.name in has else pa.nulls(len(values), field.type)
            for field in kind
        ]
        return made(values, kind, values.buffers()[:1], children)

    def made(values: pa.Array, kind: pa.DataType, buffers: list[Any], children: list[pa.Array]) -> pa.Array:
        return pa.Array.from_buffers(kind, len(values), buffers, values.null_count, children=children)

    has = set(batch.schema.names)
    columns = [
        of(batch[field.name], field.type) if field.name in has else pa.nulls(batch.num_rows, field.type)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)
