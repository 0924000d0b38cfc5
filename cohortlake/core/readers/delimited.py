"""Delimited text (CSV, pipe, tab) from bytes: a header line and rows with their places, whatever the line ends.

Quoting is that of RFC 4180, read with patience: a quoted field may hold line breaks, but a quote that is never closed
harms its own line only, and a quote within a field is a character like others.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass

from cohortlake.core.readers.csv_text import rows_of

BOM = b"\xef\xbb\xbf"
DELIMITERS = "|,\t;"
# A quoted field may hold line breaks; more than this many lines is a quote that was never closed.
MAX_LINES = 100
LINE = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n)?")


class NotATableError(ValueError):
    """The bytes are no delimited text that can be read. The message says why."""


class WidthError(NotATableError):
    """A row has more or fewer fields than the header; `cells` are those that it has."""

    def __init__(self, cells: list[str], width: int) -> None:
        super().__init__(f"{len(cells)} fields where the header has {width}")
        self.cells = cells


@dataclass(frozen=True)
class Row:
    """A row as it came: `raw` are its bytes with the line end, `offset` and `line` (from 1) where it begins."""

    offset: int
    line: int
    raw: bytes

    def cells(self, delimiter: str, width: int) -> list[str]:
        """Its fields, without blanks around them, and without the NULs that pad some files.

        Raises NotATableError where it is not UTF-8, or has not as many fields as the header.
        """
        try:
            text = self.raw.decode("utf-8").replace("\x00", "").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise NotATableError("not UTF-8") from error
        found = split(text, delimiter)
        if len(found) != width and "\\" in text:
            found = escaped(text, delimiter)
        if len(found) != width:
            raise WidthError(found, width)
        return [cell.strip() for cell in found]


@dataclass(frozen=True)
class Table:
    """A header, and the rows below it."""

    header: bytes
    columns: tuple[str, ...]
    delimiter: str
    start: Row

    def rows(self, data: bytes) -> Iterator[Row]:
        """The rows of the file that the table was read from; blank lines are none."""
        width, mark = len(self.columns), self.delimiter
        lines = physical(data, self.start.offset + len(self.start.raw), self.start.line + 1)
        held: list[Row] = []
        while True:
            row = held.pop(0) if held else next(lines, None)
            if row is None:
                return
            if row.raw.count(b'"') % 2:
                row, held = joined(row, held, lines, width, mark)
            if row.raw.strip():
                yield row


def split(text: str, delimiter: str) -> list[str]:
    """The fields of a row."""
    if '"' not in text:
        return text.split(delimiter)
    return quoted(text, delimiter) or text.split(delimiter)


def quoted(text: str, delimiter: str) -> list[str] | None:
    """The fields of a row by the rules of quoting; None where it breaks them."""
    try:
        rows = rows_of(text, delimiter)
    except csv.Error:
        return None
    return rows[0] if len(rows) == 1 else None


def escaped(text: str, delimiter: str) -> list[str]:
    """The fields of a row in which a backslash keeps a delimiter from being one."""
    return [part.replace("\\" + delimiter, delimiter) for part in re.split(rf"(?<!\\){re.escape(delimiter)}", text)]


def physical(data: bytes, offset: int = 0, line: int = 1) -> Iterator[Row]:
    """The lines of a file from a place on, ends included: CRLF, LF or CR."""
    while offset < len(data):
        found = LINE.match(data, offset)
        raw = found[0] if found else b""
        yield Row(offset, line, raw)
        offset += len(raw)
        line += 1


def joined(first: Row, held: list[Row], lines: Iterator[Row], width: int, delimiter: str) -> tuple[Row, list[Row]]:
    """A row whose quoted field goes on over lines, and the lines after it; the line alone where that makes no row."""
    waiting = list(held)
    raw, taken = first.raw, 0
    while raw.count(b'"') % 2 and taken < MAX_LINES:
        if taken == len(waiting):
            more = next(lines, None)
            if more is None:
                break
            waiting.append(more)
        raw += waiting[taken].raw
        taken += 1
    row = Row(first.offset, first.line, raw)
    if raw.count(b'"') % 2 == 0 and _is_row(row, width, delimiter):
        return row, waiting[taken:]
    return first, waiting


def _is_row(row: Row, width: int, delimiter: str) -> bool:
    try:
        text = row.raw.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        return False
    return len(quoted(text, delimiter) or ()) == width


def read(data: bytes) -> Table | None:
    """The table that a file's bytes hold; None for a file without a line. Raises NotATableError."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise NotATableError("the file is UTF-16; UTF-8 is expected")
    start = next((row for row in physical(data) if row.raw.removeprefix(BOM).strip()), None)
    if start is None:
        return None
    header = start.raw.removeprefix(BOM).rstrip(b"\r\n")
    try:
        text = header.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotATableError("the header is not UTF-8") from error
    delimiter = max(DELIMITERS, key=text.count)
    columns = tuple(name.strip() for name in split(text, delimiter))
    return Table(header, columns, delimiter, start)
