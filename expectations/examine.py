"""A staged table as its checks judge it: every row of it flattened into one table of a DuckDB of its own.

Once that is made, the DuckDB can open neither files nor the network, whatever SQL an expectation brings.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb

from cohortlake.core.sql import literal
from expectations.audit import FAILED
from spark_jobs.staged import PLACE

# What the audited table is called in DuckDB, and so in the queries of expectations.
AUDITED = "audited"
ALONE = {"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}


class ExpectationsError(RuntimeError):
    """Great Expectations could not compute an expectation, or judged other rows than it was given: a fault of ours."""


@contextmanager
def audited(
    sql: str, files: Sequence[Path], spill: Path, failures: Path | None = None
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection with the table `AUDITED`: the audit query `sql` over the rows of staged `files`, all of them.

    `failures` are the rows that failed a check across tables. What does not fit into memory goes into the folder
    `spill`.
    """
    connection = duckdb.connect(config={"temp_directory": str(spill), **ALONE})
    try:
        connection.execute("SET TimeZone = 'UTC'")
        listed = ", ".join(literal(file) for file in files)
        rows = f"FROM read_parquet([{listed}], hive_partitioning = false)"
        if failures:
            same = " AND ".join(f"r.{name} IS NOT DISTINCT FROM f.{name}" for name in PLACE)
            rows = f"SELECT r.*, f.{FAILED} FROM ({rows}) r LEFT JOIN '{failures}' f ON {same}"  # noqa: S608
        connection.execute(f"CREATE VIEW staged AS {rows}")
        connection.execute(f"CREATE TABLE {AUDITED} AS {sql}")
        connection.execute("DROP VIEW staged")
        _shut(connection)
        yield connection
    finally:
        connection.close()


@contextmanager
def one_row(values: dict[str, object]) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection with the table `AUDITED` of one row: facts by name, numbers or texts."""
    connection = duckdb.connect(config=ALONE)
    try:
        columns = ", ".join(f'? AS "{name}"' for name in values)
        connection.execute(f"CREATE TABLE {AUDITED} AS SELECT {columns}", list(values.values()))
        _shut(connection)
        yield connection
    finally:
        connection.close()


def _shut(connection: duckdb.DuckDBPyConnection) -> None:
    """Let a connection's database open no file and no address any more; it cannot be undone."""
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
