"""A run's judgements: tables and facts held to suites, each result kept as Great Expectations' own JSON, and shown.

Neither results nor Data Docs hold any value of a row.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from cohortlake.core.lake import Lake, write_error
from cohortlake.core.rules import Check
from expectations import pages
from expectations.audit import HELPER
from expectations.examine import audited, one_row
from expectations.judge import COUNTS, FACTS, by_check, failing_rows, validate
from expectations.suites import Judged, judged, suite
from expectations.verdict import Outcome
from spark_jobs.delta import write_json

FACT = "a number about the whole table or delivery, counted before"
# What of a result says nothing of a single row; an `observed_value` does where it is a row's value (a maximum, a mode).
COUNTED = (
    "element_count",
    "unexpected_count",
    "unexpected_percent",
    "missing_count",
    "missing_percent",
    "unexpected_percent_total",
    "unexpected_percent_nonmissing",
)
OBSERVED = (
    "expect_table_",
    "unexpected_rows_expectation",
    "_unique_value_count_",
    "_proportion_of_",
    "_mean_",
    "_stdev_",
)


@dataclass(frozen=True)
class Table:
    """A staged table to judge: the audit query over its `files`, which hold `rows` rows, and its checks."""

    name: str
    sql: str
    files: Sequence[Path]
    rows: int
    checks: Sequence[Judged]


class Examiner:
    """Judges, and keeps what suites said: suites and results as JSON in `ops/expectations`, and Data Docs as HTML."""

    def __init__(self, lake: Lake, run_id: str) -> None:
        self._lake, self._run_id = lake, run_id
        self._results = lake.ops("expectations")

    def judge_rows(self, table: Table, spill: Path, failures: Path | None = None) -> tuple[list[Outcome], pa.Table]:
        """A table's outcomes, kept, and its rows to keep back with the checks that each fails (`FAILED_ROWS`).

        `failures` are the rows that failed a check across tables, which the audit query then reads.
        """
        with audited(table.sql, table.files, spill, failures) as connection:
            result = validate(connection, suite(table.name, table.checks), COUNTS, table.rows)
            rows = failing_rows(connection, table.checks, result)
        return self._keep(table.name, table.checks, result), rows

    def failing(self, table: Table, spill: Path) -> pa.Table:
        """As `judge_rows`, for rows alone: nothing is kept of the result."""
        with audited(table.sql, table.files, spill) as connection:
            result = validate(connection, suite(table.name, table.checks), COUNTS, table.rows)
            return failing_rows(connection, table.checks, result)

    def judge_facts(self, name: str, facts: Mapping[str, Any], checks: Sequence[Check]) -> list[Outcome]:
        """Hold facts, by name, to the checks of them; one that is None or missing is not judged."""
        known = [check for check in checks if facts.get(check.element) is not None]
        if not known:
            return []
        listed = [judged(check, f"{HELPER}{check.element}", FACT) for check in known]
        with one_row({f"{HELPER}{check.element}": facts[check.element] for check in known}) as connection:
            result = validate(connection, suite(name, listed), FACTS, 1)
        return self._keep(name, listed, result, facts)

    def _keep(
        self, name: str, checks: Sequence[Judged], result: Any, facts: Mapping[str, Any] | None = None
    ) -> list[Outcome]:
        """Keep a suite and its result in place of those of the run before; gives the outcomes that it tells."""
        now = datetime.datetime.now(datetime.UTC).isoformat()
        result.meta |= {"run_id": {"run_name": self._run_id, "run_time": now}, "validation_time": now}
        told = result.to_json_dict()
        if facts is None:
            told["results"] = [_without_values(one) for one in told["results"]]
        of = {"suites": suite(name, checks).to_json_dict(), "results": told}
        try:
            for kind, content in of.items():
                write_json(self._results.joinpath(kind, *name.split(".")).with_suffix(".json"), content)
        except OSError as error:
            raise write_error(error, self._results) from error
        found = by_check(result)
        return [
            Outcome.of(one.check, found[one.check.name], None if facts is None else facts[one.check.element])
            for one in checks
        ]

    def write_docs(self) -> Path:
        """Write the pages of all that was judged, and their index. Gives the page to open."""
        try:
            with self._lake.lock("docs"):
                return pages.write(self._lake.docs, self._results)
        except OSError as error:
            raise write_error(error, self._lake.docs) from error


def _without_values(one: dict[str, Any]) -> dict[str, Any]:
    """A result of rows as JSON, without what may be a value of one."""
    kind = one["expectation_config"]["type"]
    result = {key: value for key, value in one["result"].items() if key in COUNTED}
    observed = one["result"].get("observed_value")
    if observed is not None:
        is_count = any(word in kind for word in OBSERVED)
        result["observed_value"] = observed if is_count else "not shown: it may be a row's value"
    return one | {"result": result}
