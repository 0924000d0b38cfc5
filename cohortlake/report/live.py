"""What is live in the lake when the report is written: rows by table, counted by DuckDB (it knows deletion vectors)."""

from __future__ import annotations

from dataclasses import dataclass, field

import duckdb

from cohortlake.core import gold
from cohortlake.core.errors import UsageError
from cohortlake.core.lake import Lake


@dataclass(frozen=True)
class Live:
    """Rows of gold by table, of silver by silo and resource type; empty where they cannot be read."""

    gold: dict[str, int] = field(default_factory=dict)
    silver: dict[str, dict[str, int]] = field(default_factory=dict)


def read_live(lake: Lake) -> Live:
    """Count what is live. A lake without curated tables gives nothing."""
    try:
        connection = gold.connect(lake)
    except (UsageError, duckdb.Error):
        return Live()
    with connection:
        tables: dict[str, int] = {}
        for name in gold.tables(lake):
            counted = _ask(connection, f'SELECT \'\', count(*) FROM "{name}"')
            tables |= {name: rows for _, rows in counted}
        silver: dict[str, dict[str, int]] = {}
        for path in sorted(lake.silver("_").parent.glob("*/_delta_log")):
            place = str(path.parent).replace("'", "''")
            for silo, rows in _ask(connection, f"SELECT silo, count(*) FROM delta_scan('{place}') GROUP BY silo"):
                silver.setdefault(str(silo), {})[path.parent.name] = rows
    return Live(tables, silver)


def _ask(connection: duckdb.DuckDBPyConnection, sql: str) -> list[tuple[str, int]]:
    """The answer's rows; none where the table cannot be read, for example since it has no version yet."""
    try:
        return [(str(name), int(rows)) for name, rows in connection.sql(sql).fetchall()]
    except duckdb.Error:
        return []
