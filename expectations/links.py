"""Checks across tables: references that resolve, and dates within the patient's life, for all staged tables at once.

Every reference of every staged row is a *claim* on a key, and so is every date of a patient's. Claims meet *targets*,
the keys that are staged or live, in one join: a silo costs one query, not one a reference. Spark's executors write both
as files; DuckDB joins them, which spills to disk where they are larger than memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from cohortlake.core.catalog import Node
from cohortlake.core.checks import PATIENT_ELEMENTS
from cohortlake.core.gold import delta_connection
from cohortlake.core.rules import Check, InLife, Resolves
from cohortlake.core.sql import literal
from expectations.audit import FAILED
from expectations.references import TARGETS, Dated, Reference, extract, target_columns, targets
from spark_jobs import delta
from spark_jobs.context import Context
from spark_jobs.fhir_types import PARTITION
from spark_jobs.parallel import Unit, run_units
from spark_jobs.publish import has_rows
from spark_jobs.staged import PLACE, Staged

# Live rows that are looked at at once.
BATCH = 100_000


@dataclass(frozen=True)
class Claimed:
    """What of a resource type is claimed: its references, and the dates of its patient's."""

    references: tuple[Reference, ...]
    dates: tuple[Dated, ...]


def claimed(checks: Iterable[Check]) -> Claimed:
    """The references and dates that a type's checks judge across tables."""
    references, edges = [], {}
    for check in checks:
        path = tuple(check.element.split("."))
        if isinstance(check.rule, Resolves):
            is_patient = check.element in PATIENT_ELEMENTS
            references.append(Reference(path, check.name, check.rule.targets[0], is_patient))
        elif isinstance(check.rule, InLife):
            edges[path, check.rule.edge] = (check.name, check.rule.days)
    dates = []
    for path in dict.fromkeys(path for path, _ in edges):
        (born, before), (died, after) = edges[path, "birth"], edges[path, "death"]
        dates.append(Dated(path, born, died, before, after))
    return Claimed(tuple(references), tuple(dates))


def claim_units(ctx: Context, staged: Mapping[str, Staged], folder: Path) -> list[Unit]:
    """The tasks that write claims and targets of every staged part, as files below `folder`."""
    return [
        {"table": name, "rows": part.rows, "source": str(ctx.lake.silver(name) / part.path)}
        | {kind: str(folder / kind / f"{name}-{number}.parquet") for kind in ("claims", "targets")}
        for name, table in staged.items()
        for number, part in enumerate(table.parts)
    ]


def claim(unit: Unit, work: Mapping[str, Claimed], resources: Mapping[str, Node]) -> Unit:
    """One of these tasks."""
    of = work[unit["table"]]
    return extract(unit, resources[unit["table"]], of.references, of.dates, set(resources))


class Links:
    """The claims of a silo's staged tables, judged, once their files are written below `folder`.

    `refused` are files of staged patients that fail a check of their own: unless such a patient is live, who refers to
    it refers to nobody. Of other types every staged resource is a target, since a reference to them that does not
    resolve is only a warning. `failing` are the checks that some row of a table fails.
    """

    def __init__(self, ctx: Context, folder: Path, refused: Sequence[str]) -> None:
        self._folder = folder
        self._duckdb = duckdb.connect(config={"temp_directory": str(folder / "spill")})
        self._duckdb.execute("SET TimeZone = 'UTC'")
        self._view("claims", f"FROM read_parquet('{folder}/claims/*.parquet')")
        staged = f"FROM read_parquet('{folder}/targets/*.parquet') t"
        if refused:
            same = " AND ".join(f"t.{name} IS NOT DISTINCT FROM r.{name}" for name in PLACE)
            staged += f" ANTI JOIN read_parquet({list(refused)}) r ON t.\"table\" = 'Patient' AND {same}"
        self._view("found", staged)
        live = _live(ctx, folder / "live", self._claimed_types())
        self._view("live", f"FROM read_parquet('{live}')" if live else "FROM found WHERE false")
        self.duplicates: dict[str, int] = dict(self._rows(DUPLICATES))
        self._duckdb.execute(JUDGED)
        self.failing: dict[str, set[str]] = {}
        for table, check in self._rows('SELECT DISTINCT "table", "check" FROM judged'):
            self.failing.setdefault(table, set()).add(check)
        ((newest,),) = self._rows("SELECT max(first) FROM claims WHERE first <= current_date")
        self.newest: date | None = newest

    def _view(self, name: str, rows: str) -> None:
        self._duckdb.execute(f"CREATE VIEW {name} AS {rows}")

    def _rows(self, sql: str) -> list[tuple[Any, ...]]:
        return self._duckdb.execute(sql).fetchall()

    def _claimed_types(self) -> set[str]:
        """The types that are referred to: no other live table need be read."""
        keys = "SELECT DISTINCT regexp_extract(key, '^[A-Za-z]*') FROM claims"
        return {name for (name,) in self._rows(keys)}

    def failures(self, table: str) -> Path | None:
        """A file of the rows of a table that failed a check across tables: their place, and the checks as `FAILED`."""
        if table not in self.failing:
            return None
        path = self._folder / f"failures-{table}.parquet"
        self._duckdb.execute(
            f'COPY (SELECT {", ".join(PLACE)}, list(DISTINCT "check") AS {FAILED} FROM judged '  # noqa: S608
            f"WHERE \"table\" = '{table}' GROUP BY ALL) TO '{path}' (FORMAT parquet)"
        )
        return path


