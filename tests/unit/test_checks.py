"""Checks: what follows from R4 and the protocols, how severe it is, and that SQL and Great Expectations agree on it."""

from __future__ import annotations

import datetime
from dataclasses import replace

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohortlake.core.catalog import Catalog, load_catalog
from cohortlake.core.checks import gold_checks, silo_checks, strictest
from cohortlake.core.errors import CatalogError
from cohortlake.core.rules import (
    FHIR_ID,
    Check,
    Matches,
    OneOf,
    Ordered,
    Present,
    Resolves,
    ValueOrReason,
    WellFormed,
    Within,
)
from cohortlake.core.sql import literal
from expectations.audit import breaks_sql
from expectations.custom import is_fhir_date
from expectations.extras import extras
from spark_jobs.units import Converter
from tests.engines import results

A = "site_a_fhir_r4"


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


@pytest.fixture(scope="module")
def of_a(catalog) -> dict[str, Check]:
    """Hospital A's checks by name."""
    return {check.name: check for check in silo_checks(catalog, A)}


@pytest.mark.parametrize(
    ("name", "severity", "rule"),
    [
        ("Observation.id is present", "quarantine", Present()),
        ("Observation.id is a FHIR id", "quarantine", Matches(FHIR_ID)),
        ("Observation.status has a value or a reason", "quarantine", ValueOrReason()),
        ("Observation.status is present", "warn", Present()),
        ("Observation.subject.reference has a value or a reason", "quarantine", ValueOrReason()),
        ("Observation.effectiveDateTime is a FHIR dateTime", "quarantine", WellFormed("dateTime")),
        ("Observation.issued is a FHIR instant", "quarantine", WellFormed("instant")),
        ("Observation.effectivePeriod ends after it starts", "quarantine", Ordered()),
        ("Observation.encounter resolves", "warn", Resolves(("Encounter",))),
        ("Observation.subject resolves", "quarantine", Resolves(("Patient", "Group", "Device", "Location"))),
        ("Observation.encounter.reference is present", "warn", Present()),
        ("Observation keys are unique", "fail", Within(0, 0)),
        ("AllergyIntolerance.patient resolves", "quarantine", Resolves(("Patient",))),
        ("MedicationRequest.medication[x] has a value or a reason", "quarantine", ValueOrReason()),
        ("MedicationRequest.medication[x] is present", "warn", Present()),
        ("Patient delivers enough records", "warn", Within(1, None)),
        ("Patient does not shrink", "warn", Within(None, 20)),
        (f"{A} is fresh", "warn", Within(None, 40)),
    ],
)
def test_a_check_follows_from_r4_or_the_protocol(of_a, name, severity, rule):
    assert (of_a[name].severity, of_a[name].rule) == (severity, rule)


def test_a_code_at_the_root_is_quarantined_and_one_within_only_warned_of(of_a):
    root, within = of_a["Observation.status is a known code"], of_a["Patient.name.use is a known code"]
    assert (root.severity, within.severity) == ("quarantine", "warn")
    assert "entered-in-error" in root.rule.codes


def test_a_value_set_of_the_protocol_is_quarantined(of_a):
    check = of_a["Encounter.class.code is in the protocol's value set"]
    assert (check.severity, "IMP" in check.rule.codes) == ("quarantine", True)


def test_what_is_within_a_list_or_a_reference_is_not_judged_as_a_period_or_again(of_a):
    assert "Patient.name.period ends after it starts" not in of_a
    assert "Observation.subject.identifier.value is present" not in of_a
    assert not [name for name in of_a if name.startswith("Observation.subject.type")]


def test_a_silo_of_tables_is_not_held_to_its_columns_as_if_they_were_elements(catalog):
    names = {check.name for check in silo_checks(catalog, "site_b_csv")}
    assert "Patient.id is present" in names
    assert not [name for name in names if "value set" in name]


def test_names_are_unique_in_each_silo_together_with_the_written_checks(catalog):
    converter = Converter(catalog.units)
    for silo in catalog.silos:
        derived = silo_checks(catalog, silo)
        written = [check for tree in catalog.resources.values() for check in extras(tree, converter).checks]
        assert len({check.name for check in derived}) == len(derived)
        assert not {check.name for check in derived} & {check.name for check in written}


@pytest.mark.parametrize("order", [("warn", "quarantine", "fail"), ("fail", "warn", "quarantine"), ("fail", "fail")])
def test_of_two_checks_of_one_name_the_more_severe_stays(order):
    checks = [Check("T", "T.x is present", "completeness", severity, Present(), "x") for severity in order]
    assert [check.severity for check in strictest(checks)] == ["fail"]


