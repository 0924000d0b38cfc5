"""What a block of JSON lines holds by its bytes alone, and what a typed table holds of it: the two must agree.

A fast reader skips names that its schema lacks, and takes `"5"` for 5. So the values that stand behind a name are
counted, by kind, in the text and in the table. Where the counts differ, the rows that differ are named, for an exact
look at each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

# A NumPy array.
Numbers = Any

STRING, NUMBER, BOOLEAN, LIST, OBJECT, OTHER = range(6)
KINDS = 6
BACKSLASH, SPACE, POINT, ZERO, MINUS = b"\\ .0-"
NAME_ENDS = int.from_bytes(b'":', "little")
COMMA_ENDS = tuple(int.from_bytes(pair, "little") for pair in (b",}", b",]"))
LONGEST_NUMBER = 40
PLACES = 18

_KIND: Numbers = np.full(256, OTHER, np.uint8)
for _kind, _first in ((STRING, b'"'), (NUMBER, b"-0123456789"), (BOOLEAN, b"tf"), (LIST, b"["), (OBJECT, b"{")):
    _KIND[list(_first)] = _kind
_IS_DIGIT: Numbers = np.zeros(256, bool)
_IS_DIGIT[list(b"0123456789")] = True
_ENDS_NUMBER: Numbers = np.zeros(256, bool)
_ENDS_NUMBER[list(b",}] \n\r\t")] = True


@dataclass(frozen=True)
class Tokens:
    """Where the values behind a name begin in a block, and of which kind each is."""

    at: Numbers
    kind: Numbers

    def totals(self) -> Numbers:
        """Values by kind."""
        return np.bincount(self.kind, minlength=KINDS)

    def by_row(self, starts: Numbers) -> Numbers:
        """Values by row and kind, shape (rows, KINDS)."""
        rows = np.searchsorted(starts, self.at, "right") - 1
        counts: Numbers = np.bincount(rows * KINDS + self.kind, minlength=len(starts) * KINDS)
        return counts.reshape(-1, KINDS)


def scan(data: Numbers) -> Tokens:
    """The values behind a name in some rows' bytes (uint8)."""
    names = _pairs(data, NAME_ENDS)
    names = names[data[names - 1] != BACKSLASH]
    at = names + 2
    at += data[at] == SPACE
    return Tokens(at, _KIND[data[at]])


def _pairs(data: Numbers, *wanted: int) -> Numbers:
    """Where pairs of bytes stand; read as 16-bit words, which is twice as fast as two comparisons of bytes."""
    found: list[Numbers] = []
    for shift in (0, 1):
        words = data[shift : shift + (len(data) - shift) // 2 * 2].view("<u2")
        found += [np.flatnonzero(words == word) * 2 + shift for word in wanted]
    return np.concatenate(found)


def numbers(data: Numbers, tokens: Tokens) -> tuple[Numbers, Numbers]:
    """Where numbers stand that need an exact look, and where those that a DECIMAL(38,18) does not give back as written.

    The first are `01`, `1.` and all with an exponent; the second `1.0` and those of more than 18 places.
    """
    at = tokens.at[tokens.kind == NUMBER]
    last = len(data) - 1
    digits = at + (data[at] == MINUS)
    is_strange = (data[digits] == ZERO) & _IS_DIGIT[data[np.minimum(digits + 1, last)]]
    point: Numbers = np.zeros(len(at), np.int64)
    end = digits.copy()
    alive: Numbers = np.ones(len(at), bool)
    for _ in range(LONGEST_NUMBER):
        here = data[end]
        is_point = alive & (here == POINT) & (point == 0)
        point[is_point] = end[is_point]
        alive &= _IS_DIGIT[here] | is_point
        if not alive.any():
            break
        end = np.minimum(end + alive, last)
    places = end - point - 1
    has_point = point > 0
    is_strange |= alive | ~_ENDS_NUMBER[data[end]] | (has_point & (places < 1))
    is_inexact = has_point & ((places > PLACES) | (data[end - 1] == ZERO))
    return at[is_strange], at[is_inexact & ~is_strange]


def strange_places(data: Numbers) -> Numbers:
    """Where a reader is more lenient than JSON: control characters, and commas before an end."""
    controls = np.flatnonzero(data < SPACE) if np.count_nonzero(data < SPACE) else np.zeros(0, np.int64)
    return np.concatenate([controls, _pairs(data, *COMMA_ENDS)])


def rows_at(places: Numbers, starts: Numbers) -> Numbers:
    """The rows in which places lie, each once, in order."""
    rows: Numbers = np.unique(np.searchsorted(starts, places, "right") - 1)
    return rows


def _kind_of(data_type: pa.DataType) -> int:
    if pa.types.is_struct(data_type):
        return OBJECT
    if pa.types.is_list(data_type):
        return LIST
    if pa.types.is_boolean(data_type):
        return BOOLEAN
    return STRING if pa.types.is_string(data_type) else NUMBER


def _add(values: pa.Array, counts: Numbers, *, is_named: bool) -> None:
    missing = values.null_count
    if is_named:
        counts[_kind_of(values.type)] += len(values) - missing
    if missing == len(values):
        return
    if pa.types.is_list(values.type):
        _add(values.flatten(), counts, is_named=False)
    elif pa.types.is_struct(values.type):
        for index in range(values.type.num_fields):
            _add(values.field(index), counts, is_named=True)


def typed_totals(batch: pa.RecordBatch) -> Numbers:
    """Values by kind that a typed batch holds behind names."""
    counts: Numbers = np.zeros(KINDS, np.int64)
    for column in batch.columns:
        _add(column, counts, is_named=True)
    return counts


def _add_rows(values: pa.Array, rows: Numbers, counts: Numbers, *, is_named: bool) -> None:
    if values.null_count == len(values):
        return
    if is_named:
        present = rows[values.is_valid().to_numpy(zero_copy_only=False)] if values.null_count else rows
        counts[:, _kind_of(values.type)] += np.bincount(present, minlength=len(counts))
    if pa.types.is_list(values.type):
        lengths = values.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
        _add_rows(values.flatten(), np.repeat(rows, lengths), counts, is_named=False)
    elif pa.types.is_struct(values.type):
        for index in range(values.type.num_fields):
            _add_rows(values.field(index), rows, counts, is_named=True)


def typed_by_row(batch: pa.RecordBatch) -> Numbers:
    """Values by row and kind that a typed batch holds behind names, shape (rows, KINDS)."""
    counts: Numbers = np.zeros((batch.num_rows, KINDS), np.int64)
    rows = np.arange(batch.num_rows)
    for column in batch.columns:
        _add_rows(column, rows, counts, is_named=True)
    return counts