# Keys whose newest version is staged twice, by table: `publish` could not tell which one is to live.
DUPLICATES = """
WITH places AS (SELECT "table", key, version, count(*) AS staged FROM found WHERE is_id GROUP BY ALL),
newest AS (SELECT "table", key, arg_max(staged, version) AS staged FROM places GROUP BY ALL)
SELECT "table", count(*) FROM newest WHERE staged > 1 GROUP BY ALL"""

# The claims that fail, and the check that each fails. A patient's dates are those of its newest version.
JUDGED = """
CREATE TABLE judged AS
WITH known AS (FROM found UNION ALL FROM live),
patients AS (
  SELECT key, arg_max_null(birth, version) AS birth, arg_max_null(death, version) AS death
  FROM known WHERE "table" = 'Patient' GROUP BY key
),
keys AS (SELECT DISTINCT key FROM known)
SELECT * FROM (
  SELECT claims."table", claims._file_hash, claims._offset, claims.id, CASE
    WHEN resolves IS NOT NULL AND keys.key IS NULL THEN resolves
    WHEN last < birth - days_before THEN after_birth
    WHEN first > death + days_after THEN before_death END AS "check"
  FROM claims LEFT JOIN keys ON claims.key = keys.key LEFT JOIN patients ON claims.key = patients.key
) WHERE "check" IS NOT NULL"""


def _live(ctx: Context, folder: Path, types: set[str]) -> str | None:
    """Where the files of the targets among the silo's live rows lie; the log says which tables have any."""
    units = [
        {"table": name, "rows": 0, "source": str(ctx.lake.silver(name)), "targets": str(folder / f"{name}.parquet")}
        for name in ctx.catalog.resources
        # A logical reference names no type: it may be to any.
        if {name, ""} & types and delta.exists(table := ctx.lake.silver(name)) and has_rows(table, ctx.scope)
    ]
    if not units:
        return None
    folder.mkdir(parents=True)
    run_units(ctx.spark, units, partial(_write_live, silo=ctx.scope, resources=dict(ctx.catalog.resources)))
    return f"{folder}/*.parquet"


def _write_live(unit: Unit, silo: str, resources: Mapping[str, Node]) -> Unit:
    """One task: the targets of a silo's live rows of one type; DuckDB reads what they need of them."""
    name = unit["table"]
    columns = ", ".join(dict.fromkeys([*target_columns(resources[name]), "_version", *PLACE]))
    live = f"delta_scan({literal(unit['source'])}) WHERE {PARTITION} = {literal(silo)}"
    with delta_connection() as connection, pq.ParquetWriter(unit["targets"], TARGETS) as file:
        for batch in connection.execute(f"SELECT {columns} FROM {live}").fetch_record_batch(BATCH):  # noqa: S608
            file.write_table(targets(pa.Table.from_batches([batch]), name))
    return {}
