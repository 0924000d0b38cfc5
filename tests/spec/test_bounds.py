"""A bound is not a value: where the latest measurement is `<20`, a feature is neither 20 nor an older value."""

from __future__ import annotations

import pytest
from pyspark.sql import Row, SparkSession
from pyspark.sql import functions as F

from tests.spec.test_table_examples import CATALOG, empty_rows, folder_of, read_rows

pytestmark = pytest.mark.spark
MEASURED = [
    "hba1c_percent",
    "bmi_kg_per_m2",
    "systolic_mmhg",
    "diastolic_mmhg",
    "creatinine_mg_per_dl",
    "egfr_ml_per_min",
    "ldl_mg_per_dl",
]


def _features(spark: SparkSession, *, is_bounded: bool) -> list[Row]:
    """The example's features; with `is_bounded`, each measurement is followed a second later by a bound."""
    folder = folder_of("cohorts", "type2_diabetes")
    for name, table in CATALOG.tables.items():
        path = folder / "input" / f"{name}.csv"
        rows = read_rows(spark, path, table) if path.exists() else empty_rows(spark, table)
        if is_bounded and name in ("laboratory_results", "vital_signs"):
            second = F.expr("INTERVAL 1 SECOND")
            bounds = rows.withColumns(
                {
                    table.key[0]: F.concat(table.key[0], F.lit("-bound")),
                    "standard_comparator": F.lit("<"),
                    "observed_at": F.col("observed_at") + second,
                    "issued_at": F.col("issued_at") + second,
                }
            )
            rows = rows.unionByName(bounds)
        rows.createOrReplaceTempView(name)
    index = spark.read.csv(str(folder / "expected_features.csv"), header=True)
    index.selectExpr("patient_key", "silo", "CAST(index_date AS DATE) AS index_date").createOrReplaceTempView(
        "cohort_index"
    )
    sql = (folder.parent / "features.sql").read_text(encoding="utf-8")
    return sorted(spark.sql(sql).collect(), key=lambda row: (row.patient_key, row.index_date))


def test_a_bound_is_not_taken_for_a_value(spark: SparkSession) -> None:
    plain, bounded = _features(spark, is_bounded=False), _features(spark, is_bounded=True)
    for name in (*CATALOG.tables, "cohort_index"):
        spark.catalog.dropTempView(name)
    assert any(row[feature] is not None for row in plain for feature in MEASURED)
    assert not [(row.patient_key, feature) for row in bounded for feature in MEASURED if row[feature] is not None]
    assert [row.days_since_hba1c for row in bounded] == [row.days_since_hba1c for row in plain]
