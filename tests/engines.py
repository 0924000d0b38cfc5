"""Rows held to a suite by each of Great Expectations' engines: its SQL engine over DuckDB, pandas and Spark."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from cohortlake.core.rules import Check
from expectations.engine import memory_context
from expectations.examine import AUDITED
from expectations.judge import COUNTS, by_check, validate
from expectations.suites import judged, suite

# Spark is started only where it is asked for.
SPARK = pytest.param("spark", marks=pytest.mark.spark)
ENGINES = ["duckdb", "pandas", SPARK]


def on_frame(source: Any, frame: Any, wanted: Any, result_format: Any) -> Any:
    """What Great Expectations says of a pandas or Spark frame."""
    batches = source.add_dataframe_asset("rows").add_batch_definition_whole_dataframe("all")
    return batches.get_batch({"dataframe": frame}).validate(wanted, result_format=result_format)


def results(engine: str, rows: pa.Table, checks: Iterable[tuple[Check, str]]) -> dict[str, Any]:
    """Great Expectations' result of each check of a column, by the check's name."""
    wanted = suite("rows", [judged(check, column) for check, column in checks])
    sources = memory_context().data_sources
    if engine == "duckdb":
        connection = duckdb.connect()
        connection.register("given", rows)
        connection.execute(f"CREATE TABLE {AUDITED} AS FROM given")
        return by_check(validate(connection, wanted, COUNTS, rows.num_rows))
    try:
        if engine == "pandas":
            return by_check(on_frame(sources.add_pandas("frames"), rows.to_pandas(), wanted, COUNTS))
        from spark_jobs.session import spark_session

        return by_check(on_frame(sources.add_spark("frames"), spark_session().createDataFrame(rows), wanted, COUNTS))
    finally:
        sources.delete("frames")


def counts(engine: str, rows: pa.Table, checks: Iterable[tuple[Check, str]]) -> dict[str, tuple[bool, int, int, int]]:
    """By check: whether it passed, and how many values there were, were missing, and failed."""
    found = {}
    for name, one in results(engine, rows, checks).items():
        assert not any(fault.get("raised_exception") for fault in _faults(one.exception_info)), one.exception_info
        told = one.result
        found[name] = (bool(one.success), told["element_count"], told.get("missing_count", 0), told["unexpected_count"])
    return found


def _faults(info: Any) -> list[Any]:
    return [info] if "raised_exception" in (info or {}) else list((info or {}).values())
