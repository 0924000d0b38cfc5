"""Rows for views out of silver's typed columns and the JSON beside them."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from cohortlake.core.errors import ViewError
from cohortlake.core.views import compile_view
from cohortlake.core.views.needed import Needed, needed
from spark_jobs.view_source import resources
from spark_jobs.views import view_frame

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

pytestmark = pytest.mark.spark

TYPED = """
    id STRING, status STRING, silo STRING, valueQuantity STRUCT<value: DECIMAL(38,18), unit: STRING>,
    code STRUCT<coding: ARRAY<STRUCT<code: STRING>>, text: STRING>, method STRUCT<text: STRING>
"""
CODED = {"coding": [{"code": "a"}, {"code": "b"}], "text": "A"}
ROWS: list[dict[str, Any]] = [
    {"id": "1", "silo": "s", "code": CODED, "valueQuantity": {"value": Decimal("1.5"), "unit": "mg"}},
    {"id": "2", "silo": "s", "code": CODED, "method": {"text": "m"}, "valueQuantity": {"value": Decimal(2)}},
    {"id": "3", "silo": "t"},
]
# What the typed columns do not hold exactly, each root element whole: 1.50 is not 1.5.
REST = [
    '{"valueQuantity": {"value": 1.50, "unit": "mg"}, "note": [{"text": "n, \\"v\\": 2.50"}, {"text": "o"}]}',
    '{"code": {"coding": [{"code": "a", "display": "D", "x": 1e2}, {"code": "b"}], "text": "A"}}',
    None,
]


def observations(spark: SparkSession, rest: bool) -> DataFrame:
    rows = [{**row, "_rest": text} for row, text in zip(ROWS, REST, strict=True)] if rest else ROWS
    return spark.createDataFrame(rows, TYPED + (", _rest STRING" if rest else ""))


def plan(**paths: str) -> tuple[Any, Needed]:
    columns = [{"name": name, "path": path, "collection": True} for name, path in paths.items()]
    view = compile_view({"resource": "Observation", "select": [{"column": columns}]})
    return view, needed(view)


def rows(silver: DataFrame, **paths: str) -> list[tuple[Any, ...]]:
    view, elements = plan(**paths)
    return [tuple(row) for row in view_frame(resources(silver, elements), view).collect()]


def test_elements_that_are_typed_are_read_as_they_stand(spark: SparkSession) -> None:
    silver = observations(spark, rest=True)
    _, elements = plan(a="code.coding.code", b="status")
    assert resources(silver, elements).columns == ["status", "code", "silo"]
    assert rows(silver, a="code.coding.code") == [(["a", "b"],), (["a", "b"],), (None,)]


def test_an_element_below_a_typed_one_is_read_from_the_json_that_has_it(spark: SparkSession) -> None:
    assert rows(observations(spark, rest=True), c="code.coding.code", d="code.coding.display", t="code.text") == [
        (["a", "b"], None, ["A"]),
        (["a", "b"], ["D"], ["A"]),
        (None, None, None),
    ]


def test_a_root_element_that_is_not_typed_is_read_from_the_json(spark: SparkSession) -> None:
    assert rows(observations(spark, rest=True), n="note.text", s="issued") == [
        (['n, "v": 2.50', "o"], None),
        (None, None),
        (None, None),
    ]


def test_an_element_that_is_only_asked_to_be_there_needs_no_children(spark: SparkSession) -> None:
    for rest in (False, True):
        assert rows(observations(spark, rest), m="method.exists()") == [([False],), ([True],), ([False],)]
    assert rows(observations(spark, rest=True), n="note.exists()", c="code.coding.display.exists()") == [
        ([True], [False]),
        ([False], [True]),
        ([False], [False]),
    ]


def test_a_boundary_sees_a_decimal_as_it_was_written_where_the_json_has_it(spark: SparkSession) -> None:
    paths = {"low": "value.ofType(Quantity).value.lowBoundary()", "value": "value.ofType(Quantity).value"}
    exact = [([Decimal("1.495")], [Decimal("1.5")]), ([Decimal("1.5")], [Decimal(2)]), (None, None)]
    assert rows(observations(spark, rest=True), **paths) == exact
    # Without it the places that the number needs are all that is known.
    assert rows(observations(spark, rest=False), **paths)[0] == ([Decimal("1.45")], [Decimal("1.5")])


def test_an_element_that_the_table_does_not_hold_is_an_error_that_says_where_and_what_to_do(
    spark: SparkSession,
) -> None:
    with pytest.raises(ViewError) as caught:
        rows(observations(spark, rest=False), a="code.text", b="note.text", c="code.coding.where(system = 'x').code")
    lines = str(caught.value).split("\n")
    assert lines == [
        "select[0].column[2].path (code.coding.where(system = 'x').code): found Observation.code.coding.system, which "
        "this lake does not type; allowed: the elements of catalog/resources/Observation.yaml",
        "select[0].column[1].path (note.text): found Observation.note, which this lake does not type; "
        "allowed: the elements of catalog/resources/Observation.yaml",
    ]
    assert (
        caught.value.hint
        == "Add code.coding.system, note to catalog/resources/Observation.yaml, then run the lake again."
    )
