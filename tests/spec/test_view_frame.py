"""What views do beyond the conformance cases: rows as real silos give them, keys, SQL types, the edges of FHIRPath."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from cohortlake.core.views import compile_view
from spark_jobs import views_sql as S
from spark_jobs.views import several_stages, staged, view_frame

pytestmark = pytest.mark.spark

SCHEMA = """
    id STRING, active BOOLEAN, birthDate STRING, multipleBirthInteger INT,
    name ARRAY<STRUCT<family: STRING, given: ARRAY<STRING>, period: STRUCT<start: STRING, end: STRING>>>,
    contact ARRAY<STRUCT<telecom: ARRAY<STRUCT<system: STRING, value: STRING>>>>,
    managingOrganization STRUCT<reference: STRING>, gender STRING,
    _birthDate STRUCT<extension: ARRAY<STRUCT<url: STRING, valueBoolean: BOOLEAN>>>,
    contained ARRAY<STRUCT<resourceType: STRING, id: STRING, name: STRING>>,
    extension ARRAY<STRUCT<url: STRING, valueString: STRING, valueDecimal: DECIMAL(38,18)>>
"""
ANN = {
    "id": "ann",
    "active": True,
    "birthDate": "1970-06",
    "_birthDate": {"extension": [{"url": "sure", "valueBoolean": False}]},
    "contained": [{"resourceType": "Organization", "id": "o", "name": "O"}],
    "multipleBirthInteger": 3,
    "name": [
        {"family": "A", "given": ["x", None, "y"], "period": {"start": "2010-10-10T10:00:00+02:00"}},
        {"family": None, "given": None},
    ],
    "contact": [{"telecom": None}, {"telecom": [{"system": "phone", "value": "1"}, {"system": "fax", "value": "2"}]}],
    "managingOrganization": {"reference": "http://example.org/fhir/Organization/o1/_history/2"},
    "extension": [{"url": "weight", "valueString": "12 kg", "valueDecimal": Decimal("1.50")}],
}
BOB = {"id": "bob"}


@pytest.fixture(scope="module")
def patients(spark: SparkSession) -> DataFrame:
    return spark.createDataFrame([ANN, BOB], SCHEMA)


def view(*selects: dict[str, Any], **others: Any) -> dict[str, Any]:
    return {"resource": "Patient", "select": list(selects), **others}


def columns(**paths: str) -> dict[str, Any]:
    return {"column": [{"name": name, "path": path} for name, path in paths.items()]}


def rows(frame: DataFrame) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in frame.collect()]


PATHS = {
    # path: value for ann, value for bob
    "name.family.first()": ("A", None),
    "name.given.join('+')": ("x+y", ""),
    "name.given.exists()": (True, False),
    "name.where(given = 'y').exists()": (False, False),
    "name.given.where($this = 'y').exists()": (True, False),
    "name[1].family.empty()": (True, True),
    "where(active).id": ("ann", None),
    "Patient.first().id": ("ann", "bob"),
    "extension('weight').value.ofType(decimal).lowBoundary()": (Decimal("1.45"), None),
    # Cut to a precision, a bound goes outwards.
    "1.587.lowBoundary(2)": (Decimal("1.58"), Decimal("1.58")),
    "1.587.highBoundary(0)": (Decimal(2), Decimal(2)),
    "(-1.587).lowBoundary(2)": (Decimal("-1.59"), Decimal("-1.59")),
    "100.0.highBoundary()": (Decimal("100.05"), Decimal("100.05")),
    # A primitive's extensions stand beside it.
    "birthDate.extension('sure').value.ofType(boolean)": (False, None),
    "contained.ofType(Organization).name.first()": ("O", None),
    "contained.ofType(Patient).id.first()": (None, None),
    "gender.ofType(string)": (None, None),
    "extension.where(url = 'weight').exists()": (True, False),
    "photo.title.first()": (None, None),
    "photo.where(title = 'x').exists()": (False, False),
    "deceased.exists()": (False, False),
    "multipleBirth.exists()": (True, False),
    "managingOrganization.getReferenceKey()": ("o1", None),
    "managingOrganization.getReferenceKey(Organization)": ("o1", None),
    "managingOrganization.getReferenceKey(Patient)": (None, None),
    # Three-valued logic: bob's `active` is empty.
    "active or true": (True, True),
    "active and true": (True, None),
    "active and false": (False, False),
    "active xor false": (True, None),
    "active implies false": (False, None),
    "active.not()": (False, None),
    "active != true": (False, None),
    # The only item of another type counts as true for `and` and its like.
    "active and managingOrganization": (True, None),
    "birthDate.not()": (False, None),
    # Lists are equal item by item, in order; a date that is less precise does not decide.
    "name.given = name.given": (True, None),
    "name.given != contact.telecom.value": (True, None),
    "name.given = 'x'": (False, None),
    "name.period.start = name.period.start": (True, None),
    # Dates compare as far as both are precise.
    "birthDate < @1970-07-01": (True, None),
    "birthDate < @1970-06-02": (None, None),
    "birthDate = @1970-06": (True, None),
    "name.first().period.start = @2010-10-10T08:00:00.000Z": (True, None),
    "name.first().period.start = @2010-10-10T08:00Z": (None, None),
    "name.first().period.start > @2010-10-10T07:59Z": (True, None),
    "@T10:30 < @T10:30:00": (None, None),
    "@T10:30:00 = @T10:30:00.000": (True, True),
    "birthDate.lowBoundary()": ("1970-06-01", None),
    "birthDate.highBoundary()": ("1970-06-30", None),
    "name.first().period.lowBoundary()": ("2010-10-10T10:00:00.000+02:00", None),
    "@2012.highBoundary()": ("2012-12-31", "2012-12-31"),
    "@2012-02T.highBoundary()": ("2012-02-29T23:59:59.999-12:00", "2012-02-29T23:59:59.999-12:00"),
    "@2012-02-03T.lowBoundary(6)": ("2012-02", "2012-02"),
    "@2012-02-03T10+02:00.highBoundary(12)": ("2012-02-03T10:59+02:00", "2012-02-03T10:59+02:00"),
    "@T10:30.lowBoundary(2)": ("10", "10"),
    "@T10:30.highBoundary()": ("10:30:59.999", "10:30:59.999"),
    "-multipleBirth.ofType(integer) div 2": (-1, None),
    "multipleBirth.ofType(integer) / 2": (Decimal("1.5"), None),
    "multipleBirth.ofType(integer) / 0": (None, None),
    "2147483647 + multipleBirth.ofType(integer)": (None, None),
    "7 mod 4 * 1.5": (Decimal("4.5"), Decimal("4.5")),
    "%large + 1": (5000000001, 5000000001),
    "'a' + gender": (None, None),
    "'a' & gender": ("a", "a"),
}


PATHS_VIEW = view(
    columns(**{f"c{index}": path for index, path in enumerate(PATHS)}),
    constant=[{"name": "large", "valueInteger64": "5000000000"}],
)


def test_paths(patients: DataFrame) -> None:
    ann, bob = rows(view_frame(patients, PATHS_VIEW))
    assert dict(zip(PATHS, zip(ann, bob, strict=True), strict=True)) == PATHS


def test_an_item_without_nested_items_loses_no_rows_of_its_siblings(patients: DataFrame) -> None:
    nested = {"forEach": "contact", **columns(c="%rowIndex"), "select": [{"forEach": "telecom", **columns(v="value")}]}
    assert rows(view_frame(patients, view(columns(id="id"), nested))) == [("ann", 1, "1"), ("ann", 1, "2")]


def test_for_each_or_null_gives_a_row_of_nulls_with_index_0(patients: DataFrame) -> None:
    nested = {"forEachOrNull": "contact", **columns(c="%rowIndex", k="'k'")}
    many = {"name": "m", "path": "%rowIndex", "collection": True}
    nested["select"] = [
        {"forEachOrNull": "telecom", "column": [*columns(v="value", t="%rowIndex")["column"], many]},
    ]
    assert rows(view_frame(patients, view(columns(id="id"), nested))) == [
        ("ann", 0, "k", None, 0, [0]),
        ("ann", 1, "k", "1", 0, [0]),
        ("ann", 1, "k", "2", 1, [1]),
        ("bob", 0, None, None, 0, [0]),
    ]


def test_elements_that_the_rows_lack_are_empty(patients: DataFrame) -> None:
    missing = {"column": [{"name": "codes", "path": "coding.code", "collection": True}, *columns(t="text")["column"]]}
    frame = view_frame(patients, view(columns(id="id"), {"forEachOrNull": "communication.language", **missing}))
    assert frame.dtypes == [("id", "string"), ("codes", "array<string>"), ("t", "string")]
    assert rows(frame) == [("ann", None, None), ("bob", None, None)]
    assert rows(view_frame(patients, view({"forEach": "communication.language", **missing}))) == []
    assert rows(view_frame(patients, view({"repeat": ["communication"], **columns(t="language.text")}))) == []
    assert rows(view_frame(patients, view({"repeat": [], **columns(i="id", a="active.not()", n="%rowIndex")}))) == []


def test_columns_have_the_sql_types_of_their_tags(patients: DataFrame) -> None:
    wanted = {
        "birth_date": ("birthDate", "DATE", "1970-06-01"),
        "born_at": ("birthDate", "TIMESTAMP", "1970-06-01 00:00:00"),
        "started_at": ("name.first().period.start", "TIMESTAMP", "2010-10-10 08:00:00"),
        "births": ("multipleBirth.ofType(integer)", "DOUBLE PRECISION", "3.0"),
        "text": ("multipleBirth.ofType(integer)", "CHARACTER VARYING(10)", "3"),
        "unreadable": ("name.family.first()", "INTEGER", None),
    }
    tagged = [
        {"name": name, "path": path, "tag": [{"name": "ansi/type", "value": sql_type}]}
        for name, (path, sql_type, _) in wanted.items()
    ]
    frame = view_frame(patients.where("id = 'ann'"), view({"column": tagged}))
    assert [data_type for _, data_type in frame.dtypes] == ["date", "timestamp", "timestamp", "double", "string", "int"]
    as_text = frame.select(*(F.col(name).cast("STRING") for name in frame.columns))
    assert rows(as_text) == [tuple(value for _, _, value in wanted.values())]


def test_keys_come_from_the_hook(patients: DataFrame) -> None:
    paths = columns(key="getResourceKey()", organization="managingOrganization.getReferenceKey(Organization)")
    frame = view_frame(patients, view(paths), key=lambda kind, key: S.concat(kind, "|", key))
    assert rows(frame) == [("Patient|ann", "Organization|o1"), ("Patient|bob", None)]


def test_a_branch_without_items_has_its_own_row_of_nulls(patients: DataFrame) -> None:
    numbers = {"forEachOrNull": "communication.where(language.text = 'none')", **columns(place="%rowIndex")}
    frame = view_frame(patients, view({"unionAll": [columns(place="7"), numbers]}))
    assert sorted(rows(frame)) == [(0,), (0,), (7,), (7,)]


def test_more_than_one_value_stops_the_job_and_names_the_path_only(patients: DataFrame) -> None:
    frame = view_frame(patients, view(columns(given="name.given")))
    with pytest.raises(PySparkException) as caught:
        frame.collect()
    message = str(caught.value).splitlines()[0]
    assert "select[0].column[0].path (name.given): found more than one item" in message


def test_views_of_one_table_are_made_in_one_pass(patients: DataFrame) -> None:
    views = {
        "families": compile_view(view({"forEach": "name", **columns(family="family")}, where=[{"path": "active"}])),
        "ids": compile_view(view(columns(key="getResourceKey()"))),
    }
    key = lambda kind, key: S.concat(kind, "/", key)  # noqa: E731
    made = staged(patients, several_stages(patients.schema, views, ["gender"], key=key))
    assert made.columns == ["gender", "families", "ids"]
    assert sorted(rows(made.where("ids IS NOT NULL").select("ids.*"))) == [("Patient/ann",), ("Patient/bob",)]
    assert rows(made.where("families IS NOT NULL").select("families.*")) == [("A",), (None,)]
    assert made.count() == 4


QUESTIONNAIRE = """
    id STRING, item ARRAY<STRUCT<linkId: STRING, item: ARRAY<STRUCT<linkId: STRING, text: STRING,
    answer: ARRAY<STRUCT<item: ARRAY<STRUCT<linkId: STRING>>>>>>>>
