"""What a block of JSON lines holds by its bytes alone, and what a typed table holds of it: the two must agree.

A fast reader skips names that its schema lacks, takes `"5"` for 5, and does not look at commas. So the values that
stand behind a name are counted, by kind, in the text and in the table; and the text is walked byte by byte to see that
its tokens follow each other as JSON's do. numba compiles the walk, in half a second, to 1 GB/s and more. Rows that
differ, or are odd, are named for an exact look at each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numba import njit

# A NumPy array.
Numbers = Any

STRING, NUMBER, BOOLEAN, LIST, OBJECT, OTHER = range(6)
KINDS = 6
PLACES = 18
# What a row may be: odd where a reader is more lenient than JSON, or where a value may be lost in reading (a null in a
# list, an empty list); inexact where a DECIMAL(38,18) does not give a number back as it was written (1.0, 19 places).
IS_ODD, IS_INEXACT = 1, 2

# What stood before a byte: the begin of a list or object, a comma, a colon, a whole value, a text that may be a name.
OPENED, PARTED, NAMED, ENDED, TEXT = range(5)
QUOTE, BACKSLASH, SPACE, COLON, COMMA, POINT, MINUS, ZERO, NINE = b'"\\ :,.-09'
OPEN_LIST, OPEN_OBJECT, CLOSE_LIST, CLOSE_OBJECT = b"[{]}"
TRUE, FALSE, NULL = (np.frombuffer(word, np.uint8) for word in (b"true", b"false", b"null"))


@dataclass(frozen=True)
class Tokens:
    """Values behind a name by row and kind, shape (rows, KINDS); the rows that are odd, and that are inexact, in order.

    What is counted of an odd row may be too little.
    """

    counts: Numbers
    odd: Numbers
    inexact: Numbers


def scan(data: Numbers, starts: Numbers) -> Tokens:
    """Walk rows of bytes (uint8): row i is `data[starts[i]:starts[i + 1]]`, and begins as an object does."""
    rows = len(starts) - 1
    counts: Numbers = np.zeros((rows, KINDS), np.int64)
    signs: Numbers = np.zeros(rows, np.uint8)
    _walk(data, starts, counts, signs)
    return Tokens(counts, np.flatnonzero(signs & IS_ODD), np.flatnonzero(signs == IS_INEXACT))


@njit  # type: ignore[untyped-decorator] # numba comes without types
def _walk(data: Numbers, starts: Numbers, counts: Numbers, signs: Numbers) -> None:
    for row in range(len(starts) - 1):
        at, stop = starts[row], starts[row + 1]
        before = NAMED
        sign = 0
        while at < stop:
            byte = data[at]
            if byte == QUOTE:
                if before == NAMED:
                    counts[row, STRING] += 1
                sign |= IS_ODD * (before >= ENDED)
                before = ENDED if before == NAMED else TEXT
                at += 1
                while at < stop:
                    byte = data[at]
                    at += 1
                    if byte == QUOTE:
                        break
                    if byte == BACKSLASH:
                        at += 1
                    elif byte < SPACE:
                        sign |= IS_ODD
                else:
                    sign |= IS_ODD
            elif byte == COLON:
                sign |= IS_ODD * (before != TEXT)
                before = NAMED
                at += 1
            elif byte == COMMA:
                sign |= IS_ODD * (before < ENDED)
                before = PARTED
                at += 1
            elif byte in (CLOSE_OBJECT, CLOSE_LIST):
                sign |= IS_ODD * (before < ENDED)
                before = ENDED
                at += 1
            elif byte == SPACE:
                at += 1
            elif byte in (OPEN_OBJECT, OPEN_LIST):
                if before == NAMED and at > starts[row]:
                    counts[row, OBJECT if byte == OPEN_OBJECT else LIST] += 1
                sign |= IS_ODD * (before >= ENDED)
                before = OPENED
                at += 1
            elif byte == MINUS or ZERO <= byte <= NINE:
                if before == NAMED:
                    counts[row, NUMBER] += 1
                sign |= IS_ODD * (before >= ENDED)
                before = ENDED
                at, written = _number(data, at, stop)
                sign |= written
            else:
                word = TRUE if byte == TRUE[0] else FALSE if byte == FALSE[0] else NULL
                is_named = before == NAMED
                if is_named:
                    counts[row, OTHER if word is NULL else BOOLEAN] += 1
                # A null in a list is odd, and so is a word that is none.
                sign |= IS_ODD * (before >= ENDED or (byte == NULL[0] and not is_named))
                before = ENDED
                for letter in word:
                    sign |= IS_ODD * (at >= stop or data[at] != letter)
                    at += 1
        signs[row] = IS_ODD if at != stop else sign


@njit  # type: ignore[untyped-decorator] # numba comes without types
def _number(data: Numbers, at: int, stop: int) -> tuple[int, int]:
    """Where a number ends, and what it is: `01`, `1.` and all with an exponent need an exact look."""
    at += data[at] == MINUS
    first = at
    while at < stop and ZERO <= data[at] <= NINE:
        at += 1
    sign = IS_ODD * (at == first or (data[first] == ZERO and at > first + 1))
    if at < stop and data[at] == POINT:
        at += 1
        point = at
        while at < stop and ZERO <= data[at] <= NINE:
            at += 1
        sign |= IS_ODD * (at == point) | IS_INEXACT * (at - point > PLACES or data[at - 1] == ZERO)
    return at, sign


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
