"""SQL on FHIR v2's own conformance cases, run over typed rows as silver holds them."""

from __future__ import annotations

import json
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, DataType, StringType, StructField, StructType

from cohortlake.core.errors import ViewError
from cohortlake.core.fhir.definitions import elements, primitive_types
from spark_jobs.views import view_frame
from spark_jobs.views_expressions import primitive_type

DATA = Path(os.environ.get("COHORTLAKE_DATA", Path(__file__).parents[3] / "shared/data"))
FILES = sorted((DATA / "sql_on_fhir_v2").glob("*.json"))
if not FILES:
    pytest.skip(f"{DATA}/sql_on_fhir_v2 holds no cases (set COHORTLAKE_DATA)", allow_module_level=True)

pytestmark = pytest.mark.spark


def cases() -> list[Any]:
    """(resources of the file, test) of every file, named by file and title."""
    found = []
    for file in FILES:
        suite = json.loads(file.read_text(encoding="utf-8"), parse_float=Decimal)
        for test in suite["tests"]:
            found.append(pytest.param(suite["resources"], test, id=f"{file.stem}: {test['title']}"))
    return found


def typed(fhir_type: str, values: list[Any]) -> DataType:
    """How silver types values of a FHIR type, as far as elements occur in them."""
    if fhir_type in primitive_types():
        return primitive_type(fhir_type)
    fields = []
    for element in elements(fhir_type).values():
        found = [value[element.name] for value in values if element.name in value]
        if found:
            items = [item for items in found for item in items] if element.is_list else found
            data_type = typed(element.type, items)
            fields.append(StructField(element.name, ArrayType(data_type) if element.is_list else data_type))
    return StructType(fields)


def typed_rows(spark: SparkSession, resource_type: str, resources: list[dict[str, Any]]) -> DataFrame:
    """A row a resource of the type."""
    chosen = [resource for resource in resources if resource["resourceType"] == resource_type]
    schema = typed(resource_type, chosen) if chosen else StructType([StructField("id", StringType())])
    texts = spark.createDataFrame([(json.dumps(resource, default=float),) for resource in chosen], "text STRING")
    return texts.select(F.from_json("text", schema).alias("resource")).select("resource.*")


def rows_of(spark: SparkSession, resources: list[dict[str, Any]], view: dict[str, Any]) -> DataFrame:
    return view_frame(typed_rows(spark, view.get("resource", "Patient"), resources), view)


@pytest.mark.parametrize(("resources", "test"), cases())
def test_case(spark: SparkSession, resources: list[dict[str, Any]], test: dict[str, Any]) -> None:
    if test.get("expectError"):
        with pytest.raises((ViewError, PySparkException)):
            rows_of(spark, resources, test["view"]).collect()
        return
    frame = rows_of(spark, resources, test["view"])
    found = [row.asDict(recursive=True) for row in frame.collect()]
    if "expectColumns" in test:
        assert frame.columns == test["expectColumns"]
    if "expectCount" in test:
        assert len(found) == test["expectCount"]
    if "expect" in test:
        # The specification leaves the order of rows open, so they are compared as a multiset.
        missing, surplus = list(test["expect"]), []
        for row in found:
            if row in missing:
                missing.remove(row)
            else:
                surplus.append(row)
        assert (missing, surplus) == ([], [])
