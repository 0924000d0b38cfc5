"""The kept profile: `LAKE/ops/completeness`, a row a cell and run. Counts, reason codes and declared names only."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from cohortlake.core.completeness.cells import Cell
from cohortlake.core.gold import delta_connection
from cohortlake.core.lake import Lake
from cohortlake.core.sql import literal

# What is wrong with a cell, gravest first.
Finding = Literal["empty", "collapsed", "below its floor", "known gap", "gap is closed", ""]
FINDINGS: tuple[Finding, ...] = ("empty", "collapsed", "below its floor", "known gap", "gap is closed", "")
HOLLOW: frozenset[Finding] = frozenset({"empty", "collapsed", "below its floor", "known gap"})


@dataclass(frozen=True)
class Judged:
    """A cell and what was found of it: `severity` is empty where nothing was, `needed_by` says who needs the column.

    `floor_percent` is what was asked of it: a declared floor, that of a need, or what earlier runs let expect.
    `is_declared` where the silo's protocol names it.
    """

    cell: Cell
    finding: Finding = ""
    severity: str = ""
    floor_percent: float | None = None
    needed_by: str = ""
    known_gap: str = ""
    is_declared: bool = False

    @property
    def is_hollow(self) -> bool:
        """Whether the column lacks what it should hold, be that a declared gap or not."""
        return self.finding in HOLLOW


@dataclass(frozen=True)
class Kept:
    """A judged cell as it was kept: by which run, when, of which delivery, and whether its gate let it pass."""

    judged: Judged
    run_id: str
    at: datetime.datetime
    batch: str
    is_passed: bool


COLUMNS = (
    "run_id", "at", "zone", "silo", "batch", "is_passed", "table", "column", "rows", "present", "absent", "nulls",
    "distinct", "coded", "mapped", "finding", "severity", "floor_percent", "needed_by", "known_gap",
)  # fmt: skip


def as_row(judged: Judged) -> dict[str, Any]:
    """A judged cell as a row of the table, without the columns that say of which run it is."""
    cell = judged.cell
    return {
        "zone": cell.zone, "silo": cell.silo, "table": cell.table, "column": cell.column, "rows": cell.rows,
        "present": cell.present, "absent": list(cell.absent.items()), "nulls": cell.nulls, "distinct": cell.distinct,
        "coded": cell.coded, "mapped": cell.mapped, "finding": judged.finding, "severity": judged.severity,
        "floor_percent": judged.floor_percent, "needed_by": judged.needed_by, "known_gap": judged.known_gap,
    }  # fmt: skip


def read_kept(lake: Lake, where: str = "true", connection: Any = None) -> list[Kept]:
    """The kept cells that a condition in SQL takes, oldest first; none where no profile was kept."""
    table = lake.ops("completeness")
    if not (table / "_delta_log").is_dir():
        return []
    duckdb = connection or delta_connection()
    listed = ", ".join(f'"{name}"' for name in COLUMNS)
    sql = f'SELECT {listed} FROM delta_scan({literal(table)}) WHERE {where} ORDER BY "at", zone, silo, "table"'  # noqa: S608
    return [_kept(dict(zip(COLUMNS, row, strict=True))) for row in duckdb.execute(sql).fetchall()]


def earlier_shares(lake: Lake, where: str, least_rows: int) -> dict[tuple[str, str], list[float]]:
    """The known shares in percent, oldest first, of the profiles that passed, by silo and `table.column`.

    Of those that a condition in SQL takes, and of no fewer than `least_rows` rows.
    """
    table = lake.ops("completeness")
    if not (table / "_delta_log").is_dir():
        return {}
    share = '100 * coalesce(mapped, present) / "rows"'
    sql = (
        f'SELECT silo, "table" || \'.\' || "column", list({share} ORDER BY "at") FROM delta_scan({literal(table)}) '  # noqa: S608
        f'WHERE is_passed AND "rows" >= {int(least_rows)} AND ({where}) GROUP BY ALL'
    )
    return {(silo, name): shares for silo, name, shares in delta_connection().execute(sql).fetchall()}


def _kept(row: dict[str, Any]) -> Kept:
    cell = Cell(
        row["zone"], row["silo"], row["table"], row["column"], row["rows"], row["present"], dict(row["absent"] or {}),
        row["distinct"], row["coded"], row["mapped"],
    )  # fmt: skip
    judged = Judged(cell, row["finding"], row["severity"], row["floor_percent"], row["needed_by"], row["known_gap"])
    return Kept(judged, row["run_id"], row["at"], row["batch"], row["is_passed"])


def newest(kept: Iterable[Kept]) -> list[Kept]:
    """Of cells in the order of time, those of each table's last profile: of gold as a whole, of deliveries a silo."""
    listed = list(kept)
    last = {_whose(one): (one.run_id, one.batch) for one in listed}
    return [one for one in listed if last[_whose(one)] == (one.run_id, one.batch)]


def _whose(one: Kept) -> tuple[str, str, str]:
    cell = one.judged.cell
    # A silo whose rows are gone from gold has no profile there any more.
    return cell.zone, "" if cell.zone == "gold" else cell.table, "" if cell.zone == "gold" else cell.silo