@pytest.mark.parametrize(
    "declared",
    [
        {"required": ["no.such.element"]},
        {"expected": ["code.nothing"]},
        {"expected": ["bodyPart[x]"]},
        {"value_sets": {"colour": ["red"]}},
    ],
)
def test_a_path_that_silver_does_not_type_is_an_error_that_says_where(catalog, declared):
    silo = catalog.silos[A]
    feed = silo.feeds["Observation"].model_copy(update=declared)
    wrong = silo.model_copy(update={"feeds": {**silo.feeds, "Observation": feed}})
    with pytest.raises(
        CatalogError, match=rf"silo {A}: Observation\..* is checked, but silver does not type it"
    ) as raised:
        silo_checks(replace(catalog, silos={A: wrong}), A)
    assert "catalog/resources/Observation.yaml" in raised.value.hint


def test_gold_is_held_to_its_key_columns_types_and_references(catalog):
    checks = {check.name: check for check in gold_checks(catalog.tables["conditions"])}
    assert checks["conditions.condition_key is present"].severity == "fail"
    assert checks["conditions key is unique"].severity == "fail"
    assert checks["conditions has no undeclared column"].severity == "fail"
    assert checks["conditions.patient_key has its type"].rule == OneOf(("STRING",))
    assert checks["conditions.patient_key resolves"].severity == "warn"
    assert "conditions is not empty" not in checks
    assert "patients is not empty" in {check.name for check in gold_checks(catalog.tables["patients"])}


DATES = [
    ("2021", "date", True),
    ("2021-02", "date", True),
    ("2021-02-28", "date", True),
    ("2020-02-29", "date", True),
    ("2021-02-30", "date", False),
    ("2021-02-29", "date", False),
    ("2021-13", "date", False),
    ("0000", "date", False),
    ("21-02-28", "date", False),
    ("2021-2-8", "date", False),
    ("2021-02-28\n", "date", False),
    ("2021-02-28T10:00:00Z", "date", False),
    ("2021", "dateTime", True),
    ("2021-02-28T10:00:00Z", "dateTime", True),
    ("2021-02-28T10:00:00.123456+14:00", "dateTime", True),
    ("2021-02-28T23:59:60Z", "dateTime", True),
    ("2021-02-28T24:00:00Z", "dateTime", False),
    ("2021-02-28T10:00Z", "dateTime", False),
    ("2021-02-28T10:00:00", "dateTime", False),
    ("2021-02-28T10:00:00+14:30", "dateTime", False),
    ("2021-02-28 10:00:00Z", "dateTime", False),
    ("2021-02-30T10:00:00Z", "dateTime", False),
    ("2021-02-28", "instant", False),
    ("2021-02-28T10:00:00-05:00", "instant", True),
    ("yesterday", "dateTime", False),
]


@pytest.mark.parametrize(("text", "kind", "is_good"), DATES)
def test_a_fhir_date_may_be_partial_but_is_a_day_that_exists(text, kind, is_good):
    assert is_fhir_date(text, kind) is is_good


@given(st.dates(), st.sampled_from([4, 7, 10]))
def test_every_iso_date_and_its_beginning_is_a_fhir_date(day, length):
    assert is_fhir_date(day.isoformat()[:length], "date")


@given(st.datetimes(timezones=st.sampled_from([datetime.UTC, datetime.timezone(datetime.timedelta(hours=-5))])))
def test_every_iso_time_with_a_zone_is_a_fhir_instant(moment):
    assert is_fhir_date(moment.isoformat(), "instant")


CODES = OneOf(("final", "amended", "it's"))
JUDGED = [
    *((WellFormed(kind), text) for text, kind, _ in DATES),
    *((CODES, code) for code in ("final", "Final", "it's", "final ", "x")),
    *((Matches(FHIR_ID), text) for text in ("a-1.B", "a b", "x" * 64, "x" * 65, "a\n", "a_b", "é")),
]


@pytest.mark.parametrize(("rule", "value"), JUDGED)
def test_sql_and_the_expectation_agree_on_an_element_of_a_list(rule, value):
    check = Check("T", "T.x", "conformance", "warn", rule, "x")
    verdict = results("duckdb", pa.table({"x": [value]}), [(check, "x")])["T.x"].success
    (broken,) = duckdb.execute(f"SELECT {breaks_sql(literal(value), rule)}").fetchone()
    assert broken is not verdict


@pytest.mark.parametrize("rule", [CODES, Matches(FHIR_ID), WellFormed("date")])
def test_no_value_breaks_no_rule(rule):
    check = Check("T", "T.x", "conformance", "warn", rule, "x")
    assert duckdb.execute(f"SELECT {breaks_sql('CAST(NULL AS VARCHAR)', rule)}").fetchone()[0] in (None, False)
    none = pa.table({"x": pa.array([None, None], pa.string())})
    assert results("duckdb", none, [(check, "x")])["T.x"].success
