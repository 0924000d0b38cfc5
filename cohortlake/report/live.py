"""What is live in the lake when the report is written: rows by table, counted by DuckDB (it knows deletion vectors)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from cohortlake.core import gold
from cohortlake.core.errors import UsageError
from cohortlake.core.lake import Lake

TABLE = "SELECT '', count(*) FROM delta_scan(?)"
BY_SILO = "SELECT silo, count(*) FROM delta_scan(?) GROUP BY silo"


@dataclass(frozen=True)
class Live:
    """Rows of gold by table, of silver by silo and resource type; empty where they cannot be read."""

    gold: dict[str, int] = field(default_factory=dict)
    silver: dict[str, dict[str, int]] = field(default_factory=dict)


def read_live(lake: Lake) -> Live:
    """Count what is live. A table that cannot be read is left out."""
    try:
        connection = gold.delta_connection()
    except (UsageError, duckdb.Error):
        return Live()
    with connection:
        tables = {name: _rows(connection, TABLE, lake.gold(name)) for name in gold.tables(lake)}
        silver: dict[str, dict[str, int]] = {}
        for log in sorted(lake.silver("_").parent.glob("*/_delta_log")):
            for silo, rows in _rows(connection, BY_SILO, log.parent).items():
                silver.setdefault(silo, {})[log.parent.name] = rows
    return Live({name: sum(rows.values()) for name, rows in tables.items()}, silver)


def _rows(connection: duckdb.DuckDBPyConnection, sql: str, table: Path) -> dict[str, int]:
    """A table's rows by name; none where it cannot be read."""
    try:
        found = connection.execute(sql, [str(table)]).fetchall()
    except duckdb.Error:
        return {}
    return {str(name): int(rows) for name, rows in found}
