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


def _beside(lake: Lake, *, is_phi: bool) -> dict[str, Path]:
    """Tables that are asked for beside gold: counts for all and, with `is_phi`, the codes that they count."""
    found = {"unmapped_code_counts": lake.ops("unmapped_code_counts")}
    if is_phi:
        found["unmapped_codes"] = lake.unmapped_codes
    return {name: path for name, path in found.items() if (path / "_delta_log").is_dir()}


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


def connect(lake: Lake, sql: str = "", at: AsOf | None = None, *, is_phi: bool = False) -> Any:
    """A DuckDB connection with a view for each curated table (with `sql`: for those it names); it only reads.

    Beside gold stands `unmapped_code_counts`, and, with `is_phi`, `unmapped_codes` of the phi zone. With `at` the views
    show what was live then. Raises UsageError where a table cannot be read so.
    """
    places = {name: lake.gold(name) for name in tables(lake)} | _beside(lake, is_phi=is_phi)
    if not places:
        raise UsageError(
            f"there are no curated tables in {lake.root}", "Make them with `cohortlake run`, or name a --lake."
        )
    connection = delta_connection()
    for name, place in places.items():
        if not sql or re.search(rf"\b{re.escape(name)}\b", sql, re.IGNORECASE):
            found = scan(connection, place, at)
            connection.execute(f"CREATE VIEW {identifier(name)} AS FROM {found}")
    return connection
