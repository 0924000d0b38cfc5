"""Reading gold without a JVM: DuckDB over the Delta tables."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

from cohortlake.core.errors import UsageError
from cohortlake.core.lake import Lake


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


def connect(lake: Lake, sql: str = "") -> Any:
    """A DuckDB connection with a view for each curated table (with `sql`: for those it names); it only reads."""
    names = tables(lake)
    if not names:
        raise UsageError(
            f"there are no curated tables in {lake.root}", "Make them with `cohortlake run`, or name a --lake."
        )
    connection = delta_connection()
    for name in names:
        if not sql or re.search(rf"\b{re.escape(name)}\b", sql, re.IGNORECASE):
            scan = f"delta_scan('{str(lake.gold(name)).replace(chr(39), chr(39) * 2)}')"
            connection.execute(f'CREATE VIEW "{name}" AS FROM {scan}')
    return connection
