"""What does not count by its status changes nothing: no SQL table and no cohort takes it in.

Each SQL of the catalog runs over its example twice: as it is, and with a record that does not count beside each that
does, at the same time and a hundred years later. Both must give the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from cohortlake.core.catalog import Table
from cohortlake.core.catalog.table import IS_COUNTED
from cohortlake.core.fhir.definitions import elements
from tests.spec.test_table_examples import CATALOG, SQL_TABLES, empty_rows, folder_of, read_rows

pytestmark = pytest.mark.spark
# The status columns whose codes FHIR binds, by the element that they are of.
ELEMENTS = {
    "status": "status",
    "intent_code": "intent",
    "claim_use": "use",
    "outcome_code": "outcome",
    "verification_status_code": "verificationStatus",
    "clinical_status_code": "clinicalStatus",
}
DECLARED = [(name, column) for name, table in CATALOG.tables.items() for column in table.counted_statuses]


@pytest.mark.parametrize(("name", "column"), DECLARED)
def test_each_of_fhirs_codes_is_either_counted_or_not(name: str, column: str) -> None:
    codes = CATALOG.tables[name].counted_statuses[column]
    allowed = elements(CATALOG.views[name]["resource"])[ELEMENTS[column]].codes
    if allowed is not None:
        assert sorted([*codes.counted, *codes.not_counted]) == sorted(allowed)
    assert "entered-in-error" not in codes.counted


def test_every_table_with_a_status_says_which_count() -> None:
    silent = [
        name
        for name, table in CATALOG.tables.items()
        if table.is_view and {"status", "verification_status_code"} & set(table.columns) and not table.counted_statuses
    ]
    assert silent == ["drugs"], "a drug's status is of the drug, not of anything that happened"


def _with_uncounted(rows: DataFrame, table: Table) -> DataFrame:
    """The rows, those that count twice more as rows that do not: under other keys, now and a hundred years later."""
    keys = [key for key in table.key if table.columns[key].type == "STRING"]
    twin = rows.where(F.col(IS_COUNTED)).withColumn(IS_COUNTED, F.lit(False))
    made = rows
    for suffix, years in (("-uncounted", 0), ("-later", 100)):
        moved = twin
        for key in keys:
            moved = moved.withColumn(key, F.concat(key, F.lit(suffix)))
        for column, declared in table.columns.items():
            if declared.type in ("DATE", "TIMESTAMP"):
                later = F.add_months(F.col(column), 12 * years) if declared.type == "DATE" else _later(column, years)
                moved = moved.withColumn(column, later)
        made = made.unionByName(moved)
    return made


def _later(column: str, years: int) -> Column:
    return F.col(column) + F.expr(f"INTERVAL {years} YEARS")


@pytest.fixture
def both(spark: SparkSession) -> Iterator[object]:
    """Runs SQL over an example's rows, and over the same with what does not count; gives both results."""

    def make(folder: Path, steps: list[str], select: str | None) -> list[list[str]]:
        found = []
        for is_planted in (False, True):
            planted = 0
            for name, table in CATALOG.tables.items():
                path = folder / f"{name}.csv"
                rows = read_rows(spark, path, table) if path.exists() else empty_rows(spark, table)
                if is_planted and path.exists() and IS_COUNTED in table.columns:
                    before = rows.count()
                    rows = _with_uncounted(rows, table)
                    planted += rows.count() - before
                rows.createOrReplaceTempView(name)
            assert planted or not is_planted
            answers = []
            for step in steps:
                frame = spark.sql(step)
                # A table that passes records on passes on that they do not count.
                counted = frame.where(F.col(IS_COUNTED)) if IS_COUNTED in frame.columns else frame
                answers += sorted(map(repr, counted.collect()))
                if select is not None and step == steps[0]:
                    frame.where(select).createOrReplaceTempView("cohort_index")
            found.append(answers)
        return found

    yield make
    for name in (*CATALOG.tables, "cohort_index"):
        spark.catalog.dropTempView(name)


@pytest.mark.parametrize("name", SQL_TABLES)
def test_a_sql_table_does_not_take_in_what_does_not_count(both, name: str) -> None:
    folder = folder_of("tables", name)
    plain, planted = both(folder / "input", [(folder.parent / "table.sql").read_text(encoding="utf-8")], None)
    assert plain
    assert planted == plain


@pytest.mark.acceptance
@pytest.mark.parametrize("name", sorted(CATALOG.cohorts))
def test_a_cohort_does_not_take_in_what_does_not_count(both, name: str) -> None:
    cohort, folder = CATALOG.cohorts[name], folder_of("cohorts", name)
    steps = [(folder.parent / f"{step}.sql").read_text(encoding="utf-8") for step in ("index", "features", "outcome")]
    excluded = (f"NOT coalesce(out_{number}, false)" for number in range(1, len(cohort.exclusion) + 1))
    select = " AND ".join([*(f"in_{number}" for number in range(1, len(cohort.inclusion) + 1)), *excluded])
    plain, planted = both(folder / "input", steps, select)
    assert plain
    assert planted == plain
