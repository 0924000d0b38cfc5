"""A staged table judged by itself: what Great Expectations counts, which rows are held by which names."""

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
from expectations.audit import FAILED, audit_columns, audit_sql
from expectations.examine import ExpectationsError, audited
from expectations.judge import COUNTS, by_check, failing_rows, validate
from expectations.suites import judged_items, suite
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
FOUND = {
    "gender is known": (1, 2),
    "birth is a date": (1, 1),
    "name is there": (3, 0),
    "twins at most": (2, 1),
    "given is short": (1, 2),
}


class Found:
    """What came of judging: values that failed and were missing, by check; rows held, with checks and warnings."""

    def __init__(self, result: Any, rows: pa.Table) -> None:
        told = {name: one.result for name, one in by_check(result).items()}
        self.every = told
        self.counts = {
            name: (one["unexpected_count"], 0 if "not_be_null" in kind else one["missing_count"])
            for name, one in told.items()
            for kind in [by_check(result)[name].expectation_config.type]
        }
        listed = rows.to_pylist()
        assert all((row["_file_hash"], row["_offset"]) == ("h", 10 * int(row["id"][1:])) for row in listed)
        self.held = {row["id"]: (row["checks"], row["warned"]) for row in listed}


@pytest.fixture
def staged(tmp_path):
    """Writes rows as staged parts of `size` rows, and judges them."""

    def run(rows: list[dict[str, Any]], checks=CHECKS, failures: Path | None = None, size: int = 99) -> Found:
        keyed = [{"id": f"p{at}", "_file_hash": "h", "_offset": 10 * at} | row for at, row in enumerate(rows)]
        files = []
        for start in range(0, len(rows), size):
            files.append(tmp_path / f"part-{start}.parquet")
            pq.write_table(pa.Table.from_pylist(keyed[start : start + size], SCHEMA), files[-1])
        items = audit_columns(checks, TREE)
        define = {} if failures else {FAILED: "CAST(NULL AS VARCHAR[])"}
        listed = judged_items(items)
        with audited(audit_sql(items, define), files, tmp_path / "spill", failures) as connection:
            result = validate(connection, suite("s.Patient", listed), COUNTS, len(rows))
            return Found(result, failing_rows(connection, listed, result))

    return run


def only_failed(found: Found) -> dict[str, int]:
    return {name: failed for name, (failed, _) in found.counts.items() if failed}


def test_failing_values_are_counted_and_their_rows_named(staged):
    found = staged(ROWS)
    assert found.held == HELD
    assert found.counts == FOUND
    assert {one["element_count"] for one in found.every.values()} == {len(ROWS)}


@pytest.mark.parametrize("size", [1, 2, 4, 5])
def test_parts_of_a_table_come_to_the_same(staged, size):
    found = staged(ROWS, size=size)
    assert (found.held, found.counts) == (HELD, FOUND)


def test_no_row_is_held_where_nothing_fails_or_only_warns(staged):
    good = staged([GOOD, GOOD])
    assert (good.held, only_failed(good)) == ({}, {})
    warned = staged([GOOD, GOOD | {"multipleBirthInteger": 3}])
    assert (warned.held, only_failed(warned)) == ({}, {"twins at most": 1})


def test_every_failing_row_is_held_however_many_they_are(staged):
    """Great Expectations' own lists of rows end at 200."""
    found = staged([GOOD | {"gender": "mael" if at % 3 else "male"} for at in range(1500)], size=700)
    assert found.counts["gender is known"] == (1000, 0)
    assert found.held.keys() == {f"p{at}" for at in range(1500) if at % 3}


def test_a_check_that_stops_the_publish_holds_no_row(staged):
    stops = Check("Patient", "must be male", "conformance", "fail", OneOf(("male",)), "gender")
    found = staged([GOOD, GOOD | {"gender": "female"}], [stops])
    assert (found.held, found.counts) == ({}, {"must be male": (1, 0)})


def test_columns_without_any_value_break_only_what_asks_for_one(staged):
    there = Check("Patient", "gender is there", "completeness", "quarantine", Present(), "gender")
    holds = Check("Patient", "is odd", "plausibility", "quarantine", Holds(), "odd", sql="CAST(NULL AS BOOLEAN)")
    some = Check("Patient", "days", "plausibility", "quarantine", Within(0, 1), "days", sql="CAST(NULL AS BIGINT)")
    found = staged([{}, {"gender": "", "name": [{}]}], [*CHECKS, there, holds, some])
    assert only_failed(found) == {"name is there": 2, "gender is there": 2}
    assert found.counts["days"] == (0, 2)
    assert found.held == {name: (["gender is there"], ["name is there"]) for name in ("p0", "p1")}


