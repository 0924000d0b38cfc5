"""The SQL of a curated table, asked of Spark and, as the recount translates it, of DuckDB: one answer."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest
from pyspark.sql import SparkSession

from cohortlake.core.recount.sql_tables import duckdb_sql

TOLD = "VALUES ('x', CAST(NULL AS STRING)), ('y', NULL) AS told(what, kind)"
# DuckDB answers each otherwise, or not at all, when it is asked in the same words.
SPARK_SAYS = {
    "SELECT count_if(kind = 'a'), count_if(kind IS NULL), count_if(what = 'x' AND kind IS NULL) FROM told": (0, 2, 1),
    "SELECT count_if(what = 'x') FILTER (WHERE kind = 'a') FROM told": (0,),
    "SELECT size(collect_set(kind)), size(collect_list(what)) FROM told": (0, 2),
    "SELECT collect_list(what) FILTER (WHERE kind = 'a') FROM told": ([],),
    "SELECT concat(what, kind), concat_ws('-', what, kind) FROM told WHERE what = 'x'": (None, "x"),
    "SELECT what FROM (SELECT what, row_number() OVER (ORDER BY nullif(what, 'y')) AS n FROM told) WHERE n = 1": ("y",),
    "SELECT datediff('2021-03-01', '2021-02-01'), regexp_replace('aa', 'a', 'b'), substr('abc', 2, 1)": (28, "bb", "b"),
    "SELECT round(months_between('2021-03-16', '2021-01-01'), 4), nvl(NULL, 1), 7 div 2": (2.4839, 1, 3),
    "SELECT array_except(array(1, 1, 2), array(2)), array_contains(array(1), 1), element_at(array(4), 1)": (
        [1],
        True,
        4,
    ),
}


@pytest.fixture(scope="module")
def told(spark: SparkSession) -> Iterator[SparkSession]:
    spark.sql(f"SELECT * FROM {TOLD}").createOrReplaceTempView("told")
    yield spark
    spark.catalog.dropTempView("told")


@pytest.mark.spark
@pytest.mark.parametrize("sql", SPARK_SAYS)
def test_both_engines_answer_a_tables_sql_alike(told: SparkSession, sql: str) -> None:
    connection = duckdb.connect()
    connection.execute(f"CREATE VIEW told AS FROM ({TOLD.split(' AS told')[0]}) AS told(what, kind)")
    must = tuple(told.sql(sql).collect()[0])
    assert must == SPARK_SAYS[sql]
    does = connection.execute(duckdb_sql(sql)).fetchone()
    assert tuple(does or ()) == must
