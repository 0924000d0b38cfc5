"""FHIR JSON to typed columns: fast where the lines are good, exact about the ones that are not.

Arrow's JSON reader takes a block of lines with an explicit schema; it names what the schema lacks, and it refuses a
block with a wrong line in it. A refused block is halved until the wrong lines stand alone, with their reasons.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

MAX_DEPTH = 200
STRINGS = re.compile(r'"(?:[^"\\]|\\.)*"')
OPENING, CLOSING = np.frombuffer(b"{[", np.uint8), np.frombuffer(b"}]", np.uint8)


@dataclass
class Parsed:
    """`table` has the good lines in order, `kept` their places among the input, `bad` the others' reasons.

    `unexpected` counts values at paths that the schema lacks.
    """

    table: pa.Table
    kept: np.ndarray
    bad: dict[int, str] = field(default_factory=dict)
    unexpected: Counter[str] = field(default_factory=Counter)


def parse(payload: pa.Array, schema: pa.Schema) -> Parsed:
    """Parse lines of JSON (a string array) as rows of `schema`. No line is lost: it is in `table` or in `bad`."""
    parsed = Parsed(schema.empty_table(), np.array([], dtype=np.int64))
    tables: list[pa.Table] = []
    kept: list[np.ndarray] = []
    parsed.bad = _unsafe(payload)
    start = 0
    for stop in (*sorted(parsed.bad), len(payload)):
        _parse(payload.slice(start, stop - start), start, schema, tables, kept, parsed)
        start = stop + 1
    if tables:
        parsed.table, parsed.kept = pa.concat_tables(tables), np.concatenate(kept)
    return parsed


def _unsafe(payload: pa.Array) -> dict[int, str]:
    """Lines that would crash the block reader: those that hold no object (`null`), and very deep ones."""
    is_object = pc.starts_with(pc.utf8_ltrim_whitespace(payload), "{")
    bad = dict.fromkeys(pc.indices_nonzero(pc.invert(is_object)).to_pylist(), "not a JSON object")
    brackets = pc.add(pc.count_substring(payload, "{"), pc.count_substring(payload, "["))
    for index in pc.indices_nonzero(pc.greater(brackets, MAX_DEPTH)).to_pylist():
        if _depth(payload[index].as_py()) > MAX_DEPTH:
            bad[index] = f"nested deeper than {MAX_DEPTH} levels"
    return bad


def _depth(line: str) -> int:
    """How deep a line nests; brackets in its strings do not count."""
    marks = np.frombuffer(STRINGS.sub("", line).encode(), dtype=np.uint8)
    steps = np.isin(marks, OPENING).astype(np.int32) - np.isin(marks, CLOSING)
    return int(steps.cumsum().max(initial=0))


def _parse(
    payload: pa.Array, start: int, schema: pa.Schema, tables: list[pa.Table], kept: list[np.ndarray], into: Parsed
) -> None:
    rows = len(payload)
    if rows == 0:
        return
    lines = pc.binary_join_element_wise(payload, "", "\n")
    data, ends = lines.buffers()[2], np.frombuffer(lines.buffers()[1], dtype=np.int32)
    first, last = int(ends[lines.offset]), int(ends[lines.offset + rows])
    try:
        table = pj.read_json(
            pa.BufferReader(data.slice(first, last - first)),
            read_options=pj.ReadOptions(use_threads=False, block_size=last - first + 1),
            parse_options=pj.ParseOptions(explicit_schema=schema, unexpected_field_behavior="infer"),
        )
        # A line may hold more or fewer values than one ("{} {}"); then only the halves tell which.
        problem = None if table.num_rows == rows else "not one JSON object on the line"
    except pa.ArrowInvalid as error:
        problem = _reason(str(error))
    except pa.ArrowNotImplementedError as error:
        problem = _reason(str(error))
    if problem is None:
        tables.append(_conform(table, schema, into.unexpected))
        kept.append(np.arange(start, start + rows, dtype=np.int64))
    elif rows == 1 and "decimal" in problem and (rounded := _rounded(payload[0].as_py())):
        into.unexpected["(decimals rounded to 18 places)"] += 1
        _parse(pa.array([rounded]), start, schema, tables, kept, into)
    elif rows == 1:
        into.bad[start] = problem
    else:
        half = rows // 2
        _parse(payload.slice(0, half), start, schema, tables, kept, into)
        _parse(payload.slice(half), start + half, schema, tables, kept, into)


PLACES = Decimal(1).scaleb(-18)


def _rounded(line: str) -> str | None:
    """The line with its decimals as DECIMAL(38,18) can hold them, or None where it already is that or cannot be."""

    def say(value: Any) -> str:
        if isinstance(value, dict):
            return "{" + ",".join(f"{json.dumps(key)}:{say(inner)}" for key, inner in value.items()) + "}"
        if isinstance(value, list):
            return "[" + ",".join(say(inner) for inner in value) + "]"
        return f"{value.quantize(PLACES):f}" if isinstance(value, Decimal) else json.dumps(value)

    try:
        fresh = say(json.loads(line, parse_float=Decimal))
    except (ValueError, InvalidOperation, RecursionError):
        return None
    return fresh if fresh != line else None


def _reason(message: str) -> str:
    """Arrow's message as a reason: what and where, never the value."""
    changed = re.search(r"Column\(([^)]*)\) changed from (\w+) to (\w+)", message)
    if changed:
        path = changed.group(1).strip("/").replace("/[]", "").replace("/", ".") or "the record"
        return f"wrong JSON type: {path} is a {changed.group(3)}, not a {changed.group(2)}"
    message = message.split("JSON parse error: ")[-1].split(" in row ")[0]
    if (
        message.startswith(("Invalid value", "Missing", "Terminate", "The document", "Unexpected"))
        or "object" in message
    ):
        return f"not valid JSON: {message}"
    return "wrong JSON value: " + re.sub(r"[:'\"].*", "", message)