@pytest.mark.parametrize(
    ("condition", "failed"), [("gender = 'male'", (1, 1)), ("coalesce(gender = 'male', true)", (1, 0))]
)
def test_a_condition_without_an_answer_passes(staged, condition, failed):
    holds = Check("Patient", "is male", "plausibility", "quarantine", Holds(), "is male", sql=condition)
    found = staged([GOOD, GOOD | {"gender": "female"}, GOOD | {"gender": None}], [holds])
    assert found.counts == {"is male": failed}
    assert found.held == {"p1": (["is male"], [])}


@pytest.mark.parametrize(
    ("given", "is_good"), [(["Ai"], True), (["Ai", "Bartholomew"], False), (["Bartholomew", "Ai"], False), ([], True)]
)
def test_a_list_fails_by_any_of_its_values(staged, given, is_good):
    assert (staged([GOOD | {"name": [{"family": "Ito", "given": given}]}]).held == {}) is is_good


def test_bounds_belong_to_what_they_bound(staged):
    found = staged([GOOD | {"multipleBirthInteger": number} for number in (0, 1, 2, 3)])
    assert only_failed(found) == {"twins at most": 2}


def test_rows_that_failed_across_tables_are_held_with_their_own_faults(staged, tmp_path):
    resolves = Check("Patient", "doctor resolves", "conformance", "quarantine", Resolves(()), "generalPractitioner")
    rows = [GOOD | {"generalPractitioner": [{"reference": f"Practitioner/{n}"}]} for n in range(3)] + [GOOD]
    rows[1] = rows[1] | {"gender": "mael"}
    across = [{"_file_hash": "h", "_offset": 10 * at, "id": f"p{at}", FAILED: ["doctor resolves"]} for at in (1, 2)]
    # Of the record that made the last row, another row failed.
    across.append({"_file_hash": "h", "_offset": 30, "id": "other", FAILED: ["doctor resolves"]})
    pq.write_table(pa.Table.from_pylist(across), tmp_path / "failures.parquet")
    found = staged(rows, [GENDER, resolves], tmp_path / "failures.parquet")
    assert found.held == {"p1": (["gender is known", "doctor resolves"], []), "p2": (["doctor resolves"], [])}
    assert found.counts == {"gender is known": (1, 0), "doctor resolves": (2, 1)}


@pytest.mark.parametrize("rule", [Within(0, 1), Within(None, 5)])
def test_a_check_that_cannot_be_computed_is_an_error_and_not_silence(staged, rule):
    wrong = Check("Patient", "gender is a number", "conformance", "warn", rule, "gender")
    with pytest.raises(ExpectationsError, match="gender is a number could not be computed"):
        staged([GOOD], [GENDER, wrong])


def test_a_check_of_a_column_that_is_not_there_is_an_error(tmp_path):
    pq.write_table(pa.table({"_file_hash": ["h"], "_offset": [0], "id": ["p"]}), tmp_path / "part.parquet")
    items = judged_items(audit_columns([GENDER], TREE))
    with (
        audited("SELECT * FROM staged", [tmp_path / "part.parquet"], tmp_path) as connection,
        pytest.raises(ExpectationsError, match=r'gender is known could not be computed: .*"gender"'),
    ):
        validate(connection, suite("s.Patient", items), COUNTS, 1)


def test_rows_that_were_not_judged_are_an_error(tmp_path):
    """Whoever hides a row between staging and the judge is found out: the rows that are counted are those staged."""
    rows = [GOOD | {"id": f"p{at}", "_file_hash": "h", "_offset": at} for at in range(3)]
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), tmp_path / "part.parquet")
    items = audit_columns([GENDER], TREE)
    sql = audit_sql(items, {FAILED: "CAST(NULL AS VARCHAR[])"}) + " WHERE _offset < 2"
    with (
        audited(sql, [tmp_path / "part.parquet"], tmp_path) as connection,
        pytest.raises(ExpectationsError, match="gender is known judged 2 rows of 3"),
    ):
        validate(connection, suite("s.Patient", judged_items(items)), COUNTS, 3)


def test_the_judges_database_opens_no_file_and_no_address(tmp_path):
    pq.write_table(pa.Table.from_pylist([GOOD], SCHEMA), tmp_path / "part.parquet")
    with audited("SELECT gender FROM staged", [tmp_path / "part.parquet"], tmp_path / "spill") as connection:
        for other in (tmp_path / "part.parquet", "https://example.org/x.parquet"):
            with pytest.raises(Exception, match="disabled by configuration"):
                connection.execute(f"FROM read_parquet('{other}')")
        with pytest.raises(Exception, match="locked"):
            connection.execute("SET enable_external_access = true")


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
    assert found.held == {"p1": (["Patient.gender has a value or a reason"], ["Patient.gender is present"])}
    assert found.counts == {"Patient.gender has a value or a reason": (1, 0), "Patient.gender is present": (2, 0)}
