"""The recount of CSV records against what they were parsed to: each record's fields, read by Python's csv module."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from cohortlake.core.recount.tally import Tally, tally_of
from cohortlake.core.sql import identifier


def fields(payloads: Sequence[str], header: str) -> list[dict[str, str | None] | None]:
    """The fields of each record by the header's names, empty ones null; None for a record that has others."""
    csv.field_size_limit(sys.maxsize)
    names = next(csv.reader(io.StringIO(header, newline="")), [])
    whole = _all_at_once(payloads, len(names))
    rows = whole if whole is not None else [_one(payload) for payload in payloads]
    return [
        {name: value or None for name, value in zip(names, row, strict=True)} if len(row) == len(names) else None
        for row in rows
    ]


def _all_at_once(payloads: Sequence[str], width: int) -> list[list[str]] | None:
    """The fields of all records, read as one text; None where that is not a row a record."""
    try:
        rows = list(csv.reader(io.StringIO("\n".join(payloads), newline=""), strict=True))
    except csv.Error:
        return None
    is_even = len(rows) == len(payloads) and all(len(row) == width for row in rows)
    return rows if is_even else None


def _one(payload: str) -> list[str]:
    try:
        rows = list(csv.reader(io.StringIO(payload, newline=""), strict=True))
    except csv.Error:
        return []
    return rows[0] if len(rows) == 1 else []


def recount_parsed(
    connection: Any, records: pa.Table, columns: Sequence[str], nulls: Sequence[str]
) -> tuple[Tally, Tally, int]:
    """What must be parsed and what is, as tallies over all columns and places; and the records that were rejected.

    `records` are those of a part of bronze (file, file_hash, offset, header, payload); the connection has the tables
    `parsed` (`columns`, _file, _file_hash, _offset) and `rejected` (_file_hash, _offset). `nulls` are texts that mean
    nothing. A record's number within its file (`_row`) is not counted again.
    """
    read: list[pa.Table] = []
    for header in records["header"].unique().to_pylist():
        of = records.filter(pa.compute.equal(records["header"], header))
        rows = fields(of["payload"].to_pylist(), header or "")
        made = {name: pa.array([row and _value(row.get(name), nulls) for row in rows], pa.string()) for name in columns}
        made |= {f"_{name}": of[name].combine_chunks() for name in ("file", "file_hash", "offset")}
        read.append(pa.table(made))
    place = ["_file", "_file_hash", "_offset"]
    schema = pa.schema([(name, pa.int64() if name == "_offset" else pa.string()) for name in (*columns, *place)])
    connection.register("read", pa.concat_tables([table.cast(schema) for table in read] or [schema.empty_table()]))
    hashed = f"hash({', '.join(identifier(name) for name in [*place, *columns])})"
    rejected = "SEMI JOIN rejected x ON r._file_hash = x._file_hash AND r._offset = x._offset"
    taken = rejected.replace("SEMI", "ANTI")
    must = tally_of(connection, f"(SELECT r.* FROM read r {taken})", hashed)
    does = tally_of(connection, "parsed", hashed)
    count = connection.execute(f"SELECT count(*) FROM read r {rejected}").fetchone()[0]
    return must, does, int(count)


def _value(text: str | None, nulls: Sequence[str]) -> str | None:
    return None if text in nulls else text
