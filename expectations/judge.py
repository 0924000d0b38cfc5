"""Great Expectations' verdicts on an audited table, and the rows that fail, by check.

Its SQL engine counts, over every row, what each expectation takes and what not, in a few queries of a table. Only of a
check that fails is the query of its rows asked for: Great Expectations writes it, and it is run here, since Great
Expectations gives 200 rows of it at most.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import duckdb
import pyarrow as pa
from great_expectations import ExpectationSuite

from cohortlake.core.sql import literal
from expectations.engine import table_batch
from expectations.examine import AUDITED, ExpectationsError
from expectations.suites import Judged, suite
from spark_jobs.staged import PLACE

# Counts by Great Expectations' own queries over every row, and no value of a row.
COUNTS = {"result_format": "BASIC", "exclude_unexpected_values": True, "partial_unexpected_count": 0}
QUERIES = COUNTS | {"return_unexpected_index_query": True, "unexpected_index_column_names": list(PLACE)}
# Of one-row tables of facts, which are no row's values.
FACTS = {"result_format": "BASIC", "partial_unexpected_count": 1}
FAILED_ROWS = pa.schema(
    [("_file_hash", pa.string()), ("_offset", pa.int64()), ("id", pa.string())]
    + [(name, pa.list_(pa.string())) for name in ("checks", "warned")]
)
# Faults whose words are names and SQL that were declared; others may hold a value.
NAMING = ("BinderException", "CatalogException", "ParserException", "does not exist", "not supported", "NotImplemented")


def validate(
    connection: duckdb.DuckDBPyConnection, wanted: ExpectationSuite, result_format: Any, rows: int | None = None
) -> Any:
    """What Great Expectations says of the audited table by a suite: its suite validation result.

    Raises ExpectationsError where it could not compute an expectation, or did not judge `rows` rows by it.
    """
    with table_batch(connection, AUDITED) as batch:
        found = batch.validate(wanted, result_format=result_format)
    if len(found.results) != len(wanted.expectations):
        raise ExpectationsError(f"{wanted.name}: {len(found.results)} of {len(wanted.expectations)} checks were judged")
    for one in found.results:
        check = one.expectation_config.meta["check"]
        info = one.exception_info or {}
        for fault in [info] if "raised_exception" in info else list(info.values()):
            if fault and fault["raised_exception"]:
                raise ExpectationsError(f"{wanted.name}: {check} could not be computed{_words(fault)}")
        judged = (one.result or {}).get("element_count")
        if rows is not None and judged is not None and judged != rows:
            raise ExpectationsError(f"{wanted.name}: {check} judged {judged} rows of {rows}")
    return found


def _words(fault: Any) -> str:
    message = str(fault.get("exception_message") or "").strip()
    whole = message + str(fault.get("exception_traceback") or "")
    return f": {message.splitlines()[0]}" if message and any(word in whole for word in NAMING) else ""


def by_check(result: Any) -> dict[str, Any]:
    """A suite's results by the checks' names."""
    return {one.expectation_config.meta["check"]: one for one in result.results}


def failing_rows(connection: duckdb.DuckDBPyConnection, checks: Sequence[Judged], result: Any) -> pa.Table:
    """The rows that fail a check of severity `quarantine`, as FAILED_ROWS: all of them, with all that they fail.

    Raises ExpectationsError where a check's rows are not as many as Great Expectations counted.
    """
    failed = {name: one for name, one in by_check(result).items() if not one.success}
    held = [one for one in checks if one.check.name in failed and one.check.severity == "quarantine"]
    if not held:
        return FAILED_ROWS.empty_table()
    noted = [one for one in checks if one.check.name in failed and one.check.severity != "quarantine" and one.has_rows]
    queries = _queries(connection, result.suite_name, [*held, *noted])
    place = ", ".join(PLACE)
    connection.execute(f"CREATE TABLE failing AS SELECT {place}, 0 AS number, '' AS name FROM {AUDITED} LIMIT 0")  # noqa: S608
    for number, one in enumerate([*held, *noted]):
        name = one.check.name
        added = f"INSERT INTO failing SELECT {place}, {number}, {literal(name)} FROM ({queries[name]})"  # noqa: S608
        [(count,)] = connection.execute(added).fetchall()
        counted = failed[name].result.get("unexpected_count")
        if counted is not None and counted != count:
            raise ExpectationsError(f"{result.suite_name}: {name} fails for {counted} rows, but {count} were found")
    names = "list(name ORDER BY number) FILTER (WHERE number {} " + f"{len(held)})"
    found = connection.execute(
        f"SELECT {place}, {names.format('<')} AS checks, coalesce({names.format('>=')}, []) AS warned "  # noqa: S608
        f"FROM failing GROUP BY {place} HAVING bool_or(number < {len(held)}) ORDER BY {place}"
    )
    return found.arrow().read_all().cast(FAILED_ROWS)


def _queries(connection: duckdb.DuckDBPyConnection, name: str, checks: Sequence[Judged]) -> dict[str, str]:
    """The SQL of the rows that fail each check, as Great Expectations writes it."""
    mapped = [one for one in checks if one.rows_sql is None]
    found = {one.check.name: one.rows_sql.format(batch=AUDITED) for one in checks if one.rows_sql}
    if mapped:
        result = validate(connection, suite(name, mapped), QUERIES)
        found |= {check: one.result["unexpected_index_query"] for check, one in by_check(result).items()}
    return {check: sql.strip().rstrip(";") for check, sql in found.items()}
