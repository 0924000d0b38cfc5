"""What R4 says of a record's form: which checks follow for a type, and what each says of a row."""

from __future__ import annotations

import duckdb
import pyarrow as pa
import pytest

from cohortlake.core.catalog.resource import resource_tree, whole_tree
from cohortlake.core.fhir.definitions import resource_types
from cohortlake.core.forms import form_checks
from cohortlake.core.rules import Check, HasRequired, Present, Refers
from expectations.audit import audit_columns
from expectations.forms import form_sql
from spark_jobs.fhir_types import fhir_schema

PATIENT = resource_tree(
    "Patient",
    [
        "name", "photo", "link.other", "link.type", "communication.language", "communication.preferred",
        "managingOrganization", "telecom",
    ],
)  # fmt: skip
OBSERVATION = resource_tree(
    "Observation",
    ["code", "valueString", "valueInteger", "component.code", "component.valueString", "component.valueInteger"],
)
LIST = resource_tree("List", ["status", "entry.item", "entry.deleted"])
GROUP = whole_tree("Group")
SYSTEM = "http://loinc.org"


def broken(tree, row: dict) -> set[str]:
    """The checks of form that a row fails."""
    connection = duckdb.connect()
    connection.register("t", pa.Table.from_pylist([row], schema=fhir_schema(tree)))
    checks = list(form_checks(tree))
    (found,) = connection.execute(f"SELECT {', '.join(form_sql(tree, check) for check in checks)} FROM t").fetchall()
    return {check.name.removeprefix(f"{tree.name} ") for check, holds in zip(checks, found, strict=True) if not holds}


def checks(tree) -> dict[str, Check]:
    return {check.name: check for check in form_checks(tree)}


def test_checks_follow_from_what_is_typed():
    found = checks(OBSERVATION)
    assert found["Observation.component has its required elements"].rule == HasRequired(("code",))
    assert found["Observation.value[x] has one type"].severity == "quarantine"
    assert found["Observation.component.value[x] has one type"].severity == "warn"
    assert "Observation oid values are well-formed" not in found
    assert checks(GROUP)["Group.characteristic has its required elements"].rule == HasRequired(
        ("code", "value[x]", "exclude")
    )
    assert checks(PATIENT)["Patient.link.other is a FHIR reference"].rule == Refers(("Patient", "RelatedPerson"))
    # Of a choice that is typed in part, none of the types is required.
    assert "Group.characteristic.value[x]" not in checks(resource_tree("Group", ["characteristic.valueBoolean"]))


@pytest.mark.parametrize(
    ("row", "faults"),
    [
        ({}, set()),
        ({"meta": {"profile": ["http://a/b"]}}, set()),
        ({"meta": {"profile": ["http://a/b", "two words"]}}, {"canonical values are well-formed"}),
        ({"telecom": [{"system": "phone", "rank": 1}]}, set()),
        ({"telecom": [{"rank": 1}, {"rank": 0}]}, {"positiveInt values are well-formed"}),
        ({"telecom": [{"system": " phone"}]}, {"code values are well-formed"}),
        ({"telecom": [{"system": "pho  ne"}]}, {"code values are well-formed"}),
        ({"telecom": [{"system": ""}]}, {"code values are well-formed"}),
        ({"photo": [{"data": "Zm9v\nZm8="}]}, set()),
        ({"photo": [{"data": "Zm9v"}, {"data": "%%%2"}]}, {"base64Binary values are well-formed"}),
        ({"photo": [{"data": "Zm9"}]}, {"base64Binary values are well-formed"}),
        ({"photo": [{"url": "a b"}]}, {"url values are well-formed"}),
        ({"name": []}, {"has no empty list"}),
        ({"name": [{"family": "Ito"}, {"given": []}]}, {"has no empty list"}),
        ({"communication": [{"language": {"coding": []}}]}, {"has no empty list"}),
        ({"communication": [{"preferred": True}]}, {"Patient.communication has its required elements"}),
        ({"link": [{"other": {"display": "kin"}, "type": "seealso"}]}, set()),
        ({"link": [{"type": "seealso"}]}, {"Patient.link has its required elements"}),
    ],
)  # fmt: skip
def test_a_fault_of_form_is_told_by_name(row, faults):
    assert broken(PATIENT, row) == faults


@pytest.mark.parametrize(
    ("row", "faults"),
    [
        ({"valueString": "a"}, set()),
        ({"valueString": "a", "valueInteger": 0}, {"Observation.value[x] has one type"}),
        ({"component": [{"code": {}, "valueString": "a"}, {"code": {}, "valueInteger": 1}]}, set()),
        (
            {"component": [{"code": {}, "valueString": "a", "valueInteger": 1}]},
            {"Observation.component.value[x] has one type"},
        ),
        ({"component": [{"code": {}}, {"valueString": "a"}]}, {"Observation.component has its required elements"}),
    ],
)  # fmt: skip
def test_a_choice_is_made_once_and_what_is_required_is_there(row, faults):
    assert broken(OBSERVATION, row) == faults


@pytest.mark.parametrize(
    ("reference", "is_good"),
    [
        ("Organization/1", True),
        ("Organization/1/_history/2", True),
        ("Organization?identifier=a|b", True),
        ("#org", True),
        ("urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0", True),
        ("https://example.org/fhir/Organization/1", True),
        ("Patient/1", False),
        ("organization/1", False),
        ("Organization", False),
        ("Organization/a b", False),
        ("Organization/", False),
        ("1", False),
        ("", False),
        (None, True),
    ],
)
def test_a_reference_names_a_resource_of_an_allowed_type_or_points_elsewhere(reference, is_good):
    found = broken(PATIENT, {"managingOrganization": {"reference": reference, "display": "x"}})
    assert found == (set() if is_good else {"Patient.managingOrganization is a FHIR reference"})


@pytest.mark.parametrize(("target", "is_good"), [("Basic/1", True), ("basic/1", False), ("Basic", False)])
def test_a_reference_to_anything_still_has_a_form(target, is_good):
    found = broken(LIST, {"entry": [{"item": {"reference": target}}]})
    assert found == (set() if is_good else {"List.entry.item is a FHIR reference"})


@pytest.mark.parametrize("resource_type", sorted(resource_types()))
def test_an_empty_record_of_any_type_keeps_its_form(resource_type):
    tree = whole_tree(resource_type)
    assert broken(tree, {"id": "1"}) == set()
    items = audit_columns(form_checks(tree), tree)
    assert len({item.column for item in items}) == len(items)


def test_a_rule_of_values_is_no_rule_of_form():
    with pytest.raises(TypeError, match="Present is not a rule of form"):
        form_sql(PATIENT, Check("Patient", "x", "conformance", "warn", Present(), "name"))
