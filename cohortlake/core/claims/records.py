"""Files to records: all lines of one claim, or one line where a line is the record."""

from __future__ import annotations

from collections.abc import Iterator

from cohortlake.core.claims.declared import Claims
from cohortlake.core.claims.layout import Layout, NoLayoutError, layout_of
from cohortlake.core.convert import Problem, Record
from cohortlake.core.readers.delimited import NotATableError, Row, Table, WidthError, read


def records(data: bytes, declared: Claims) -> Iterator[Record]:
    """The records of a file in the order of their first lines; a payload is the header and the record's lines."""
    try:
        table = read(data)
        if table is None:
            return
        layout = layout_of(table.columns, declared)
    except (NotATableError, NoLayoutError) as error:
        yield Record(0, data, Problem(str(error), "header"))
        return
    groups: dict[tuple[str, ...] | int, list[Row]] = {}
    problems: dict[tuple[str, ...] | int, Problem] = {}
    for row in table.rows(data):
        key, problem = _key(row, table, layout)
        groups.setdefault(key, []).append(row)
        if problem:
            problems.setdefault(key, problem)
    for key, rows in groups.items():
        yield Record(rows[0].offset, _payload(table, rows), problems.get(key))


def _key(row: Row, table: Table, layout: Layout) -> tuple[tuple[str, ...] | int, Problem | None]:
    """What a row's record is known by, and what is wrong with the row.

    A row of the wrong width holds back the whole claim, where its place for the claim's id has one: a claim that lacks
    a line would be wrong.
    """
    problem = None
    try:
        cells = row.cells(table.delimiter, len(table.columns))
    except NotATableError as error:
        cells = error.cells if isinstance(error, WidthError) else []
        problem = Problem(f"a row that is not as it should be: {error}", f"line {row.line}")
    places = [place for name in layout.kind.key if (place := layout.place(name)) is not None]
    key = tuple(cells[place] for place in places if place < len(cells))
    if places and len(key) == len(places) and key[0]:
        return key, problem
    if places and problem is None:
        problem = Problem(f"{layout.kind.key[0]} is empty", f"line {row.line}")
    return row.offset, problem


def _payload(table: Table, rows: list[Row]) -> bytes:
    ended = [row.raw if row.raw.endswith((b"\n", b"\r")) else row.raw + b"\n" for row in rows[:-1]]
    return b"".join([table.header, b"\n", *ended, rows[-1].raw])