"""


def test_repeat_numbers_items_of_every_depth_parents_first(spark: SparkSession) -> None:
    deepest = {"item": [{"linkId": "1.1.1"}]}
    items = [{"linkId": "1", "item": [{"linkId": "1.1", "text": "t", "answer": [deepest]}]}, {"linkId": "2"}]
    responses = spark.createDataFrame([{"id": "q", "item": items}], QUESTIONNAIRE)
    repeated = {"repeat": ["item", "answer.item"], **columns(i="%rowIndex", link="linkId", text="text")}
    found = rows(view_frame(responses, {"resource": "QuestionnaireResponse", "select": [repeated]}))
    assert found == [(0, "1", None), (1, "1.1", "t"), (2, "1.1.1", None), (3, "2", None)]


def test_repeat_keeps_the_elements_that_are_asked_of_an_item_in_whatever_level_it_stands(spark: SparkSession) -> None:
    items = [{"linkId": "1", "item": [{"linkId": "1.1", "text": "t", "answer": [{"item": [{"linkId": "1.1.1"}]}]}]}]
    responses = spark.createDataFrame([{"id": "q", "item": items}], QUESTIONNAIRE)
    repeated = {"repeat": ["item", "answer.item"], **columns(link="linkId", has="item.exists()", below="item.linkId")}
    found = rows(view_frame(responses, {"resource": "QuestionnaireResponse", "select": [repeated]}))
    assert found == [("1", True, "1.1"), ("1.1", False, None), ("1.1.1", False, None)]


def test_an_item_below_the_last_level_of_repeat_stops_the_job(spark: SparkSession) -> None:
    items = [{"linkId": "1", "item": [{"linkId": "1.1", "answer": [{"item": [{"linkId": "1.1.1"}]}]}]}]
    responses = spark.createDataFrame([{"id": "q", "item": items}], QUESTIONNAIRE)
    repeated = {
        "resource": "QuestionnaireResponse",
        "select": [{"repeat": ["item", "answer.item"], **columns(l="linkId")}],
    }
    assert len(rows(view_frame(responses, repeated, depth=3))) == 3
    with pytest.raises(PySparkException, match="found items more than 2 levels down; allowed: a greater --depth"):
        view_frame(responses, repeated, depth=2).collect()
