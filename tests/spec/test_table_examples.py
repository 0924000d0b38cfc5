"""Every example of a curated table and of a cohort is a test: what goes in, and the rows that come out.

| example | in | out |
|---|---|---|
| a view's | `input.ndjson`: resources | `expected.csv`; keys are plain ids, `silo` is the curate job's to add |
| a SQL table's | `input/<table>.csv`: rows of the tables it needs | `expected.csv` |
| a cohort's | `input/<table>.csv`: rows of gold | `expected_<step>.csv`: index, features, outcome |

A column that an input leaves out is null; rows come in any order; an empty field is a null. Whether a row of an input
counts is made of those of its statuses that the input has (`is_counted` of its table).
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from cohortlake.core.catalog import Catalog, Table, load_catalog
from cohortlake.core.catalog.table import IS_COUNTED
from spark_jobs.displays import NONE
from spark_jobs.fhir_types import spark_schema
from spark_jobs.made_columns import is_counted, with_made_columns
from spark_jobs.units import Converter
from spark_jobs.views import view_frame

CATALOG: Catalog = load_catalog()
VIEWS = sorted(name for name, table in CATALOG.tables.items() if table.is_view)
# A SQL table has the statuses of the view that is a part of it.
STATUSES = {t.part_of: t.counted_statuses for t in CATALOG.tables.values() if t.part_of and t.counted_statuses}
SQL_TABLES = sorted(name for name, table in CATALOG.tables.items() if table.is_sql)

pytestmark = pytest.mark.spark


def folder_of(kind: str, name: str) -> Path:
    folder = CATALOG.folder / kind / name / "example"
    assert folder.is_dir(), f"{name} has no example"
    return folder


def _types(table: Table) -> dict[str, str]:
    return {name: column.type for name, column in table.columns.items()}


def _header(path: Path) -> list[str]:
    with path.open(encoding="utf-8", newline="") as lines:
        return next(csv.reader(lines))


def read_rows(spark: SparkSession, path: Path, table: Table) -> DataFrame:
    """An example's rows of a table; `is_counted` follows from the statuses that the file has."""
    frame, header = _read(spark, path, _types(table)), _header(path)
    if IS_COUNTED not in table.columns or IS_COUNTED in header:
        return frame
    rules = STATUSES.get(table.name, table.counted_statuses)
    counted = is_counted(frame.toArrow(), {name: codes for name, codes in rules.items() if name in header})
    rows = frame.toArrow()
    rows = rows.set_column(rows.column_names.index(IS_COUNTED), IS_COUNTED, counted)
    return spark.createDataFrame(rows, frame.schema)


def empty_rows(spark: SparkSession, table: Table) -> DataFrame:
    """A table without rows."""
    return spark.createDataFrame([], ", ".join(f"`{column}` {kind}" for column, kind in _types(table).items()))


def _read(spark: SparkSession, path: Path, types: dict[str, str]) -> DataFrame:
    """A CSV file as a frame of the given types, with nulls for the columns that it leaves out."""
    header = _header(path)
    assert set(header) <= set(types), f"{path}: {sorted(set(header) - set(types))} are not declared"
    schema = ", ".join(f"`{name}` {types[name]}" for name in header)
    frame = spark.read.csv(str(path), schema=schema, header=True, enforceSchema=False, mode="FAILFAST")
    return frame.select(*(F.col(n) if n in header else F.lit(None).cast(t).alias(n) for n, t in types.items()))


@pytest.fixture
def register(spark: SparkSession) -> Iterator[Callable[[Path], None]]:
    """Makes temp views of the gold tables from an example's files; a table without a file has no rows."""

    def make(folder: Path) -> None:
        for name, table in CATALOG.tables.items():
            path = folder / f"{name}.csv"
            if path.exists():
                read_rows(spark, path, table).createOrReplaceTempView(name)
            else:
                empty_rows(spark, table).createOrReplaceTempView(name)

    yield make
    for name in (*CATALOG.tables, "cohort_index"):
        spark.catalog.dropTempView(name)


