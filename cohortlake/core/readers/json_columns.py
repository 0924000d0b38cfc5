"""Lines of JSON as columns of an Arrow schema, by the walks of `json_walk`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from cohortlake.core.readers import json_walk as walks
from cohortlake.core.readers.json_walk import Numbers

# Bytes of text, at least, for a value that is found, and for an element that the schema lacks.
OF_VALUE, OF_LOST = 2, 4


@dataclass(frozen=True)
class Lost:
    """An element that the schema lacks: its row in the table, its path, and its value as JSON text.

    `root` is the text of the root's element that it is in, name and value, and `start` where that begins.
    """

    row: int
    path: str
    value: str
    root: str
    start: int


@dataclass(frozen=True)
class Lines:
    """What was read: the lines that are in the table, in order; those left out as strange; those that are inexact.

    `lost` are the elements that the schema lacks, in order.
    """

    table: pa.Table
    read: Numbers
    strange: Numbers
    inexact: Numbers
    lost: list[Lost]


class ColumnReader:
    """Reads lines of JSON as one schema: structs, lists, strings, booleans, 32-bit integers and DECIMAL(38,18)."""

    def __init__(self, schema: pa.Schema) -> None:
        self.schema = schema
        self._types: list[pa.DataType] = [pa.struct(list(schema))]
        self._paths = [""]
        rows: list[list[int]] = [[walks.STRUCT, 0, 0, 0, 0]]
        follow = [0]
        firsts: list[int] = []
        names = bytearray()
        while len(firsts) < len(rows):
            node = len(firsts)
            firsts.append(len(rows))
            kind, path = self._types[node], self._paths[node]
            within = [kind.field(i) for i in range(kind.num_fields)] if rows[node][walks.KIND] <= walks.LIST else []
            rows[node][walks.FIRST : walks.NAME] = [firsts[node], len(within)]
            for place, field in enumerate(within):
                name = field.name.encode()
                # At first, names are looked for in the schema's order.
                follow.append(firsts[node] + (place + 1) % len(within))
                rows.append([_kind_of(field.type), 0, 0, len(names), len(name)])
                names += name
                self._types.append(field.type)
                is_named = rows[node][walks.KIND] == walks.STRUCT
                self._paths.append(".".join(filter(None, [path, field.name])) if is_named else path)
        self._nodes: Numbers = np.array(rows, np.int32)
        self._names: Numbers = np.frombuffer(bytes(names) or b" ", np.uint8)
        self._follow: Numbers = np.array([*follow, *firsts], np.int32).clip(max=len(rows) - 1)
        self._found: Numbers = np.zeros((0, 4), np.int32)
        self._lost: Numbers = np.zeros((0, 9), np.int32)

    def read(self, data: Numbers, starts: Numbers) -> Lines:
        """Read lines of bytes (uint8, below 2 GB): line i is `data[starts[i]:starts[i + 1]]`."""
        if len(self._found) < len(data) // OF_VALUE + 1:
            self._found = np.empty((len(data) // OF_VALUE + 1, 4), np.int32)
            self._lost = np.empty((len(data) // OF_LOST + 1, 9), np.int32)
        data = data.view()
        data.flags.writeable = False  # so that the walks are compiled for one kind of memory
        signs: Numbers = np.zeros(len(starts) - 1, np.uint8)
        values, elements, lines, came, sizes = walks.walk(
            data, starts, self._nodes, self._names, self._follow, self._found, self._lost, signs
        )
        columns = _Columns(self._nodes, self._types, lines, came, sizes)
        table = columns.filled(data, self._found, values).table(self.schema)
        is_strange = (signs & walks.IS_STRANGE) > 0
        read, inexact = np.flatnonzero(~is_strange), np.flatnonzero(signs == walks.IS_INEXACT)
        return Lines(
            table, read, np.flatnonzero(is_strange), inexact, self._named(data, self._lost[:elements].tolist())
        )

    def _named(self, data: Numbers, elements: list[list[int]]) -> list[Lost]:
        named: list[Lost] = []
        for line, parent, _, begin, end, value, value_end, root, root_end in elements:
            name, path = bytes(data[begin:end]).decode(), self._paths[parent]
            is_same = bool(named) and named[-1].start == root
            whole = named[-1].root if is_same else bytes(data[root:root_end]).decode()
            text = bytes(data[value:value_end]).decode()
            named.append(Lost(line, f"{path}.{name}" if path else name, text, whole, root))
        return named


class _Columns:
    """The columns of a schema's nodes: one piece of memory for all flags, one for all offsets, texts, and numbers."""

    def __init__(self, nodes: Numbers, types: list[pa.DataType], lines: int, came: Numbers, sizes: Numbers) -> None:
        self.nodes, self.types = nodes, types
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
