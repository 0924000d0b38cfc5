"""Completeness in the report: a matrix silo by column for each table of gold, what is hollow first; this run's finds.

It is read from `ops/completeness`, which holds counts, reason codes and declared names.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import duckdb

from cohortlake.core.completeness.kept import FINDINGS, Judged, newest, read_kept
from cohortlake.core.errors import UsageError
from cohortlake.core.lake import Lake
from cohortlake.core.sql import literal
from cohortlake.report.words import count, share

# A share of at least so many percent, and the class of the cell that shows it; colours are the style sheet's.
LEVELS = ((100.0, "all"), (90.0, "most"), (50.0, "half"))


@dataclass(frozen=True)
class Heat:
    """One cell of the matrix: the number it shows, its class, a mark where it is hollow, and the whole in words."""

    number: str
    level: str
    mark: str
    told: str


@dataclass(frozen=True)
class Line:
    """A column of a table, a cell a silo: `finding` is the gravest of the cells, `least` the lowest share (percent)."""

    column: str
    needed_by: str
    finding: str
    cells: tuple[Heat | None, ...]
    least: float


@dataclass(frozen=True)
class Matrix:
    """A table of gold: the silos that have rows in it, its columns with the hollow ones first."""

    table: str
    silos: tuple[str, ...]
    lines: tuple[Line, ...]
    hollow: int
    gaps: int


@dataclass(frozen=True)
class Completeness:
    """Gold's matrix as of its last profile, and what is hollow: in it, and in the deliveries of this run."""

    at: datetime.datetime | None = None
    tables: tuple[Matrix, ...] = ()
    hollow: tuple[Judged, ...] = ()
    delivered: tuple[Judged, ...] = ()


def read_completeness(lake: Lake, run_id: str) -> Completeness:
    """The kept profile; empty where there is none, or it cannot be read."""
    try:
        gold = newest(read_kept(lake, "zone = 'gold'"))
        delivered = read_kept(lake, f"zone = 'delivery' AND run_id = {literal(run_id)}")
    except (UsageError, duckdb.Error):
        return Completeness()
    judged = [one.judged for one in gold]
    return Completeness(
        at=gold[-1].at if gold else None,
        tables=tuple(sorted(_matrices(judged), key=lambda one: (-one.hollow, -one.gaps, one.table))),
        hollow=tuple(one for one in judged if one.is_hollow),
        delivered=tuple(one.judged for one in delivered if one.judged.is_hollow),
    )


def _matrices(judged: Iterable[Judged]) -> Iterable[Matrix]:
    by_table: dict[str, list[Judged]] = {}
    for one in judged:
        by_table.setdefault(one.cell.table, []).append(one)
    for table, found in by_table.items():
        silos = tuple(sorted({one.cell.silo for one in found}))
        by_column: dict[str, dict[str, Judged]] = {}
        for one in found:
            by_column.setdefault(one.cell.column, {})[one.cell.silo] = one
        lines = [_line(column, silos, cells) for column, cells in by_column.items()]
        lines.sort(key=lambda line: (FINDINGS.index(line.finding), line.least))
        gaps = sum(one.finding == "known gap" for one in found)
        yield Matrix(table, silos, tuple(lines), sum(one.is_hollow for one in found) - gaps, gaps)


def _line(column: str, silos: Sequence[str], cells: dict[str, Judged]) -> Line:
    gravest = min((one.finding for one in cells.values()), key=FINDINGS.index)
    needed = next((one.needed_by for one in cells.values() if one.needed_by), "")
    least = min(one.cell.known_percent for one in cells.values())
    shown = tuple(heat(cells[silo]) if silo in cells else None for silo in silos)
    return Line(column, needed, gravest, shown, least)


def heat(one: Judged) -> Heat:
    """A cell as it is shown: whole percent, of which neither 0 nor 100 is rounded to."""
    cell = one.cell
    percent = cell.known_percent
    level = next((name for least, name in LEVELS if percent >= least), "some" if cell.known else "none")
    number = f"{percent:.0f}"
    if cell.known and number == "0":
        number = "<1"
    elif percent < 100 and number == "100":
        number = ">99"
    mark = "" if not one.is_hollow else "○" if one.finding == "known gap" else "✗"
    parts = [f"{cell.silo}: {share(percent)} of {count(cell.rows)} rows known"]
    parts += [f"absent: {reason} {count(rows)}" for reason, rows in cell.absent.items()]
    parts += [f"null {count(cell.nulls)}"] if cell.nulls else []
    parts += (
        [f"{share(cell.mapped_percent)} of codes in the expected system"] if cell.mapped_percent is not None else []
    )
    parts += [f"{count(cell.distinct)} different codes"] if cell.distinct else []
    parts += [one.finding] if one.finding else []
    parts += [one.known_gap] if one.known_gap else []
    return Heat(number, level, mark, "; ".join(parts))
