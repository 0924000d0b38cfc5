"""What a block of JSON lines holds by its bytes alone, and what a typed table holds of it: the two must agree.

A fast reader skips names that its schema lacks, takes `"5"` for 5, and does not look at commas. So the values that
stand behind a name are counted, by kind, in the text and in the table, and pairs of bytes that plain JSON does not have
outside its strings are looked for. Rows that differ, or that hold such a pair, are named for an exact look at each.
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
QUOTE, BACKSLASH, SPACE, POINT, ZERO, MINUS, COMMA = b'"\\ .0-,'
# What a pair of bytes may be a sign of: any of the first with any of the second. Commas too many or too few, spaces
# that could hide that or part a name from its colon, empty objects and lists, and nulls in lists are odd; three kinds
# are so only beside certain bytes, since texts hold them too.
PAIRS = (
    (b'"', b":"),  # the end of a name
    (b'"', b" "),  # odd unless the quote is one within a string
    (b" ", b'"'),  # odd unless a comma or a colon stands before
    (b'}]"', b'"'),  # odd unless the second quote ends a string
    (b" ,{[", b",}]"),
    (b"}", b" {"),
    (b"[,", b"n"),
)
NAME_END, SPACE_AFTER, SPACE_BEFORE, QUOTE_AFTER = (1 << number for number in range(4))
LONGEST_NUMBER = 40
LONGEST_LIST = 100
TRUE, LIST_END = b"t]"
PLACES = 18

_KIND: Numbers = np.full(256, OTHER, np.uint8)
for _kind, _first in ((STRING, b'"'), (NUMBER, b"-0123456789"), (BOOLEAN, b"tf"), (LIST, b"["), (OBJECT, b"{")):
    _KIND[list(_first)] = _kind
_IS_DIGIT: Numbers = np.zeros(256, bool)
_IS_DIGIT[list(b"0123456789")] = True
_ENDS_VALUE: Numbers = np.zeros(256, bool)
_ENDS_VALUE[list(b",}]")] = True
_IN_NUMBERS: Numbers = _IS_DIGIT | (np.arange(256) == COMMA)
_PARTS: Numbers = np.zeros(256, bool)
_PARTS[list(b",:")] = True


def _signs(side: int) -> bytes:
    """For each byte, the pairs (a bit each) in which it stands at this side."""
    signs = [sum(1 << number for number, pair in enumerate(PAIRS) if byte in pair[side]) for byte in range(256)]
    return bytes(signs)


_FIRST, _SECOND = _signs(0), _signs(1)


@dataclass(frozen=True)
class Tokens:
    """Where the values behind a name begin in a block, and of which kind each is; where odd pairs of bytes stand."""

    at: Numbers
    kind: Numbers
    odd: Numbers

    def totals(self) -> Numbers:
        """Values by kind."""
        return np.bincount(self.kind, minlength=KINDS)

    def by_row(self, starts: Numbers) -> Numbers:
        """Values by row and kind, shape (rows, KINDS)."""
        rows = np.searchsorted(starts, self.at, "right") - 1
        counts: Numbers = np.bincount(rows * KINDS + self.kind, minlength=len(starts) * KINDS)
        return counts.reshape(-1, KINDS)


def scan(data: Numbers, starts: Numbers) -> Tokens:
    """The values behind a name in some rows' bytes (uint8), which stand one behind the other from their `starts`."""
    # bytes.translate and one comparison of all pairs: three times as fast as a look-up for each pair.
    raw, last = data.tobytes(), len(data) - 1
    first, second = (np.frombuffer(raw.translate(signs), np.uint8) for signs in (_FIRST, _SECOND))
    found = first[:-1] & second[1:]
    at = np.flatnonzero(found != 0)
    sign = found[at]
    is_name_end = sign == NAME_END
    ends, at, sign = at[is_name_end], at[~is_name_end], sign[~is_name_end]
    is_text = (sign == SPACE_AFTER) & (data[at - 1] == BACKSLASH)
    is_text |= (sign == SPACE_BEFORE) & _PARTS[data[at - 1]]
    is_text |= (sign == QUOTE_AFTER) & _ENDS_VALUE[data[np.minimum(at + 2, last)]] & (data[at] != QUOTE)
    is_text |= np.isin(at + 1, starts)  # from one row to the next
    ends = ends[data[ends - 1] != BACKSLASH]
    values = ends + 2
    values += data[values] == SPACE
    return Tokens(values, _KIND[data[values]], at[~is_text])


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
    is_strange |= alive | ~_ENDS_VALUE[data[end]] | (has_point & (places < 1))
    is_inexact = has_point & ((places > PLACES) | (data[end - 1] == ZERO))
    return at[is_strange], at[is_inexact & ~is_strange]


def strange_places(data: Numbers, tokens: Tokens) -> Numbers:
    """Where a reader is more lenient than JSON: odd pairs, control characters, booleans and lists that end badly."""
    controls = np.flatnonzero(data < SPACE) if np.count_nonzero(data < SPACE) else np.zeros(0, np.int64)
    last = len(data) - 1
    booleans = tokens.at[tokens.kind == BOOLEAN]
    after = np.minimum(booleans + np.where(data[booleans] == TRUE, len("true"), len("false")), last)
    lists = tokens.at[tokens.kind == LIST]
    first = data[np.minimum(lists + 1, last)]
    of_numbers = lists[(_KIND[first] == NUMBER) | (first == SPACE)]
    end = of_numbers + 1
    alive: Numbers = np.ones(len(end), bool)
    for _ in range(LONGEST_LIST):
        alive &= _IN_NUMBERS[data[end]]
        if not alive.any():
            break
        end = np.minimum(end + alive, last)
    badly_ended = [booleans[~_ENDS_VALUE[data[after]]], of_numbers[alive | (data[end] != LIST_END)]]
    return np.concatenate([tokens.odd, controls, *badly_ended])


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
