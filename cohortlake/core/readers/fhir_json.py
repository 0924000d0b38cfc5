"""FHIR JSON to typed columns: fast where the lines are good, exact about the ones that are not, and lossless.

A block of lines goes through arrow-rs' JSON reader (`arro3`), twice as fast as Arrow's own in C++ but lenient: it skips
what the schema lacks. So the block's values are counted in the text and in the table (`json_tokens`), and each line in
which they differ, or a number would not come back as it was written, is looked at exactly (`json_exact`). What the
schema does not hold is kept as JSON text beside the row, each root element whole. A refused block is halved until the
wrong lines stand alone, with their reasons.
"""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import arro3.io
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cohortlake.core.readers import json_tokens as tokens
from cohortlake.core.readers.json_exact import Shape, WrongLineError, elements, look, shape_of
from cohortlake.core.readers.json_tokens import Numbers
from cohortlake.core.readers.json_width import Names, note, only, widened

# Rows a batch: small ones stay in the processor's cache (2,000 to 4,000 rows read twice as fast as 16,000).
BATCH = 4096
DECIMAL = pa.decimal128(38, tokens.PLACES)
OPEN, CLOSE = b"{}"
JSON_NAMES = {"[": "array", "{": "object", '"': "string", "t": "boolean", "f": "boolean"}
WANTED = {"[": "array", "{": "object", "string": "string", "boolean": "boolean", "decimal": "number"}


@dataclass
class Parsed:
    """`table` has the good lines in order, `kept` their places among the input, `bad` the others' reasons.

    `rest` has, for a row each, the JSON text of an object with the root elements that the row's columns do not hold as
    they were written, each whole, or null; where only a number's written form is at stake (1.0 is not 1), it is the
    record's own text. `unexpected` counts values at paths that the schema lacks.
    """

    table: pa.Table
    kept: Numbers
    rest: pa.Array
    bad: dict[int, str] = field(default_factory=dict)
    unexpected: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class _Block:
    """Lines as one text: row i is `data[starts[i]:starts[i + 1]]`."""

    data: Numbers
    starts: Numbers

    def text(self, start: int, stop: int) -> memoryview:
        return memoryview(self.data)[self.starts[start] : self.starts[stop]]

    def line(self, row: int) -> str:
        return bytes(self.text(row, row + 1)).decode()


@dataclass(frozen=True)
class _Doubts:
    """Rows of a batch that need an exact look, and rows with numbers that only their text gives back as written."""

    rows: list[int]
    inexact: list[int]


# The place of a batch's first row, the batch, and its doubts.
_Placed = tuple[int, pa.RecordBatch, _Doubts]


