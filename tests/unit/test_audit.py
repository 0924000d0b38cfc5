"""The SQL that gives each check its value: elements within lists, what is no value, worst values, periods."""

from __future__ import annotations

import datetime
import json

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cohortlake.core.catalog.resource import resource_tree
from cohortlake.core.checks import choice_elements
from cohortlake.core.rules import FHIR_ID, Check, Holds, Matches, OneOf, Present, Resolves, Within
from cohortlake.core.sql import literal
from expectations.audit import audit_columns, audit_sql
from expectations.paths import answered_sql, element_sql, first_day, last_day, period_seconds, present_sql
from spark_jobs.fhir_types import fhir_schema
from spark_jobs.standardise_fhir import COLUMNS, standardise_part

FINAL = OneOf(("final", "amended"))
PATIENT = resource_tree("Patient", ["identifier", "active", "name", "gender", "birthDate", "contact.telecom"])
OBSERVATION = resource_tree("Observation", ["status", "code", "category", "effectivePeriod", "valueQuantity", "issued"])


def ask(sql: str):
    """What DuckDB says of one expression."""
    return duckdb.execute(f"SELECT {sql}").fetchone()[0]


def over(tree, sql: str, *rows: dict):
    """An expression over rows of a resource type, each without a file."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.register("t", pa.Table.from_pylist(list(rows), schema=fhir_schema(tree)))
    return [row[0] for row in connection.execute(f"SELECT {sql} FROM t").fetchall()]


@pytest.mark.parametrize(
    ("path", "row", "found"),
    [
        ("gender", {"gender": "male"}, "male"),
        ("name.family", {"name": [{"family": "Ito"}, {"family": None}]}, ["Ito", None]),
        ("name.given", {"name": [{"given": ["Ai", "Bo"]}, {"given": None}, {"given": ["Cy"]}]}, ["Ai", "Bo", "Cy"]),
        ("contact.telecom.rank", {"contact": [{"telecom": [{"rank": 1}]}, {"telecom": [{"rank": 2}]}]}, [1, 2]),
        ("name.given", {"name": None}, None),
        ("name.given", {"name": []}, []),
    ],
)  # fmt: skip
def test_an_element_within_lists_is_one_flat_list(path, row, found):
    sql, is_list = element_sql(PATIENT, path)
    assert over(PATIENT, sql, row) == [found]
    assert is_list is (path != "gender")


@pytest.mark.parametrize(
    ("tree", "path", "row", "is_there"),
    [
        (PATIENT, "gender", {"gender": "male"}, True),
        (PATIENT, "gender", {"gender": ""}, False),
        (PATIENT, "gender", {"gender": None}, False),
        (PATIENT, "active", {"active": False}, True),
        (PATIENT, "name", {"name": []}, False),
        (PATIENT, "name", {"name": [{}]}, False),
        (PATIENT, "name", {"name": [{"given": [""]}]}, False),
        (PATIENT, "name", {"name": [{}, {"given": ["Ai"]}]}, True),
        (PATIENT, "contact.telecom", {"contact": [{"telecom": [{}]}]}, False),
        (PATIENT, "name.family", {"name": [{"family": ""}, {}]}, False),
        (PATIENT, "name.family", {"name": [{}, {"family": "Ito"}]}, True),
        (OBSERVATION, "code", {"code": {}}, False),
        (OBSERVATION, "code", {"code": {"text": ""}}, False),
        (OBSERVATION, "code", {"code": {"coding": []}}, False),
        (OBSERVATION, "code", {"code": {"coding": [{}]}}, False),
        (OBSERVATION, "code", {"code": {"coding": [{"code": "1-8"}]}}, True),
        (OBSERVATION, "value[x]", {"valueQuantity": {"unit": ""}}, False),
        (OBSERVATION, "value[x]", {"valueQuantity": {"value": 0}}, True),
    ],
)
def test_an_empty_text_list_or_object_is_no_value(tree, path, row, is_there):
    assert over(tree, present_sql(tree, path), row) == [is_there]


def test_a_choice_is_its_typed_elements():
    assert choice_elements(OBSERVATION, "effective[x]") == ["effectivePeriod"]


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2021", (2021, 1, 1), (2021, 12, 31)),
        ("2024-02", (2024, 2, 1), (2024, 2, 29)),
        ("2021-03-04", (2021, 3, 4), (2021, 3, 4)),
        ("2021-03-04T23:00:00-05:00", (2021, 3, 4), (2021, 3, 4)),
        ("2021-02-30", None, None),
        ("soon", None, None),
    ],
)
def test_a_date_means_its_first_to_its_last_day(text, first, last):
    assert ask(first_day(literal(text))) == (first and datetime.date(*first))
    assert ask(last_day(literal(text))) == (last and datetime.date(*last))


@pytest.mark.parametrize(
    ("start", "end", "seconds"),
    [
        ("2021-01-01T10:00:00Z", "2021-01-01T10:00:05Z", 5),
        ("2021-01-01T10:00:00+02:00", "2021-01-01T09:00:00+01:00", 0),
        ("2021-01-01T10:00:05Z", "2021-01-01T10:00:00Z", -5),
        ("2021", "2021", 364 * 86400),
        ("2021-02", "2021-02-01", 0),
        ("2021-02-02", "2021-02", 26 * 86400),
        ("2021-03-01", "2021-02", -86400),
        ("2021-01-01T10:00:00Z", "2021-01-01", 0),
        ("2021", None, None),
        (None, "2021", None),
        ("never", "2021", None),
    ],
)
def test_a_period_lasts_as_long_as_its_partial_ends_allow(start, end, seconds):
    period = {"effectivePeriod": {"start": start, "end": end}}
    assert over(OBSERVATION, period_seconds('"effectivePeriod"'), period) == [seconds]


def audited(tree, rule, path: str, *rows: dict) -> list:
    """The values that a check of a path judges."""
    (item,) = audit_columns([Check(tree.name, "c", "conformance", "warn", rule, path)], tree)
    return over(tree, item.sql, *rows)


@pytest.mark.parametrize(
    ("given", "judged"),
    [(["a b", "c"], "a b"), (["a", "b c"], "b c"), (["a", "b"], "a"), ([], None), (None, None), ([None, "b c"], "b c")],
)
def test_a_list_is_judged_by_its_worst_value(given, judged):
    row = {"name": [{"given": given}]}
    assert audited(PATIENT, Matches(FHIR_ID), "name.given", row) == [judged]


@pytest.mark.parametrize(
    ("codes", "judged"),
    [(["x", "final"], "final"), (["x", "y"], "x"), (["final", "x"], "final"), ([], None)],
)
def test_a_concept_is_judged_by_a_code_that_its_binding_knows_where_it_has_one(codes, judged):
    coding = {"coding": [{"code": code} for code in codes]}
    assert audited(OBSERVATION, FINAL, "code", {"code": coding}) == [judged]
    assert audited(OBSERVATION, FINAL, "category", {"category": [{"coding": [{"code": "final"}]}, coding]}) == [
        judged or "final"
    ]


def test_checks_of_one_value_share_a_column_and_others_do_not():
    checks = [
        Check("Patient", "one", "conformance", "warn", OneOf(("male",)), "gender"),
        Check("Patient", "two", "conformance", "warn", Matches(".*"), "gender"),
        Check("Patient", "three", "conformance", "warn", Within(0, 1), "gender", sql="length(_g)"),
    ]
    items = audit_columns(checks, PATIENT)
    assert [item.column for item in items] == ["gender", "gender", "helper column: gender"]
    connection = duckdb.connect()
    connection.execute("""CREATE TABLE staged AS SELECT 'h' AS _file_hash, 1 AS _offset, 'p' AS id, '' AS "gender" """)
    found = connection.execute(audit_sql(items, {"_g": "gender"}, {"gender": "'twice'", "more": "7"}))
    names = ["_file_hash", "_offset", "id", "gender", "helper column: gender", "more"]
    assert [column[0] for column in found.description] == names
    assert found.fetchall() == [("h", 1, "p", None, 0, 7)]


def test_two_values_of_one_name_have_two_columns_and_what_is_computed_says_so():
    resolves = Check("Patient", "r", "conformance", "warn", Resolves(("Organization",)), "managingOrganization")
    tree = resource_tree("Patient", ["managingOrganization", "name"])
    checks = [
        Check("Patient", "one", "conformance", "warn", Holds(), "x", sql="true"),
        Check("Patient", "two", "conformance", "warn", Holds(), "x", sql="false"),
        Check("Patient", "three", "completeness", "warn", Present(), "name"),
        resolves,
    ]
    items = audit_columns(checks, tree)
    assert [item.column for item in items[:2]] == ["helper column: x", "helper column: x*"]
    assert all(item.column.startswith("helper column: ") and item.helper for item in items)
    assert [item.is_across for item in items] == [False, False, False, True]


ABSENT = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
WHY = {"extension": [{"url": ABSENT, "valueCode": "unknown"}]}
ELEMENTS = ["status", "class", "type", "subject", "participant.individual", "period"]
# With the class's extensions in columns of their own, and in `_rest`.
ENCOUNTERS = [resource_tree("Encounter", names) for names in (ELEMENTS, [*ELEMENTS, "class.extension"])]
UNKNOWN = {"system": "http://terminology.hl7.org/CodeSystem/data-absent-reason", "code": "unknown"}
VISIT = {"system": "http://snomed.info/sct", "code": "308335008"}


@pytest.mark.parametrize("encounter", ENCOUNTERS, ids=["untyped", "typed"])
@pytest.mark.parametrize(
    ("path", "record", "is_there", "is_answered"),
    [
        ("class", {"class": WHY}, False, True),
        ("class.code", {"class": WHY}, False, True),
        ("class.code", {"class": {"_code": WHY}}, False, True),
        ("class.code", {"class": {"code": "EMER", "_code": WHY}}, True, True),
        ("class", {"class": UNKNOWN}, False, True),
        ("class", {}, False, False),
        ("class", {"class": {"extension": []}}, False, False),
        ("class", {"extension": [{"url": ABSENT}], "_status": WHY}, False, False),
        ("status", {"_status": WHY}, False, True),
        ("subject.reference", {"subject": {"display": "x"}}, False, False),
        ("subject.reference", {"subject": WHY}, False, True),
        ("type", {"type": [{}, WHY]}, False, True),
        ("type", {"type": [{"coding": [UNKNOWN]}]}, False, True),
        ("type", {"type": [{"coding": [UNKNOWN, VISIT]}]}, True, True),
        ("type", {"type": [{"text": "visit", "coding": [UNKNOWN]}]}, True, True),
        ("type", {"type": [{"coding": [{"system": UNKNOWN["system"]}]}]}, True, True),
        ("participant.individual", {"participant": [{"individual": WHY}]}, False, True),
        ("period.start", {"period": {"end": "2021"}}, False, False),
    ],
)
def test_a_reason_is_an_answer_and_no_value(tmp_path, path, record, is_there, is_answered, encounter):
    """As a record gets there: through silver's own typing, which keeps in `_rest` what it does not type."""
    text = json.dumps({"resourceType": "Encounter", "id": "e1"} | record)
    moment = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    row = dict(zip(COLUMNS, ("f", "hash", moment, 0, text), strict=True))
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "bronze.parquet")
    unit = {"sources": [(tmp_path / "bronze.parquet", None)], "silo": "s"}
    done = standardise_part(unit | {"table": tmp_path / "t", "rejects": tmp_path / "rejects"}, encounter)
    part = tmp_path / "t" / done["part"]["path"]
    asked = f"{present_sql(encounter, path)}, {answered_sql(encounter, path)} IS NOT NULL"
    assert duckdb.execute(f"SELECT {asked} FROM '{part}'").fetchall() == [(is_there, is_answered)]