def _simple(frame: DataFrame) -> dict[str, str]:
    """Types by column, in SQL's words. A number's width is told, since a reader of gold relies on it."""
    return {field.name: field.dataType.simpleString().upper() for field in frame.schema}


def _assert_same(found: DataFrame, spark: SparkSession, path: Path) -> None:
    types = _simple(found)
    assert _header(path) == list(types), f"{path}: its columns are not those of the result"
    expected = _read(spark, path, types)
    assert sorted(map(repr, found.collect())) == sorted(map(repr, expected.collect()))


@pytest.mark.parametrize("name", VIEWS)
def test_view_example(spark: SparkSession, name: str) -> None:
    table, view = CATALOG.tables[name], CATALOG.views[name]
    folder = folder_of("tables", name)
    schema = spark_schema(CATALOG.resources[view["resource"]])
    resources = spark.read.json(str(folder / "input.ndjson"), schema=schema, mode="FAILFAST")
    found = view_frame(resources, view)
    if table.made:
        rows = with_made_columns(found.toArrow(), table, Converter(CATALOG.units), NONE)
        made = [column for column in table.columns if column in table.made and column not in table.person_of]
        found = spark.createDataFrame(rows.select([*found.columns, *made]))
    # The curate job adds the silo and the person.
    declared = {column: kind for column, kind in _types(table).items() if column not in ("silo", *table.person_of)}
    assert _simple(found) == declared
    _assert_same(found, spark, folder / "expected.csv")


@pytest.mark.parametrize("name", SQL_TABLES)
def test_sql_table_example(spark: SparkSession, register: Callable[[Path], None], name: str) -> None:
    folder = folder_of("tables", name)
    register(folder / "input")
    found = spark.sql((folder.parent / "table.sql").read_text(encoding="utf-8"))
    assert _simple(found) == _types(CATALOG.tables[name])
    _assert_same(found, spark, folder / "expected.csv")


@pytest.mark.parametrize("name", sorted(CATALOG.cohorts))
def test_cohort_example(spark: SparkSession, register: Callable[[Path], None], name: str) -> None:
    cohort, folder = CATALOG.cohorts[name], folder_of("cohorts", name)
    register(folder / "input")
    sql = {
        step: (folder.parent / f"{step}.sql").read_text(encoding="utf-8") for step in ("index", "features", "outcome")
    }

    index = spark.sql(sql["index"]).cache()
    inclusion = [f"in_{number}" for number in range(1, len(cohort.inclusion) + 1)]
    exclusion = [f"out_{number}" for number in range(1, len(cohort.exclusion) + 1)]
    assert index.columns == ["patient_key", "silo", "index_date", *inclusion, *exclusion]
    _assert_same(index, spark, folder / "expected_index.csv")

    is_in = " AND ".join([*inclusion, *(f"NOT coalesce({flag}, false)" for flag in exclusion)])
    index.where(is_in).select("patient_key", "silo", "index_date").createOrReplaceTempView("cohort_index")
    features = spark.sql(sql["features"]).cache()
    assert features.columns == ["patient_key", "silo", "index_date", *cohort.features]
    _assert_same(features, spark, folder / "expected_features.csv")
    assert features.where(F.expr(cohort.stratum).isNull()).isEmpty(), "a row has no stratum"
    _assert_same(spark.sql(sql["outcome"]), spark, folder / "expected_outcome.csv")


@pytest.mark.parametrize("name", sorted(CATALOG.tables))
def test_declaration_holds_together(name: str) -> None:
    """Keys and references lead somewhere, and what a table needs is there."""
    table = CATALOG.tables[name]
    known = CATALOG.resources if table.is_view else CATALOG.tables
    assert set(table.needs) <= set(known)
    assert "silo" in table.columns or table.source == "persons"  # a human is known to several
    for column in table.columns.values():
        if column.references:
            other, key = column.references.split(".")
            assert CATALOG.tables[other].key == [key]
