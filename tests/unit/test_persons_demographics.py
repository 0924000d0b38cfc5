"""A FHIR Patient as a row of demographics."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohortlake.core.persons.declared import load_model
from cohortlake.core.persons.demographics import SCHEMA, from_patient, split_name

MODEL = load_model()


def coded(code: str) -> dict[str, Any]:
    return {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": code}]}


PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "1",
    "identifier": [
        {"type": coded("MR"), "system": "urn:hospital", "value": "77"},
        {"type": coded("SS"), "system": "http://hl7.org/fhir/sid/us-ssn", "value": "999-30-6432"},
        {"type": coded("DL"), "system": "urn:oid:2.16.840.1.113883.4.3.25", "value": "S99-945951"},
        {"type": coded("PPN"), "system": "urn:passport", "value": "X1", "use": "old"},
        {"value": "no system, so of no hospital"},
    ],
    "name": [
        {"use": "maiden", "family": "Berge125", "given": ["Denae137"]},
        {"use": "official", "family": "Walker122", "given": ["Denae137", "Dione665"], "suffix": ["Jr."]},
    ],
    "telecom": [{"system": "phone", "value": "555-150-1856"}, {"system": "email", "value": "D@x.org"}],
    "gender": "female",
    "birthDate": "1965-02-07",
    "address": [
        {"use": "old", "line": ["1 Old Road"], "city": "Elsewhere"},
        {"line": ["537 Hilpert Street"], "city": "Taunton", "postalCode": "02780-0001"},
    ],
    "link": [{"other": {"reference": "Patient/2/_history/1"}, "type": "replaces"}],
}


def test_a_whole_patient() -> None:
    row = from_patient("a", PATIENT, MODEL)
    assert row == {
        "silo": "a",
        "patient_id": "1",
        "first_name": "denae",
        "first_names": ["denae"],
        "middle_name": "dione",
        "given_names": "denaedione",
        "surname": "walker",
        "surnames": ["walker", "berge"],
        "suffix": "jr",
        "birth_date": "1965-02-07",
        "birth_year": 1965,
        "birth_day_month": "02-07",
        "sex": "f",
        "ssn": "999306432",
        "identifiers": ["driving_licence|urn:oid:2.16.840.1.113883.4.3.25|s99945951"],
        "identifier_kinds": ["driving_licence|urn:oid:2.16.840.1.113883.4.3.25"],
        "record_numbers": ["urn:hospital|77"],
        "address": "537 hilpert st",
        "city": "taunton",
        "postcode": "02780",
        "phones": ["5551501856"],
        "email": "d@x.org",
        "links": ["2"],
    }
    assert pa.Table.from_pylist([row], schema=SCHEMA).num_rows == 1


def test_a_patient_with_nothing_but_an_id() -> None:
    row = from_patient("a", {"id": "1"}, MODEL)
    assert row.keys() == set(SCHEMA.names)
    assert {name for name, value in row.items() if value} == {"silo", "patient_id"}


@pytest.mark.parametrize(
    ("text", "family", "given_names"),
    [
        ("Maryjo280 Kirlin939", "Kirlin939", ["Maryjo280"]),
        ("Kirlin, Maryjo B.", "Kirlin", ["Maryjo", "B."]),
        ("Cher", "Cher", []),
        ("", None, []),
    ],
)
def test_a_name_in_one_piece(text: str, family: str | None, given_names: list[str]) -> None:
    assert split_name(text) == {"family": family, "given": given_names}


def test_short_forms_stand_for_full_names() -> None:
    bob = from_patient("a", {"id": "1", "name": [{"family": "X", "given": ["Bob"]}]}, MODEL)
    robert = from_patient("a", {"id": "2", "name": [{"family": "X", "given": ["Robert"]}]}, MODEL)
    assert set(bob["first_names"]) & set(robert["first_names"]) == {"robert"}


values = st.recursive(
    st.none() | st.booleans() | st.text(max_size=8) | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
ELEMENTS = ("identifier", "name", "telecom", "gender", "birthDate", "address", "link")
PARTS = ("family", "given", "use", "text", "suffix", "line", "city", "postalCode", "system", "value", "type", "other")
parts = st.dictionaries(st.sampled_from(PARTS), st.text(max_size=8) | st.lists(st.text(max_size=5)), max_size=4)


@given(st.dictionaries(st.sampled_from(ELEMENTS), values | st.lists(parts, max_size=3)))
def test_any_patient_gives_a_row(elements: dict[str, Any]) -> None:
    row = from_patient("a", {"id": "1", **elements}, MODEL)
    assert pa.Table.from_pylist([row], schema=SCHEMA).num_rows == 1
