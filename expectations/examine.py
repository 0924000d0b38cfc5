"""A task of the gate: rows of a staged part, as the values that its checks judge, and those that may fail.

DuckDB reads the part and tells which checks some row may fail, and which rows (`expectations.shortlist`). Great
Expectations judges those rows by those checks with its pandas engine, on the driver unless they are many
(`expectations.judge`), and names the ones that do. Its Spark engine would plan, generate and compile one wide aggregate
a table, and its pandas engine over every row costs ten times what DuckDB takes to tell that there is nothing to judge
(docs/performance.md).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from cohortlake.core.rules import Check, Present, ValueOrReason
from cohortlake.core.sql import identifier
from expectations.audit import FAILED
from expectations.shortlist import may_fail
from spark_jobs.delta import Part
from spark_jobs.parallel import Unit
from spark_jobs.staged import PLACE

# Values that a task audits at once: some hundred megabytes in DuckDB at most.
VALUES = 20_000_000
AUDIT = "audit"
# Rows that a task may list for the driver; it judges more of them itself.
MANY = 20_000
FAILED_ROWS = pa.schema(
    [("_file_hash", pa.string()), ("_offset", pa.int64()), ("id", pa.string())]
    + [(name, pa.list_(pa.string())) for name in ("checks", "warned")]
)


class ExpectationsError(RuntimeError):
    """Great Expectations could not compute an expectation: a fault of ours, not of the data."""


@dataclass(frozen=True)
class Plan:
    """How a table is examined: the audit query over a view `staged`, and each check with the column that it judges."""

    suite: str
    sql: str
    checks: tuple[tuple[Check, str], ...]


def slices(plan: str, folder: Path, parts: Sequence[Part], checks: int, failures: Path | None, to: Path) -> list[Unit]:
    """The tasks for a table's parts, by how many `checks` judge a row. `to` is a folder for what they write.

    `failures` are the rows that failed a check across tables.
    """
    most = max(1, VALUES // max(checks, 1))
    units: list[Unit] = []
    for part in parts:
        for start in range(0, part.rows, most):
            rows = min(most, part.rows - start)
            unit: Unit = {"plan": plan, "source": str(folder / part.path), "start": start, "rows": rows}
            name = f"{plan}-{Path(part.path).stem}-{start}.parquet"
            files = {"list": str(to / "listed" / name), "rejects": str(to / "rejects" / name)}
            units.append(unit | files | {"failures": str(failures) if failures else None})
    return units


def examine(unit: Unit, plans: Mapping[str, Plan]) -> Unit:
    """One task: how many values of each check are missing; the checks that may fail, and a file of the rows that may.

    Where those rows are many, they are judged here. Raises ExpectationsError.
    """
    plan = plans[unit["plan"]]
    connection = _audited(unit, plan)
    missing, suspects = _surveyed(connection, plan)
    found: Unit = {"missing": missing, "suspects": [], "listed": None, "failed": {}, "rejects": None}
    if not suspects:
        return found
    conditions = " OR ".join(dict.fromkeys(suspects.values()))
    listed = connection.execute(f"FROM {AUDIT} WHERE {conditions}").arrow().read_all()
    if listed.num_rows > MANY:
        from expectations.judge import judge

        return found | judge(plan, suspects, listed.to_pandas(), Path(unit["rejects"]))
    Path(unit["list"]).parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(listed, unit["list"])
    return found | {"suspects": list(suspects), "listed": unit["list"]}


def with_judged(units: Sequence[Unit], results: Sequence[Unit], plans: Mapping[str, Plan], to: Path) -> list[Unit]:
    """What tasks found, each with its `plan`, and beside them what comes of the rows that they listed.

    `to` is the folder of `slices`. Raises ExpectationsError.
    """
    found = [{"plan": unit.get("plan")} | result for unit, result in zip(units, results, strict=True)]
    if not any(one.get("listed") for one in found):
        return found
    from expectations.judge import judge_listed

    return [*found, *judge_listed(found, plans, to / "rejects")]


def counted(units: Iterable[Unit]) -> dict[str, tuple[int, int]]:
    """What tasks and judgements counted, together: check -> values that failed, values that were missing."""
    failed, missing = Counter[str](), Counter[str]()
    for unit in units:
        failed.update(unit.get("failed", {}))
        missing.update(unit.get("missing", {}))
    return {check: (failed[check], missing[check]) for check in failed | missing}


def _audited(unit: Unit, plan: Plan) -> duckdb.DuckDBPyConnection:
    """A connection with the audit query's rows as a table."""
    connection = duckdb.connect(config={"threads": 1, "autoinstall_known_extensions": False})
    connection.execute("SET TimeZone = 'UTC'")
    part = f"FROM read_parquet('{unit['source']}', hive_partitioning = false, file_row_number = true)"
    part += f" WHERE file_row_number >= {unit['start']} AND file_row_number < {unit['start'] + unit['rows']}"
    rows = f"FROM ({part})"
    if unit["failures"]:
        same = " AND ".join(f"r.{name} IS NOT DISTINCT FROM f.{name}" for name in PLACE)
        rows = f"SELECT r.*, f.{FAILED} FROM ({part}) r LEFT JOIN '{unit['failures']}' f ON {same}"  # noqa: S608
    connection.execute(f"CREATE VIEW staged AS {rows}")
    connection.execute(f"CREATE TABLE {AUDIT} AS {plan.sql}")
    return connection


def _surveyed(connection: duckdb.DuckDBPyConnection, plan: Plan) -> tuple[dict[str, int], dict[str, str]]:
    """By check: how many values it does not judge since they are missing; and the SQL of the rows that may fail it.

    Of each only where there are any. Where a value must be there, none is missing. Raises ExpectationsError naming a
    check whose column is not there.
    """
    types = {name: kind for name, kind, *_ in connection.execute(f"DESCRIBE {AUDIT}").fetchall()}
    gaps, conditions = {}, {}
    for check, column in plan.checks:
        if column not in types:
            raise ExpectationsError(f"{plan.suite}: {check.name} could not be computed: there is no column {column}")
        value = identifier(column)
        conditions[check.name] = may_fail(value, check.rule, types[column])
        if not isinstance(check.rule, Present | ValueOrReason):
            gaps[check.name] = f"count(*) - count({value})"
    asked = [*dict.fromkeys(gaps.values()), *(f"bool_or({sql})" for sql in dict.fromkeys(conditions.values()))]
    [row] = connection.table(AUDIT).aggregate(", ".join(asked)).fetchall()
    told = dict(zip(asked, row, strict=True))
    missing = {name: told[sql] for name, sql in gaps.items() if told[sql]}
    return missing, {name: sql for name, sql in conditions.items() if told[f"bool_or({sql})"]}
