"""Running the plan in tests, and looking at what it left."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cohortlake.core.gold import delta_connection
from cohortlake.core.lake import Lake
from cohortlake.plan import Step
from cohortlake.run import run_plan

LINEAGE = ("_version", "_file_hash", "_offset")


def ingest_only(step: Step) -> bool:
    return step.stage == "ingest"


def run(lake: Path, data: Path, only: Callable[[Step], bool] = ingest_only, **options: Any) -> dict[str, Any]:
    """Run (parts of) the plan; gives the records of its steps by name."""
    run_id = run_plan(lake=lake, data=data, only=only, **options)
    return records(lake, run_id)


def records(lake: Path, run_id: str | None = None) -> dict[str, Any]:
    """The step records of a run, the newest if none is named."""
    runs = Lake(lake).runs
    folder = runs / (run_id or max(path.name for path in runs.iterdir()))
    found = (json.loads(path.read_text()) for path in sorted((folder / "steps").glob("*.json")))
    return {record["step"]: record for record in found}


def query(lake: Path, table: str, sql: str) -> list[tuple[Any, ...]]:
    """Ask DuckDB about one table of the lake, called `t`: `phi/silver/Patient`."""
    connection = delta_connection()
    connection.execute(f"CREATE VIEW t AS SELECT * FROM delta_scan('{lake / table}')")
    return connection.sql(sql).fetchall()


def content(lake: Path, room: str = "phi/silver") -> dict[str, tuple[int, str]]:
    """Each table's rows and a hash of all they say; where a row was read from is not what it says."""
    found = {}
    for path in sorted((lake / room).glob("*/_delta_log")):
        table = f"{room}/{path.parent.name}"
        columns = [row[0] for row in query(lake, table, "DESCRIBE t")]
        kept = ", ".join(f'"{name}"' for name in columns if name not in LINEAGE)
        rows = query(lake, table, f"SELECT to_json(struct_pack({kept.replace(', ', ', ')})) AS r FROM t ORDER BY r")
        digest = hashlib.sha256("\n".join(row[0] for row in rows).encode()).hexdigest()
        if rows:
            found[path.parent.name] = (len(rows), digest)
    return found


def held(lake: Path) -> list[dict[str, Any]]:
    """The open rows of quarantine."""
    from spark_jobs import delta, quarantine

    found = delta.rows(Lake(lake).quarantine)
    return [] if found is None else [row for row in found.to_pylist() if row["status"] == quarantine.OPEN]


def reasons(lake: Path) -> dict[str, int]:
    """Open rows of quarantine by reason."""
    counts: dict[str, int] = {}
    for row in held(lake):
        for reason in row["reasons"]:
            counts[reason] = counts.get(reason, 0) + 1
    return counts


def is_balanced(found: dict[str, Any]) -> bool:
    """Whether every book of a run's steps balances."""
    classes = ("rows_out", "quarantined", "superseded", "deleted", "not_mapped", "left_out")
    return all(
        book["rows_in"] == sum(book[name] for name in classes) and book["digest_in"] == book["digest_out"]
        for record in found.values()
        for book in record["books"]
    )