class BlockReader:
    """Reads JSON of one schema, block by block.

    A schema has many elements that never come, and each costs time in every row: so a block is read for the elements
    that came so far, and again for all of them where the text holds more.
    """

    def __init__(self, schema: pa.Schema) -> None:
        self.schema, self.shape = schema, shape_of(schema)
        self._all = _readable(schema)
        self._few: pa.Schema | None = None
        self._came: Names = {}

    def parse(self, payload: pa.Array) -> Parsed:
        """Parse lines of JSON (a string array). No line is lost: it is in `table` or in `bad`."""
        block = _block(payload)
        if not _are_objects(block).all():
            payload = pc.utf8_trim_whitespace(payload)
            block = _block(payload)
        parsed = Parsed(self.schema.empty_table(), np.array([], np.int64), pa.nulls(0, pa.string()))
        for row in np.flatnonzero(~_are_objects(block)).tolist():
            parsed.bad[row] = _reason(block.line(row), "")
        found: list[_Placed] = []
        start = 0
        for stop in (*sorted(parsed.bad), len(payload)):
            self._read(block, start, stop, found, parsed.bad)
            start = stop + 1
        tables, kept, rest = [], [], []
        for first, batch, doubts in found:
            typed = _cast(batch, self.schema)
            rows = range(batch.num_rows) if typed is None else doubts.rows
            texts, wrong = _looked_at(block, first, rows, self.shape, parsed.unexpected)
            parsed.bad |= {first + row: reason for row, reason in wrong.items()}
            whole = _rest(payload.slice(first, batch.num_rows), doubts.inexact, texts)
            good = np.setdiff1d(np.arange(batch.num_rows), list(wrong))
            if typed is None or wrong:
                typed = _cast(batch.take(pa.array(good)), self.schema)
                whole = whole.take(pa.array(good))
            tables.append(typed)
            kept.append(good + first)
            rest.append(whole)
        if tables:
            parsed.table, parsed.kept = pa.concat_tables(tables), np.concatenate(kept)
            parsed.rest = pa.concat_arrays(rest)
        return parsed

    def _read(self, block: _Block, start: int, stop: int, found: list[_Placed], bad: dict[int, str]) -> None:
        """Read rows of a block, in batches; the wrong ones go to `bad`."""
        if start == stop:
            return
        message = ""
        try:
            batches = self._examined(block, start, stop)
            if batches is not None:
                found += batches
                return
            # A line may hold more or fewer objects than one ("{} {}"); then only the halves tell which.
        except Exception as error:  # (the reader has no class of its own)
            message = str(error)
        if stop - start == 1:
            bad[start] = _reason(block.line(start), message)
            return
        half = (start + stop) // 2
        self._read(block, start, half, found, bad)
        self._read(block, half, stop, found, bad)

    def _examined(self, block: _Block, start: int, stop: int) -> list[_Placed] | None:
        """Rows of a block as batches of the whole schema, with their doubts; None where lines are no row each."""
        if self._few is not None:
            placed = _batches(block, start, stop, self._few)
            if placed is not None and not any(doubts.rows for _, _, doubts in placed):
                return [(first, widened(batch, self._all), doubts) for first, batch, doubts in placed]
        placed = _batches(block, start, stop, self._all)
        if placed is not None:
            for _, batch, _ in placed:
                for column, values in zip(batch.schema.names, batch.columns, strict=True):
                    note(values, column, self._came)
            # Where the whole schema leaves doubts too, a first look for less of it is in vain.
            is_in_vain = any(doubts.rows for _, _, doubts in placed)
            self._few = None if is_in_vain else pa.schema(only(self._all, self._came))
        return placed


def parse(payload: pa.Array, schema: pa.Schema) -> Parsed:
    """Parse lines of JSON (a string array) as rows of `schema`. No line is lost: it is in `table` or in `bad`."""
    return BlockReader(schema).parse(payload)


def _cast(batch: pa.RecordBatch, schema: pa.Schema) -> pa.Table | None:
    """The batch in the schema's types, or None where a number does not fit an integer."""
    try:
        return pa.Table.from_batches([batch]).cast(schema)
    except pa.ArrowInvalid:
        return None


def _looked_at(
    block: _Block, first: int, rows: Iterable[int], shape: Shape, unexpected: Counter[str]
) -> tuple[dict[int, str], dict[int, str]]:
    """An exact look at some rows of a batch: the JSON text of what the schema does not hold, and reasons, by row."""
    texts: dict[int, str] = {}
    wrong: dict[int, str] = {}
    for row in rows:
        try:
            seen = look(block.line(first + row), shape)
        except WrongLineError as error:
            wrong[row] = str(error)
            continue
        unexpected.update(seen.unexpected)
        if seen.rest:
            texts[row] = seen.rest
    return texts, wrong


def _rest(lines: pa.Array, inexact: list[int], texts: dict[int, str]) -> pa.Array:
    """What the columns do not hold, a row each: the text that an exact look found, the whole line where inexact."""
    if not inexact and not texts:
        return pa.nulls(len(lines), pa.string())
    rest = pc.if_else(_mask(inexact, len(lines)), lines, pa.scalar(None, pa.string()))
    if not texts:
        return rest
    found = pa.array([texts[row] for row in sorted(texts)], pa.string())
    return pc.replace_with_mask(rest, _mask(list(texts), len(lines)), found)


