"""Rows of CSV through a mapping: codes are looked up where they stand, however few the rows and many the codes."""

from __future__ import annotations

import duckdb
import pytest

from spark_jobs.map_csv import connect


def plan(connection: duckdb.DuckDBPyConnection, codes: int) -> str:
    listed = ", ".join(f"'{code}'" for code in range(codes))
    rows = "(SELECT i::VARCHAR AS code, {'whole': [i]} AS tree FROM range(9) t(i))"
    return str(connection.execute(f"EXPLAIN SELECT tree, code IN ({listed}) FROM {rows}").fetchall())


@pytest.mark.parametrize("codes", [5, 50, 500])
def test_a_list_of_codes_is_no_join_that_copies_whole_rows(codes):
    assert "JOIN" not in plan(connect(), codes)


def test_duckdb_of_itself_makes_a_join():
    """Where it no longer does, the setting can go."""
    assert "JOIN" in plan(duckdb.connect(), 50)
