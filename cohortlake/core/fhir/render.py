"""Typed columns back to FHIR JSON: one text a row, columns at a time.

With the text of what the columns do not hold (`cohortlake.core.readers.fhir_json`), a record that came in as FHIR comes
out as it was written, but for the order of its elements.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from cohortlake.core.readers.json_exact import elements


def resources(resource_type: str, rows: pa.Table, rest: pa.Array | None = None) -> pa.Array:
    """Each row's resource as JSON text; a column is an element, and null is none.

    `rest` has, a row each, the JSON text of an object whose elements replace those of the columns, or null.
    """
    parts = {column: _element(column, _text(rows[column].combine_chunks())) for column in rows.column_names}
    parts |= {"": _rest_of(rest, parts)} if rest is not None and rest.null_count < len(rest) else {}
    kind = pa.scalar(f'"resourceType":{json.dumps(resource_type)}')
    return _joined([pa.repeat(kind, rows.num_rows), *parts.values()])


def _rest_of(rest: pa.Array, parts: dict[str, pa.Array]) -> pa.Array:
    """The rests' elements as text; a column gives way where a rest has its element."""
    replaced: dict[str, list[int]] = {}
    for row in pc.indices_nonzero(rest.is_valid()).to_pylist():
        for name in elements(rest[row].as_py()):
            if name in parts:
                replaced.setdefault(name, []).append(row)
    for name, rows in replaced.items():
        gone = pa.array([False] * len(rest)).to_numpy(zero_copy_only=False)
        gone[rows] = True
        parts[name] = pc.if_else(pa.array(gone), pa.scalar(None, pa.string()), parts[name])
    inner = pc.utf8_slice_codeunits(rest, 1, -1)
    return pc.if_else(pc.equal(inner, ""), pa.scalar(None, pa.string()), inner)


def _element(name: str, text: pa.Array) -> pa.Array:
    return pc.binary_join_element_wise(pa.scalar(f"{json.dumps(name)}:"), text, "")


def _joined(parts: Sequence[pa.Array]) -> pa.Array:
    # A first part that is never null: where all are, Arrow's join gives no row at all.
    inner = pc.binary_join_element_wise(pa.repeat("", len(parts[0])), *parts, ",", null_handling="skip")
    return pc.binary_join_element_wise("{", pc.utf8_slice_codeunits(inner, 1), "}", "")


def _text(values: pa.Array) -> pa.Array:
    """JSON text of values, null where null."""
    kind = values.type
    if values.null_count == len(values):
        return pa.nulls(len(values), pa.string())
    if pa.types.is_struct(kind):
        children = [_element(kind.field(i).name, _text(values.field(i))) for i in range(kind.num_fields)]
        return pc.if_else(values.is_valid(), _joined(children), pa.scalar(None, pa.string()))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        items = pc.fill_null(_text(values.flatten()), "null")
        lengths = pc.fill_null(pc.list_value_length(values), 0)
        offsets = pa.concat_arrays([pa.array([0], pa.int64()), pc.cumulative_sum(lengths.cast(pa.int64()))])
        joined = pc.binary_join(pa.LargeListArray.from_arrays(offsets, items), ",")
        text = pc.binary_join_element_wise("[", joined, "]", "")
        return pc.if_else(values.is_valid(), text, pa.scalar(None, pa.string()))
    if pa.types.is_decimal(kind):
        return _each(values, _decimal)
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind):
        return values.cast(pa.string())
    return _each(values.cast(pa.string()), lambda text: json.dumps(text, ensure_ascii=False))


def _each(values: pa.Array, text: Callable[[Any], str]) -> pa.Array:
    """Text made once for each different value."""
    coded = values.dictionary_encode()
    made = pa.array([text(value) for value in coded.dictionary.to_pylist()], pa.string())
    return made.take(coded.indices)


def _decimal(value: Decimal) -> str:
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