def _mask(rows: list[int], count: int) -> pa.Array:
    """Which of `count` rows are among `rows`."""
    mask: np.typing.NDArray[np.bool_] = np.zeros(count, np.bool_)
    mask[rows] = True
    return pa.array(mask)


def _block(payload: pa.Array) -> _Block:
    if len(payload) == 0:
        return _Block(np.zeros(0, np.uint8), np.zeros(1, np.int64))
    _, offsets, text = payload.buffers()
    starts = np.frombuffer(offsets, np.int32)[payload.offset : payload.offset + len(payload) + 1].astype(np.int64)
    data = np.frombuffer(text, np.uint8) if text else np.zeros(0, np.uint8)
    return _Block(data[starts[0] : starts[-1]], starts - starts[0])


def _are_objects(block: _Block) -> Numbers:
    """Whether each line begins and ends as an object does; so none runs into the next."""
    lengths = np.diff(block.starts)
    if not len(block.data):
        return lengths > 0
    first = np.minimum(block.starts[:-1], len(block.data) - 1)
    are: Numbers = (lengths > 1) & (block.data[first] == OPEN) & (block.data[block.starts[1:] - 1] == CLOSE)
    return are


def _readable(schema: pa.Schema) -> pa.Schema:
    """The schema with integers as decimals: the reader would cut 5.7 to 5, and a cast refuses to."""

    def of(kind: pa.DataType) -> pa.DataType:
        if pa.types.is_struct(kind):
            return pa.struct([pa.field(kind.field(i).name, of(kind.field(i).type)) for i in range(kind.num_fields)])
        if pa.types.is_list(kind):
            return pa.list_(pa.field(kind.value_field.name, of(kind.value_type)))
        return DECIMAL if pa.types.is_integer(kind) else kind

    return pa.schema([pa.field(column.name, of(column.type)) for column in schema])


def _batches(block: _Block, start: int, stop: int, schema: pa.Schema) -> list[_Placed] | None:
    """Rows of a block as batches of a schema, or None where lines are no row each. Raises where a line is no JSON."""
    text = io.BytesIO(block.text(start, stop))
    batches = [pa.record_batch(batch) for batch in arro3.io.read_json(text, schema, batch_size=BATCH)]
    if sum(batch.num_rows for batch in batches) != stop - start:
        return None
    placed = []
    for batch in batches:
        placed.append((start, batch, _doubts(block, start, batch)))
        start += batch.num_rows
    return placed


def _doubts(block: _Block, first: int, batch: pa.RecordBatch) -> _Doubts:
    """Where text and columns differ, or the text is in doubt."""
    starts = block.starts[first : first + batch.num_rows + 1]
    written = tokens.scan(block.data, starts)
    rows = written.odd
    # An odd row may hide a name and so make up for one that another row has too many.
    if len(rows) or (written.counts.sum(axis=0) != tokens.typed_totals(batch)).any():
        differ = np.flatnonzero((written.counts != tokens.typed_by_row(batch)).any(axis=1))
        rows = np.union1d(rows, differ)
    return _Doubts(rows.tolist(), np.setdiff1d(written.inexact, rows).tolist())


def _reason(line: str, message: str) -> str:
    """Why a line was refused: what and where, never the value."""
    try:
        elements(line)
    except WrongLineError as error:
        return str(error)
    path = ".".join(re.findall(r"whilst decoding field '([^']+)'", message)) or "the record"
    wrong: Any = re.search(r"expected (\S+) got (.)", message)
    if wrong and wrong.group(1) in WANTED:
        found = JSON_NAMES.get(wrong.group(2), "number")
        return f"wrong JSON type: {path} is a {found}, not a {WANTED[wrong.group(1)]}"
    if "surrogate" in message:
        return "not valid JSON: half of a surrogate pair"
    return f"wrong JSON value: {path} does not fit its type"
