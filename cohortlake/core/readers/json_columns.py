"""Lines of JSON as columns of an Arrow schema, by the walks of `json_walk`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from cohortlake.core.readers import json_walk as walks
from cohortlake.core.readers.json_walk import Numbers

# Bytes of text for each value that it may hold.
LEAST = 2


@dataclass(frozen=True)
class Lines:
    """What was read: the lines that are in the table, in order; those left out as strange; those that are inexact."""

    table: pa.Table
    read: Numbers
    strange: Numbers
    inexact: Numbers


class ColumnReader:
    """Reads lines of JSON as one schema: structs, lists, strings, booleans, 32-bit integers and DECIMAL(38,18)."""

    def __init__(self, schema: pa.Schema) -> None:
        self.schema = schema
        self._types: list[pa.DataType] = [pa.struct(list(schema))]
        rows: list[list[int]] = [[walks.STRUCT, 0, 0, 0, 0]]
        names = bytearray()
        self._first: list[int] = []
        for node in range(10**6):
            if node == len(self._types):
                break
            kind = self._types[node]
            within = [kind.field(i) for i in range(kind.num_fields)] if _kind_of(kind) <= walks.LIST else []
            rows[node][walks.FIRST : walks.NAME] = [len(rows), len(within)]
            for field in within:
                name = field.name.encode()
                rows.append([_kind_of(field.type), 0, 0, len(names), len(name)])
                names += name
                self._types.append(field.type)
        self._nodes: Numbers = np.array(rows, np.int32)
        self._names: Numbers = np.frombuffer(bytes(names) or b" ", np.uint8)
        # At first, names are looked for in the schema's order.
        after = np.arange(1, len(rows) + 1).clip(max=len(rows) - 1)
        self._follow: Numbers = (
            np.concatenate([after, self._nodes[:, walks.FIRST]]).clip(max=len(rows) - 1).astype(np.int32)
        )
        self._found: Numbers = np.zeros((0, 4), np.int32)

    def read(self, data: Numbers, starts: Numbers) -> Lines:
        """Read lines of bytes (uint8, below 2 GB): line i is `data[starts[i]:starts[i + 1]]`."""
        if len(self._found) < len(data) // LEAST + 1:
            self._found = np.empty((len(data) // LEAST + 1, 4), np.int32)
        data = data.view()
        data.flags.writeable = False  # so that the walks are compiled for one kind of memory
        signs: Numbers = np.zeros(len(starts) - 1, np.uint8)
        values, lines, came, sizes = walks.walk(
            data, starts, self._nodes, self._names, self._follow, self._found, signs
        )
        columns = _Columns(self._nodes, self._types, lines, came, sizes)
        table = columns.filled(data, self._found, values).table(self.schema)
        is_strange = (signs & walks.IS_STRANGE) > 0
        return Lines(
            table, np.flatnonzero(~is_strange), np.flatnonzero(is_strange), np.flatnonzero(signs == walks.IS_INEXACT)
        )


class _Columns:
    """The columns of a schema's nodes: one piece of memory for all flags, one for all offsets, texts, and numbers."""

    def __init__(self, nodes: Numbers, types: list[pa.DataType], lines: int, came: Numbers, sizes: Numbers) -> None:
        self.nodes, self.types, self.came = nodes, types, came
        self.lengths: Numbers = np.zeros(len(nodes), np.int64)
        self.lengths[0] = lines
        kinds = nodes[:, walks.KIND]
        for node in np.flatnonzero(kinds <= walks.LIST).tolist():
            first, count = nodes[node, walks.FIRST], nodes[node, walks.COUNT]
            self.lengths[first : first + count] = came[first] if kinds[node] == walks.LIST else self.lengths[node]
        rows = np.where(came > 0, self.lengths, 0)
        wide = np.select([kinds == walks.DECIMAL, kinds >= walks.BOOLEAN], [2 * rows, rows], 0)
        needed = np.stack([rows, np.where(rows > 0, rows + 1, 0), sizes, wide], axis=1)
        self.bases: Numbers = np.cumsum(needed, axis=0) - needed
        flags, offsets, texts, numbers = needed.sum(axis=0).tolist()
        self.valid: Numbers = np.zeros(flags, np.uint8)
        self.offsets: Numbers = np.empty(offsets, np.int32)
        self.texts: Numbers = np.empty(texts, np.uint8)
        self.numbers: Numbers = np.zeros(numbers, np.int64)

    def filled(self, data: Numbers, found: Numbers, values: int) -> _Columns:
        self.present, self.ends = walks.fill(
            data,
            self.nodes,
            found,
            values,
            self.lengths,
            self.bases,
            self.valid,
            self.offsets,
            self.texts,
            self.numbers,
        )
        return self

    def table(self, schema: pa.Schema) -> pa.Table:
        first = int(self.nodes[0, walks.FIRST])
        return pa.Table.from_arrays([self._array(first + index) for index in range(len(schema))], schema=schema)

    def _array(self, node: int) -> pa.Array:
        length, kind = int(self.lengths[node]), self.types[node]
        if not self.present[node]:
            return pa.nulls(length, kind)
        flags, offsets, texts, numbers = self.bases[node].tolist()
        buffers: list[Any] = [None]
        if self.present[node] < length:
            buffers = [pa.py_buffer(np.packbits(self.valid[flags : flags + length], bitorder="little"))]
        what, first = self.nodes[node, walks.KIND], int(self.nodes[node, walks.FIRST])
        within = []
        if what in (walks.STRING, walks.LIST):
            buffers.append(pa.py_buffer(self.offsets[offsets : offsets + length + 1]))
        if what == walks.STRING:
            buffers.append(pa.py_buffer(self.texts[texts : texts + int(self.ends[node])]))
        elif what <= walks.LIST:
            within = [self._array(first + index) for index in range(int(self.nodes[node, walks.COUNT]))]
        elif what == walks.BOOLEAN:
            are_true = self.numbers[numbers : numbers + length].astype(np.bool_)
            buffers.append(pa.py_buffer(np.packbits(are_true, bitorder="little")))
        elif what == walks.INTEGER:
            buffers.append(pa.py_buffer(self.numbers[numbers : numbers + length].astype(np.int32)))
        else:
            buffers.append(pa.py_buffer(self.numbers[numbers : numbers + 2 * length]))
        missing = length - int(self.present[node])
        return pa.Array.from_buffers(kind, length, buffers, missing, children=within)


def _kind_of(kind: pa.DataType) -> int:
    if pa.types.is_struct(kind):
        return walks.STRUCT
    if pa.types.is_list(kind):
        return walks.LIST
    if kind == pa.string():
        return walks.STRING
    if kind == pa.bool_():
        return walks.BOOLEAN
    if kind == pa.int32():
        return walks.INTEGER
    if kind == pa.decimal128(38, walks.DIGITS):
        return walks.DECIMAL
    raise TypeError(f"{kind} is not read from JSON")