def _conform(table: pa.Table, schema: pa.Schema, unexpected: Counter[str]) -> pa.Table:
    """The schema's own columns; what came beside them is counted."""
    if table.schema.equals(schema):
        return table
    columns = []
    for name in table.column_names:
        if name not in schema.names:
            for chunk in table[name].chunks:
                _count(chunk, name, unexpected)
    for wanted in schema:
        column = table[wanted.name]
        if not column.type.equals(wanted.type):
            pieces = [_project(chunk, wanted.type, wanted.name, unexpected) for chunk in column.chunks]
            column = pa.chunked_array(pieces, wanted.type)
        columns.append(column)
    return pa.table(columns, schema=schema)


def _project(values: pa.Array, wanted: pa.DataType, path: str, unexpected: Counter[str]) -> pa.Array:
    if values.type.equals(wanted):
        return values
    if pa.types.is_list(wanted):
        inner = _project(values.values, wanted.value_type, path, unexpected)
        mask = values.is_null() if values.null_count else None
        return pa.ListArray.from_arrays(values.offsets, inner, type=wanted, mask=mask)
    for index in range(values.type.num_fields):
        name = values.type.field(index).name
        if wanted.get_field_index(name) < 0:
            _count(values.field(index), f"{path}.{name}", unexpected)
    children = [
        _project(values.field(values.type.get_field_index(child.name)), child.type, f"{path}.{child.name}", unexpected)
        for child in wanted
    ]
    mask = values.is_null() if values.null_count else None
    return pa.StructArray.from_arrays(children, fields=list(wanted), mask=mask)


def _count(values: pa.Array, path: str, unexpected: Counter[str]) -> None:
    """Count the leaf values below an unexpected path."""
    if pa.types.is_list(values.type):
        _count(values.flatten(), path, unexpected)
    elif pa.types.is_struct(values.type):
        for index in range(values.type.num_fields):
            _count(values.field(index), f"{path}.{values.type.field(index).name}", unexpected)
    elif len(values) > values.null_count:
        unexpected[path] += len(values) - values.null_count
