"""What `cohortlake view explain` shows: the plan in words, and SQL that Spark runs to the same rows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from cohortlake.core.errors import UsageError
from cohortlake.core.lake import Lake
from cohortlake.core.views import compile_view
from cohortlake.core.views.describe import describe
from cohortlake.core.views.needed import needed
from spark_jobs import views_sql as F
from spark_jobs.view_source import lake_resources, silo_key
from spark_jobs.views import view_frame
from spark_jobs.views_explain import silver_sql, table_sql
from spark_jobs.views_files import row_schema
from spark_jobs.views_text import quoted, text

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

VIEW: dict[str, Any] = {
    "resource": "Patient",
    "where": [{"path": "active and birthDate > %since"}],
    "constant": [{"name": "since", "valueDate": "1960"}],
    "select": [
        {"column": [{"name": "id", "path": "getResourceKey()"}]},
        {
            "forEachOrNull": "contact",
            "column": [{"name": "place", "path": "%rowIndex"}],
            "unionAll": [
                {"forEach": "telecom", "column": [{"name": "said", "path": "value"}]},
                {"column": [{"name": "said", "path": "name.text & '\\'s \\\\ line\\nend'"}]},
            ],
        },
        {"column": [{"name": "given", "path": "name.given", "collection": True}]},
    ],
}
REPEAT: dict[str, Any] = {
    "resource": "QuestionnaireResponse",
    "select": [
        {
            "repeat": ["item", "answer.item"],
            "column": [{"name": "link", "path": "linkId"}, {"name": "place", "path": "%rowIndex"}],
        }
    ],
}


def test_the_plan_is_told_in_the_order_of_the_columns() -> None:
    assert list(describe(compile_view(VIEW))) == [
        "for each Patient",
        "  where active and birthDate > %since",
        "  id VARCHAR = getResourceKey()",
        "  for each contact, or once with nulls",
        "    place INTEGER = %rowIndex",
        "    the rows of",
        "      for each telecom",
        "        said VARCHAR = value",
        "    then the rows of",
        "      said VARCHAR = name.text & '\\'s \\\\ line\\nend'",
        "  given VARCHAR ARRAY = name.given",
    ]
    assert list(describe(compile_view(REPEAT)))[1] == "  for each item, answer.item, at every level"


def test_expressions_are_text_that_reads_as_it_was_made() -> None:
    name = F.col("name")
    nested = F.transform(name, lambda item, place: F.filter(item.getField("end"), lambda inner: inner == place + 1))
    assert text(nested) == "transform(name, (x1, x2) -> filter(x1.`end`, x3 -> (x3 = (x2 + 1))))"
    case = F.when(~name.isNotNull(), None).when(name < 2, True).otherwise(F.lit("it's"))
    assert text(case.alias("a b")) == (
        "CASE WHEN (NOT isnotnull(name)) THEN NULL WHEN (name < 2) THEN true ELSE 'it\\'s' END AS `a b`"
    )
    assert text(case.getField("x").try_cast("INT")) == f"TRY_CAST(({text(case)}).x AS INT)"


@pytest.mark.parametrize(
    ("name", "shown"), [("code", "code"), ("end", "`end`"), ("a`b", "`a``b`"), ("_birthDate", "_birthDate")]
)
def test_names_are_quoted_where_sql_would_take_them_for_its_own(name: str, shown: str) -> None:
    assert quoted(name) == shown


def test_long_sql_is_laid_out_in_lines_that_can_be_read() -> None:
    view = compile_view(VIEW)
    lines = table_sql(view, needed(view), 1).split("\n")
    assert lines[0] == "SELECT"
    assert "FROM Patient" in map(str.strip, lines)
    assert all(len(line) <= 120 for line in lines)


PEOPLE = [
    {
        "id": "ann",
        "active": True,
        "birthDate": "1970-06",
        "name": [{"given": ["x", "y"]}],
        "contact": [{"telecom": [{"value": "1"}, {"value": "2"}], "name": {"text": "C"}}, {"name": None}],
    },
    {"id": "bob", "active": True, "birthDate": "1970"},
    {"id": "eve", "active": False, "birthDate": "1970"},
]
FORM = [{"item": [{"linkId": "1", "item": [{"linkId": "1.1"}], "answer": [{"item": [{"linkId": "1.2"}]}]}]}]


@pytest.mark.spark
@pytest.mark.parametrize(("view", "resources"), [(VIEW, PEOPLE), (REPEAT, FORM)], ids=["nested", "repeat"])
def test_the_sql_gives_the_rows_that_the_view_gives(
    spark: SparkSession, view: dict[str, Any], resources: list[dict[str, Any]]
) -> None:
    compiled = compile_view(view)
    elements = needed(compiled, depth=2)
    frame = spark.createDataFrame(resources, row_schema(elements.tree))
    frame.createOrReplaceTempView(view["resource"])
    try:
        found = spark.sql(table_sql(compiled, elements, 2))
        expected = view_frame(frame, compiled, depth=2)
        assert found.columns == expected.columns
        assert found.collect() == expected.collect() != []
    finally:
        spark.catalog.dropTempView(view["resource"])


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A lake whose silver types a patient's id and families, and keeps the rest of some as JSON."""
    found = Lake(tmp_path)
    family = pa.list_(pa.struct([("family", pa.string())]))
    rows = {
        "id": ["1", "2"],
        "name": pa.array([[{"family": "A"}], [{"family": "B"}]], family),
        "_rest": ['{"name": [{"family": "A", "given": ["x"]}], "active": true}', None],
        "silo": ["s", "s"],
    }
    write_deltalake(str(found.silver("Patient")), pa.table(rows), partition_by=["silo"])
    return found


GIVEN = {
    "resource": "Patient",
    "select": [
        {
            "column": [
                {"name": "key", "path": "getResourceKey()"},
                {"name": "family", "path": "name.family"},
                {"name": "given", "path": "name.given"},
            ]
        }
    ],
}


@pytest.mark.spark
def test_the_sql_over_a_lake_gives_the_rows_of_its_silver(spark: SparkSession, lake: Lake) -> None:
    view = compile_view(GIVEN)
    elements = needed(view)
    rows = view_frame(lake_resources(spark, lake.silver("Patient"), elements), view, key=silo_key)
    found = spark.sql(silver_sql(view, elements, lake, 1))
    assert found.collect() == rows.collect()
    assert sorted(tuple(row) for row in found.collect()) == [("s/1", "A", "x"), ("s/2", "B", None)]


@pytest.mark.spark
def test_a_silo_that_a_lake_lacks_is_said(spark: SparkSession, lake: Lake) -> None:
    view = compile_view(GIVEN)
    with pytest.raises(UsageError, match="no Patient came from the silo 't'"):
        lake_resources(spark, lake.silver("Patient"), needed(view), ["t"])


def test_a_type_that_a_lake_lacks_is_said_without_an_engine(lake: Lake) -> None:
    view = compile_view({"resource": "Encounter", "select": [{"column": [{"name": "id", "path": "id"}]}]})
    with pytest.raises(UsageError, match="holds no Encounter"):
        silver_sql(view, needed(view), lake, 1)
