"""A task of the gate by itself: what it counts, which rows it holds under which names, and what it refuses to judge."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cohortlake.core.catalog.resource import resource_tree
from cohortlake.core.checks import presence
from cohortlake.core.rules import Check, Holds, Matches, OneOf, Present, Resolves, WellFormed, Within
from expectations import examine as module
from expectations import judge
from expectations.audit import FAILED, audit_columns, audit_sql
from expectations.examine import ExpectationsError, Plan, counted, examine, slices, with_judged
from spark_jobs.delta import Part
from spark_jobs.fhir_types import fhir_schema

TREE = resource_tree("Patient", ["gender", "birthDate", "name", "multipleBirthInteger", "generalPractitioner"])
SCHEMA = pa.schema([*fhir_schema(TREE), ("_file_hash", pa.string()), ("_offset", pa.int64()), ("_rest", pa.string())])
GENDER = Check("Patient", "gender is known", "conformance", "quarantine", OneOf(("male", "female")), "gender")
BORN = Check("Patient", "birth is a date", "conformance", "quarantine", WellFormed("date"), "birthDate")
NAMED = Check("Patient", "name is there", "completeness", "warn", Present(), "name.family")
TWIN = Check("Patient", "twins at most", "plausibility", "warn", Within(1, 2), "multipleBirthInteger")
SHORT = Check("Patient", "given is short", "conformance", "quarantine", Matches(".{1,5}"), "name.given")
CHECKS = (GENDER, BORN, NAMED, TWIN, SHORT)

GOOD = {"gender": "male", "birthDate": "1970", "name": [{"family": "Ito", "given": ["Ai"]}], "multipleBirthInteger": 1}
ROWS = [
    GOOD,
    GOOD | {"gender": "mael"},
    GOOD | {"birthDate": "2021-02-30", "multipleBirthInteger": 9, "name": [{"given": ["Ai", "Bartholomew"]}]},
    GOOD | {"multipleBirthInteger": 3},
    {},
    GOOD | {"gender": "", "name": [{"family": "", "given": None}]},
]
HELD = {
    "p1": (["gender is known"], []),
    "p2": (["birth is a date", "given is short"], ["name is there", "twins at most"]),
}
NOTHING = {"failed": {}, "rejects": None}
COUNTS = {
    "gender is known": (1, 2),
    "birth is a date": (1, 1),
    "name is there": (3, 0),
    "twins at most": (2, 1),
    "given is short": (1, 2),
}


@pytest.fixture
def staged(tmp_path):
    """Writes rows as a staged part, and examines it; gives what tasks and judgements found."""

    def run(rows: list[dict[str, Any]], checks=CHECKS, failures: Path | None = None) -> list[dict[str, Any]]:
        keyed = [{"id": f"p{at}", "_file_hash": "h", "_offset": 10 * at} | row for at, row in enumerate(rows)]
        path = tmp_path / "part.parquet"
        pq.write_table(pa.Table.from_pylist(keyed, SCHEMA), path)
        items = audit_columns(checks, TREE)
        define = {} if failures else {FAILED: "CAST(NULL AS VARCHAR[])"}
        plan = Plan("s.Patient", audit_sql(items, define), tuple((item.check, item.column) for item in items))
        part, plans = Part("part.parquet", len(rows), path.stat().st_size), {"Patient": plan}
        units = slices("Patient", tmp_path, [part], len(items), failures, tmp_path / "gate")
        return with_judged(units, [examine(unit, plans) for unit in units], plans, tmp_path / "gate")

    return run


def held(results: list[dict[str, Any]]) -> dict[str, tuple[list[str], list[str]]]:
    """The rows that were kept back: the checks that did, and those that only warn."""
    rows = [row for result in results if result["rejects"] for row in pq.read_table(result["rejects"]).to_pylist()]
    assert all((row["_file_hash"], row["_offset"]) == ("h", 10 * int(row["id"][1:])) for row in rows)
    return {row["id"]: (row["checks"], row["warned"]) for row in rows}


def test_failing_values_are_counted_and_their_rows_named(staged):
    found = staged(ROWS)
    assert held(found) == HELD
    assert counted(found) == COUNTS


@pytest.mark.parametrize("size", [1, 2, 4, 5])
def test_slices_of_a_part_come_to_the_same(staged, monkeypatch, size):
    monkeypatch.setattr(module, "VALUES", size * len(CHECKS))
    found = staged(ROWS)
    assert len([one for one in found if "missing" in one]) == -(-len(ROWS) // size)
    assert held(found) == HELD
    assert counted(found) == COUNTS


def test_nothing_is_written_where_nothing_fails_or_only_warns(staged, tmp_path):
    assert staged([GOOD, GOOD]) == [{"plan": "Patient", "missing": {}, "suspects": [], "listed": None, **NOTHING}]
    assert not (tmp_path / "gate").exists()
    warned = staged([GOOD, GOOD | {"multipleBirthInteger": 3}])
    assert held(warned) == {}
    assert counted(warned) == {"twins at most": (1, 0)}
    assert not (tmp_path / "gate" / "rejects").exists()


def test_only_rows_and_checks_that_may_fail_are_judged(staged):
    task, _ = staged([GOOD, GOOD | {"gender": "mael"}, GOOD | {"multipleBirthInteger": 3}])
    assert task["suspects"] == ["gender is known", "twins at most"]
    assert pq.read_table(task["listed"], columns=["id"]).to_pydict() == {"id": ["p1", "p2"]}


def test_what_may_fail_and_does_not_holds_no_row(staged):
    """A pattern that takes what it does not name: only Great Expectations can tell of text beyond ASCII."""
    task, judged = staged([GOOD | {"name": [{"family": "Ito", "given": ["Zoë"]}]}])
    assert (task["suspects"], judged) == (["given is short"], {"plan": "Patient", **NOTHING})


@pytest.mark.parametrize("most", [1, 2, 3])
def test_many_listed_rows_come_to_the_same(staged, monkeypatch, most):
    """They are judged in the task, or on the driver a group of files after the other."""
    monkeypatch.setattr(module, "MANY", most)
    monkeypatch.setattr(judge, "MANY", most)
    whole = staged(ROWS)
    assert (len(whole), whole[0]["listed"]) == (1, None)
    assert (held(whole), counted(whole)) == (HELD, COUNTS)
    monkeypatch.setattr(module, "VALUES", len(CHECKS))
    groups = staged(ROWS)
    assert len([one for one in groups if "missing" not in one]) == -(-5 // most)
    assert (held(groups), counted(groups)) == (HELD, COUNTS)


def test_a_check_that_stops_the_publish_holds_no_row(staged):
    stops = Check("Patient", "must be male", "conformance", "fail", OneOf(("male",)), "gender")
    found = staged([GOOD, GOOD | {"gender": "female"}], [stops])
    assert (held(found), counted(found)) == ({}, {"must be male": (1, 0)})


def test_columns_without_any_value_break_only_what_asks_for_one(staged):
    there = Check("Patient", "gender is there", "completeness", "quarantine", Present(), "gender")
    holds = Check("Patient", "is odd", "plausibility", "quarantine", Holds(), "odd", sql="CAST(NULL AS BOOLEAN)")
    some = Check("Patient", "days", "plausibility", "quarantine", Within(0, 1), "days", sql="CAST(NULL AS BIGINT)")
    found = staged([{}, {"gender": "", "name": [{}]}], [*CHECKS, there, holds, some])
    failed = {name: counts for name, counts in counted(found).items() if counts[0]}
    assert failed == {"name is there": (2, 0), "gender is there": (2, 0)}
    assert counted(found)["days"] == (0, 2)
    assert held(found) == {name: (["gender is there"], ["name is there"]) for name in ("p0", "p1")}


@pytest.mark.parametrize(
    ("condition", "failed"), [("gender = 'male'", (1, 1)), ("coalesce(gender = 'male', true)", (1, 0))]
)
def test_a_condition_without_an_answer_passes(staged, condition, failed):
    holds = Check("Patient", "is male", "plausibility", "quarantine", Holds(), "is male", sql=condition)
    found = staged([GOOD, GOOD | {"gender": "female"}, GOOD | {"gender": None}], [holds])
    assert counted(found) == {"is male": failed}
    assert held(found) == {"p1": (["is male"], [])}


@pytest.mark.parametrize(
    ("given", "is_good"), [(["Ai"], True), (["Ai", "Bartholomew"], False), (["Bartholomew", "Ai"], False), ([], True)]
)
def test_a_list_fails_by_any_of_its_values(staged, given, is_good):
    assert (held(staged([GOOD | {"name": [{"family": "Ito", "given": given}]}])) == {}) is is_good


def test_bounds_belong_to_what_they_bound(staged):
    found = staged([GOOD | {"multipleBirthInteger": number} for number in (0, 1, 2, 3)])
    assert counted(found) == {"twins at most": (2, 0)}


def test_rows_that_failed_across_tables_are_held_with_their_own_faults(staged, tmp_path):
    resolves = Check("Patient", "doctor resolves", "conformance", "quarantine", Resolves(()), "generalPractitioner")
    rows = [GOOD | {"generalPractitioner": [{"reference": f"Practitioner/{n}"}]} for n in range(3)] + [GOOD]
    rows[1] = rows[1] | {"gender": "mael"}
    across = [{"_file_hash": "h", "_offset": 10 * at, "id": f"p{at}", FAILED: ["doctor resolves"]} for at in (1, 2)]
    # Of the record that made the last row, another row failed.
    across.append({"_file_hash": "h", "_offset": 30, "id": "other", FAILED: ["doctor resolves"]})
    pq.write_table(pa.Table.from_pylist(across), tmp_path / "failures.parquet")
    found = staged(rows, [GENDER, resolves], tmp_path / "failures.parquet")
    assert held(found) == {"p1": (["gender is known", "doctor resolves"], []), "p2": (["doctor resolves"], [])}
    assert counted(found) == {"gender is known": (1, 0), "doctor resolves": (2, 1)}


@pytest.mark.parametrize("rule", [Within(0, 1), Within(None, 5)])
def test_a_check_that_cannot_be_computed_is_an_error_and_not_silence(staged, rule):
    wrong = Check("Patient", "gender is a number", "conformance", "warn", rule, "gender")
    with pytest.raises(ExpectationsError, match="gender is a number could not be computed"):
        staged([GOOD], [GENDER, wrong])


def test_a_check_of_a_column_that_is_not_there_is_an_error(tmp_path):
    pq.write_table(pa.table({"_file_hash": ["h"], "_offset": [0], "id": ["p"]}), tmp_path / "part.parquet")
    plan = Plan("s.Patient", "SELECT * FROM staged", ((GENDER, "gender"),))
    (unit,) = slices("Patient", tmp_path, [Part("part.parquet", 1, 1)], 1, None, tmp_path)
    with pytest.raises(ExpectationsError, match="gender is known could not be computed"):
        examine(unit, {"Patient": plan})


def test_an_error_names_no_value(staged):
    wrong = Check("Patient", "gender is a number", "conformance", "warn", Within(0, 1), "gender")
    with pytest.raises(ExpectationsError) as raised:
        staged([GOOD | {"gender": "zx-marker"}], [wrong])
    assert "zx-marker" not in str(raised.value)


WHY = {"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown"}]}


def test_an_element_that_says_why_it_is_missing_is_not_rejected_and_not_there(staged):
    checks = list(presence("Patient", "gender", "R4"))
    rows = [
        {"_rest": json.dumps({"_gender": WHY})},
        {"_rest": json.dumps({"_birthDate": WHY, "x": {"gender": 1}})},
        GOOD,
    ]
    found = staged(rows, checks)
    assert held(found) == {"p1": (["Patient.gender has a value or a reason"], ["Patient.gender is present"])}
    assert counted(found) == {"Patient.gender has a value or a reason": (1, 0), "Patient.gender is present": (2, 0)}
