"""PostgreSQL's SQL for reading a table as text: the values as FHIR and our mappings write them.

Times become ISO 8601 in UTC where their zone is known, and stay without one where it is not. The rest is PostgreSQL's
own text, with the settings of `SETTINGS`.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

# In each session, so that no server's or user's own settings change what is read.
SETTINGS = (
    "SET LOCAL TimeZone = 'UTC'", "SET LOCAL DateStyle = 'ISO, YMD'", "SET LOCAL IntervalStyle = 'iso_8601'",
    "SET LOCAL bytea_output = 'hex'", "SET LOCAL extra_float_digits = 1",
)  # fmt: skip
INSTANT, LOCAL, DATE = "timestamp with time zone", "timestamp without time zone", "date"
WHOLE = ("smallint", "integer", "bigint", "numeric")
# to_char has no word for years before 1, and none for infinity.
PLAIN = "isfinite({0}) AND {0} >= '0001-01-01'"
TO_SECONDS = """regexp_replace(to_char({0}, 'YYYY-MM-DD"T"HH24:MI:SS.US'), '\\.?0+$', '')"""


class UnreadableTableError(ValueError):
    """The table is not as the silo's declaration has it; the message says how."""


@dataclass(frozen=True)
class Column:
    """A column of a table: `name` in the database, `type` in the words of information_schema."""

    name: str
    type: str


@dataclass(frozen=True)
class Reading:
    """How a feed is read: `columns` maps the feed's names to the table's columns, `key` are feed's names.

    `table` is schema and name. `unread` are the table's columns that no one asked for.
    """

    feed: str
    table: tuple[str, str]
    columns: dict[str, Column]
    key: tuple[str, ...]
    watermark: Column | None
    unread: tuple[str, ...]


def quoted(name: str) -> str:
    """An identifier as it stands in SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text constant as it stands in SQL (standard_conforming_strings, PostgreSQL's default since 9.1)."""
    return "'" + text.replace("'", "''") + "'"


def find(name: str, columns: Sequence[Column]) -> Column | None:
    """The column of this name; case counts only where two names differ by nothing else."""
    exact = [column for column in columns if column.name == name]
    alike = exact or [column for column in columns if column.name.lower() == name.lower()]
    return alike[0] if len(alike) == 1 else None


def plan_reading(
    feed: str, table: tuple[str, str], found: Sequence[Column], *,
    columns: Sequence[str], optional: Sequence[str], key: Sequence[str], watermark: str | None,
) -> Reading:  # fmt: skip
    """How to read a feed from a table that has the columns `found`.

    Raises UnreadableTableError for a declared column that is not there.
    """
    matched = {name: column for name in (*columns, *optional) if (column := find(name, found))}
    mark = find(watermark, found) if watermark else None
    missing = [name for name in columns if name not in matched]
    missing += [name for name in key if name not in matched and name not in missing]
    if watermark and mark is None:
        missing.append(f"{watermark} (the watermark)")
    used = {column.name for column in matched.values()} | ({mark.name} if mark else set())
    unread = tuple(column.name for column in found if column.name not in used)
    if missing:
        raise UnreadableTableError(
            f"table {'.'.join(table)} has no column {', '.join(missing)}"
            + (f"; it has, besides what is read, {', '.join(unread)}" if unread else "")
        )
    if mark and mark.type not in (INSTANT, LOCAL, DATE, *WHOLE):
        raise UnreadableTableError(
            f"the watermark {mark.name} of table {'.'.join(table)} is of type {mark.type}: a time, a date or a number "
            "is needed"
        )
    return Reading(feed, table, matched, tuple(key), mark, unread)


def as_text(column: Column, zone: str | None) -> str:
    """A column's value as text."""
    name = quoted(column.name)
    if column.type == INSTANT:
        written = TO_SECONDS.format(f"{name} AT TIME ZONE 'UTC'") + " || 'Z'"
    elif column.type == LOCAL and zone:
        written = TO_SECONDS.format(f"({name} AT TIME ZONE {literal(zone)}) AT TIME ZONE 'UTC'") + " || 'Z'"
    elif column.type == LOCAL:
        written = TO_SECONDS.format(name)
    else:
        return f"{name}::text"
    return f"CASE WHEN {PLAIN.format(name)} THEN {written} ELSE {name}::text END"


def select(reading: Reading, zone: str | None, names: Sequence[str], where: str = "TRUE") -> str:
    """Read columns, by the feed's names, as text; they come out as c0, c1, … in their order."""
    listed = ", ".join(f"{as_text(reading.columns[name], zone)} AS c{at}" for at, name in enumerate(names))
    schema, table = reading.table
    return f"SELECT {listed} FROM {quoted(schema)}.{quoted(table)} WHERE {where}"  # noqa: S608 (quoted above)


def newest_mark(reading: Reading, zone: str | None) -> str:
    """Ask for the newest watermark, as text. One that lies ahead of the clock is not taken for it.

    A row that bears next year's date by mistake would else hide every change until then.
    """
    if reading.watermark is None:
        raise UnreadableTableError(f"feed {reading.feed} has no watermark")
    name, kind = quoted(reading.watermark.name), reading.watermark.type
    now = {INSTANT: "now()", LOCAL: f"now() AT TIME ZONE {literal(zone or 'UTC')}"}.get(kind)
    now = f"(now() AT TIME ZONE {literal(zone or 'UTC')})::date" if kind == DATE else now
    newest = f"max({name})" if now is None else f"least(max({name}), {now})"
    schema, table = reading.table
    return f"SELECT ({newest})::text FROM {quoted(schema)}.{quoted(table)}"  # noqa: S608 (quoted above)


def changed_since(reading: Reading, mark: str, overlap: datetime.timedelta) -> str:
    """The condition for rows that may have changed since a watermark: those at it, and those without one, too."""
    if reading.watermark is None:
        raise UnreadableTableError(f"feed {reading.feed} has no watermark")
    name, kind = quoted(reading.watermark.name), reading.watermark.type
    since = f"{literal(mark)}::{kind}"
    if kind not in WHOLE:
        since = f"({since} - interval '{overlap.total_seconds():.0f} seconds')::{kind}"
    return f"({name} >= {since} OR {name} IS NULL)"


def ranges(pages: int, count: int) -> list[str]:
    """Conditions that divide a table by its pages, for so many connections; the last one has no end."""
    step = -(-pages // count)
    starts = list(range(0, pages, step)) if pages else [0]
    return [
        f"ctid >= '({start},0)'" + (f" AND ctid < '({start + step},0)'" if start != starts[-1] else "")
        for start in starts
    ]
