"""A task of the gate: rows of a staged part, as the values that its checks judge, held to a suite.

DuckDB reads the part and lists the rows that may fail (`expectations.shortlist`); Great Expectations judges those with
its pandas engine, inside the executors' tasks, and names the ones that do. Its Spark engine would plan, generate and
compile one wide aggregate a table, and its pandas engine over every row costs ten times what DuckDB takes to tell that
there is nothing to judge (docs/performance.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from cohortlake.core.rules import Check, Present
from cohortlake.core.sql import identifier
from expectations.audit import FAILED
from expectations.shortlist import shortlist_sql
from spark_jobs.delta import Part
from spark_jobs.parallel import Unit
from spark_jobs.staged import PLACE

# Values that a task audits at once: some hundred megabytes in DuckDB at most.
VALUES = 20_000_000
AUDIT = "audit"
VERDICTS = "BOOLEAN_ONLY"
# Great Expectations names the failing rows by their position, without their values.
FAILURES = {"result_format": "COMPLETE", "partial_unexpected_count": 0}
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


def slices(
    plan: str, folder: Path, parts: Sequence[Part], checks: int, failures: Path | None, rejects: Path
) -> Iterator[Unit]:
    """The tasks for a table's parts, by how many `checks` judge a row.

    `failures` are the rows that failed a check across tables.
    """
    most = max(1, VALUES // max(checks, 1))
    is_first = True
    for part in parts:
        for start in range(0, part.rows, most):
            rows = min(most, part.rows - start)
            unit: Unit = {"plan": plan, "source": str(folder / part.path), "start": start, "rows": rows}
            name = f"{plan}-{Path(part.path).stem}-{start}.parquet"
            about = {"failures": str(failures) if failures else None, "rejects": str(rejects / name)}
            yield unit | about | {"is_first": is_first}
            is_first = False


def examine(unit: Unit, plans: Mapping[str, Plan]) -> Unit:
    """One task: how many values failed each check and how many were missing, and where the failing rows are kept.

    Raises ExpectationsError.
    """
    plan = plans[unit["plan"]]
    connection = _audited(unit, plan)
    types = _types(connection, plan)
    missing = _missing(connection, plan)
    listed = shortlist_sql(AUDIT, plan.checks, types, with_first=unit["is_first"])
    frame = connection.execute(listed).arrow().read_all().to_pandas()
    failed = _failed(plan, frame)
    counts = {
        check.name: [failed[check.name]["unexpected_count"] if check.name in failed else 0, missing[check.name]]
        for check, _ in plan.checks
        if check.name in failed or missing[check.name]
    }
    held: dict[int, list[str]] = {}
    noted: dict[int, list[str]] = {}
    for check, _ in plan.checks:
        rows = held if check.severity == "quarantine" else noted
        for position in failed.get(check.name, {}).get("unexpected_index_list", []):
            rows.setdefault(position, []).append(check.name)
    if held:
        _keep(Path(unit["rejects"]), frame, held, noted)
    return {"counts": counts, "rejects": unit["rejects"] if held else None, "rejected": len(held)}


def counted(units: Sequence[Unit]) -> dict[str, tuple[int, int]]:
    """The tasks' counts together: check -> values that failed, values that were missing."""
    sums: dict[str, tuple[int, int]] = {}
    for unit in units:
        for check, (failed, missing) in unit["counts"].items():
            before = sums.get(check, (0, 0))
            sums[check] = (before[0] + failed, before[1] + missing)
    return sums


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


def _types(connection: duckdb.DuckDBPyConnection, plan: Plan) -> dict[str, str]:
    """The types of the audited columns. Raises ExpectationsError naming a check whose column is not there."""
    types = {name: kind for name, kind, *_ in connection.execute(f"DESCRIBE {AUDIT}").fetchall()}
    for check, column in plan.checks:
        if column not in types:
            raise ExpectationsError(f"{plan.suite}: {check.name} could not be computed: there is no column {column}")
    return types


def _missing(connection: duckdb.DuckDBPyConnection, plan: Plan) -> dict[str, int]:
    """How many values each check does not judge since they are missing: none where one must be there."""
    columns = list(dict.fromkeys(column for _, column in plan.checks))
    counted = ", ".join(f"count(*) - count({identifier(column)})" for column in columns)
    gaps = dict(zip(columns, connection.execute(f"SELECT {counted} FROM {AUDIT}").fetchall()[0], strict=True))  # noqa: S608
    return {check.name: 0 if isinstance(check.rule, Present) else gaps[column] for check, column in plan.checks}


def _failed(plan: Plan, frame: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """The results of the checks that fail. Failing rows are asked for only where a verdict is no.

    Each metric of each check costs Great Expectations some 0.3 ms of planning, and a verdict needs half of them.
    """
    if not len(frame):
        return {}
    verdicts = validate(plan.suite, frame, plan.checks, VERDICTS)
    failing = [item for item in plan.checks if not verdicts[item[0].name]["success"]]
    found = validate(plan.suite, frame, failing, FAILURES) if failing else {}
    return {name: one["result"] for name, one in found.items()}


def _keep(path: Path, frame: pd.DataFrame, held: Mapping[int, list[str]], noted: Mapping[int, list[str]]) -> None:
    """Write the failing rows: their place, the checks that keep them back, and those that only warn."""
    positions = sorted(held)
    places = {name: frame[name].iloc[positions].tolist() for name in PLACE}
    names = {"checks": [held[row] for row in positions], "warned": [noted.get(row, []) for row in positions]}
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pydict(places | names, FAILED_ROWS), path)


@cache
def _source() -> Any:
    """The process's own source of frames; no store, no page."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import DataContextConfig, InMemoryStoreBackendDefaults

    config = DataContextConfig(store_backend_defaults=InMemoryStoreBackendDefaults(), analytics_enabled=False)
    context = gx.get_context(mode="ephemeral", project_config=config)
    context.variables.progress_bars = {"globally": False}
    return (
        context.data_sources.add_pandas("staged")
        .add_dataframe_asset("rows")
        .add_batch_definition_whole_dataframe("all")
    )


def validate(
    name: str, frame: pd.DataFrame, checks: Sequence[tuple[Check, str]], result_format: Any, source: Any = None
) -> dict[str, dict[str, Any]]:
    """A frame held to checks of its columns: each check's `success` and `result`. Raises ExpectationsError."""
    from expectations.suites import suite

    batch = (source or _source()).get_batch({"dataframe": frame})
    found = {}
    for one in batch.validate(suite(name, checks), result_format=result_format).results:
        check = one.expectation_config.meta["check"]
        info = one.exception_info or {}
        for fault in [info] if "raised_exception" in info else list(info.values()):
            if fault and fault["raised_exception"]:
                raise ExpectationsError(f"{name}: {check} could not be computed: {fault['exception_message']}")
        found[check] = {"success": bool(one.success), "result": one.result}
    return found
