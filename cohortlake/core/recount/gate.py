"""The recount of a gate: each staged row passed or was refused, and each that was refused is in quarantine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cohortlake.core.recount.finding import Finding
from cohortlake.core.recount.tally import parquet, tally_of
from cohortlake.core.sql import identifier, literal

PLACE = ("_file_hash", "_offset", "id")
HELD = "refused"


def recount_gate(
    connection: Any, table: str, staged: Sequence[Path], refused: Path | None, failed: Mapping[str, int]
) -> Finding:
    """Count a silo's gate for one table. `failed` says how many rows each check judged to be refused, by its name.

    The connection has the table `quarantine` (file_hash, offset, resource_type, resource_id) of records that are held.
    """
    place = ", ".join(map(identifier, PLACE))
    connection.execute(f"CREATE OR REPLACE TEMP TABLE staged AS SELECT {place} FROM {parquet(staged)}")
    source = f"SELECT {place}, checks FROM {parquet([refused])}" if refused else None
    none = "SELECT '' AS _file_hash, 0::BIGINT AS _offset, '' AS id, []::VARCHAR[] AS checks WHERE false"
    connection.execute(f"CREATE OR REPLACE TEMP TABLE refused AS {source or none}")
    same = " AND ".join(f"r.{name} IS NOT DISTINCT FROM s.{name}" for name in PLACE)
    passed = f"(SELECT s.* FROM staged s WHERE NOT EXISTS (SELECT 1 FROM refused r WHERE {same}))"
    held = f"(SELECT s.* FROM staged s WHERE EXISTS (SELECT 1 FROM refused r WHERE {same}))"
    key = f"hash({place})"
    must, out, kept = (tally_of(connection, of, key) for of in ("staged", passed, held))
    listed = tally_of(connection, "refused", key)
    found = Finding("staged → gated", table, must.rows, out.rows, {HELD: listed.rows}, must, out + listed)
    if kept != listed:
        found.problems.append(f"{listed.rows:,} rows are refused, {kept.rows:,} of them are staged")
    lacking = _one(
        connection,
        f"""SELECT count(*) FROM refused r WHERE NOT EXISTS (SELECT 1 FROM quarantine q
        WHERE q.file_hash = r._file_hash AND q."offset" = r._offset AND q.resource_type = {literal(table)}
          AND coalesce(q.resource_id, '') = coalesce(r.id, ''))""",
    )
    if lacking:
        found.problems.append(f"{lacking:,} refused rows are not in quarantine")
    for name, rows in failed.items():
        of_check = _one(connection, f"SELECT count(*) FROM refused WHERE list_contains(checks, {literal(name)})")
        if of_check != rows:
            found.problems.append(f"“{name}” failed for {rows:,} rows, of which {of_check:,} are refused")
    return found


def _one(connection: Any, sql: str) -> int:
    return int(connection.execute(sql).fetchone()[0])
