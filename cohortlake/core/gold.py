"""Reading gold without a JVM: DuckDB over the Delta tables."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

from cohortlake.core.errors import UsageError
from cohortlake.core.history import AsOf, check_files, version_at
from cohortlake.core.lake import Lake
from cohortlake.core.sql import identifier, literal


def tables(lake: Lake) -> list[str]:
    """The curated tables that the lake holds."""
    return sorted(
        path.parent.name for path in (lake.root / "research/gold").glob("*/_delta_log") if any(path.glob("*.json"))
    )


def _extension() -> Path:
    spec = importlib.util.find_spec("duckdb_extension_delta")
    found = list(Path(str(spec.origin)).parent.rglob("delta.duckdb_extension")) if spec else []
    if not found:
        raise UsageError("DuckDB's delta extension is not installed", "Run `make setup`.")
    return found[0]


def delta_connection() -> Any:
    """A DuckDB connection that reads Delta tables (`delta_scan`); nothing is downloaded."""
    import duckdb

    connection = duckdb.connect(config={"autoinstall_known_extensions": "false"})
    connection.execute(f"LOAD '{_extension()}'")
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def scan(connection: Any, table: Path, at: AsOf | None = None) -> str:
    """The SQL that reads a table, live or as of a version or time. Raises UsageError where that cannot be read."""
    if at is None:
        return f"delta_scan({literal(table)})"
    version = version_at(table, at)
    files = connection.sql(f"SELECT data_file FROM delta_list_files({literal(table)}, version={version})")  # noqa: S608
    check_files(table, version, [file for (file,) in files.fetchall()])
    return f"delta_scan({literal(table)}, version={version})"


def connect(lake: Lake, sql: str = "", at: AsOf | None = None) -> Any:
    """A DuckDB connection with a view for each curated table (with `sql`: for those it names); it only reads.

    With `at` the views show what was live then. Raises UsageError where a table cannot be read so.
    """
    names = tables(lake)
    if not names:
        raise UsageError(
            f"there are no curated tables in {lake.root}", "Make them with `cohortlake run`, or name a --lake."
        )
    connection = delta_connection()
    for name in names:
        if not sql or re.search(rf"\b{re.escape(name)}\b", sql, re.IGNORECASE):
            found = scan(connection, lake.gold(name), at)
            connection.execute(f"CREATE VIEW {identifier(name)} AS FROM {found}")
    return connection
