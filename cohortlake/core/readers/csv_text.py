"""CSV text to fields, by the standard library, in one place: a field may be as long as a note is."""

from __future__ import annotations

import csv
import io
import sys


def rows_of(text: str, delimiter: str = ",") -> list[list[str]]:
    """The rows of a text, each its fields. Raises csv.Error where quotes do not close or text follows a closing one."""
    # The library's limit (128 kB) is one for the process, so it is lifted wherever fields are read, not somewhere once.
    csv.field_size_limit(sys.maxsize)
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))


def csv_header(line: str) -> list[str]:
    """The column names of a header line, whose quotes may be as they like."""
    csv.field_size_limit(sys.maxsize)
    return next(csv.reader([line]), [])
