"""What users bring: suites and classes run as given, and a wrong file is told by its name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cohortlake.core.catalog import load_catalog
from cohortlake.core.catalog.resource import resource_tree
from cohortlake.core.errors import CatalogError
from cohortlake.core.lake import Lake
from expectations import own
from expectations.audit import audit_sql
from expectations.own import FOLDER, check_places, own_suites
from expectations.validate import Examiner, Table
from spark_jobs.fhir_types import fhir_schema

TREE = resource_tree("Patient", ["gender", "birthDate", "name", "multipleBirthInteger"])
SCHEMA = pa.schema([*fhir_schema(TREE), ("_file_hash", pa.string()), ("_offset", pa.int64()), ("_rest", pa.string())])
ROWS = [
    {"gender": "male", "birthDate": "1970", "name": [{"family": "Ito"}], "multipleBirthInteger": 1},
    {
        "gender": "mael",
        "birthDate": "1971",
        "name": [{"family": "Zqname"}, {"family": "Bo"}],
        "multipleBirthInteger": 7,
    },
    {"gender": None, "birthDate": "1972-01", "name": None, "multipleBirthInteger": 40},
]
IN_SET = {"type": "expect_column_values_to_be_in_set", "kwargs": {"column": "gender", "value_set": ["male"]}}
QUERY = {
    "type": "unexpected_rows_expectation",
    "kwargs": {"unexpected_rows_query": "SELECT * FROM {batch} WHERE len(name) > 1"},
    "description": "one name",
}
CLASS = '''
"""A class."""
from great_expectations.expectations.expectation import ColumnMapExpectation

class ExpectColumnValuesTo{name}(ColumnMapExpectation):
    """{doc}"""
    map_metric = "column_values.nonnull"
'''


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("COHORTLAKE_EXPECTATIONS", str(tmp_path / "own"))
    return tmp_path / "own"


def put(root: Path, *expectations: dict[str, Any], at: str = "site_x/Patient/mine.json") -> Path:
    path = root / "suites" / at
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"name": "mine", "expectations": list(expectations)}, indent=2), encoding="utf-8")
    return path


def judged(tmp_path: Path, scope: str = "site_x") -> tuple[dict[str, Any], dict[str, list[str]], str]:
    """The outcomes by check, the rows held with their checks, and what was kept of the result."""
    rows = [row | {"id": f"p{at}", "_file_hash": "h", "_offset": at} for at, row in enumerate(ROWS)]
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), tmp_path / "part.parquet")
    brought = own.silo_checks(scope, TREE)
    table = Table("s.Patient", audit_sql([], {}, brought.columns), [tmp_path / "part.parquet"], 3, brought.checks)
    outcomes, failing = Examiner(Lake(tmp_path / "lake"), "r1").judge_rows(table, tmp_path / "spill")
    kept = (tmp_path / "lake/ops/expectations/results/s/Patient.json").read_text(encoding="utf-8")
    return {one.check.name: one for one in outcomes}, {row["id"]: row["checks"] for row in failing.to_pylist()}, kept


def test_a_suite_of_a_silo_runs_as_given_with_its_severity(root, tmp_path):
    put(root, IN_SET | {"meta": {"severity": "quarantine", "team": "x"}}, QUERY | {"meta": {"severity": "warn"}})
    found, held, kept = judged(tmp_path)
    first, second = found
    assert first == "Patient mine: expect column values to be in set gender"
    assert second == "Patient mine: one name"
    assert [(one.failed, one.passed, one.check.severity) for one in found.values()] == [
        (1, False, "quarantine"),
        (1, False, "warn"),
    ]
    assert held == {"p1": [first]}
    assert '"team": "x"' in kept


def test_a_query_can_hold_rows_back_and_mostly_lets_some_fail(root, tmp_path):
    most = {"kwargs": IN_SET["kwargs"] | {"mostly": 0.5}, "meta": {"severity": "quarantine", "check": "most are male"}}
    put(root, QUERY | {"meta": {"severity": "quarantine"}}, IN_SET | most)
    found, held, _ = judged(tmp_path)
    assert held == {"p1": ["Patient mine: one name"]}
    assert (found["most are male"].passed, found["most are male"].failed) == (True, 1)


@pytest.mark.parametrize(
    ("weight", "severity"), [("critical", "fail"), ("warning", "quarantine"), ("info", "warn"), (None, "warn")]
)
def test_great_expectations_own_severity_counts_where_ours_is_not_said(root, weight, severity):
    put(root, IN_SET | ({"severity": weight} if weight else {}))
    (suite,) = own_suites()
    assert [one.check.severity for one in suite.checks] == [severity]


def test_a_suite_of_every_silo_and_one_of_another_silo(root):
    put(root, IN_SET, at="every_silo/Patient/all.json")
    put(root, IN_SET, at="site_y/Patient/other.json")
    assert len(own.silo_checks("site_x", TREE).checks) == 1
    assert len(own.silo_checks("site_y", TREE).checks) == 2


def test_what_is_kept_of_a_result_holds_no_value_of_a_row(root, tmp_path):
    most = {"type": "expect_column_max_to_be_between", "kwargs": {"column": "multipleBirthInteger", "max_value": 9}}
    distinct = {
        "type": "expect_column_distinct_values_to_be_in_set",
        "kwargs": {"column": "gender", "value_set": ["x"]},
    }
    unique = {"type": "expect_column_unique_value_count_to_be_between", "kwargs": {"column": "gender", "max_value": 9}}
    put(root, most, distinct, unique, QUERY | {"meta": {"severity": "warn"}})
    found, _, kept = judged(tmp_path)
    assert [one.passed for one in found.values()] == [False, False, True, False]
    results = json.loads(kept)["results"]
    observed = [one["result"].get("observed_value") for one in results]
    assert observed == ["not shown: it may be a row's value", None, 2, 1]
    assert "mael" not in kept
    assert "Zqname" not in kept


def test_a_query_opens_no_file(root, tmp_path):
    outside = tmp_path / "outside.csv"
    outside.write_text("a\n1\n")
    put(root, QUERY | {"kwargs": {"unexpected_rows_query": f"SELECT * FROM '{outside}', {{batch}}"}})
    with pytest.raises(RuntimeError, match="one name could not be computed"):
        judged(tmp_path)


def with_class(root: Path, name: str, doc: str) -> Path:
    path = root / "classes" / f"{name.lower()}.py"
    path.parent.mkdir(parents=True)
    path.write_text(CLASS.format(name=name, doc=doc), encoding="utf-8")
    return path


def test_a_class_of_ones_own_is_asked_by_its_suites(root, tmp_path):
    with_class(root, "BeSomethingAtAll", "Expect something.")
    put(root, {"type": "expect_column_values_to_be_something_at_all", "kwargs": {"column": "gender"}})
    found, _, _ = judged(tmp_path)
    assert [one.failed for one in found.values()] == [1]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (IN_SET | {"type": "expect_nothing"}, "expect_nothing not found"),
        (IN_SET | {"kwargs": {"columm": "gender"}}, "expect_column_values_to_be_in_set: "),
        (IN_SET | {"kwargs": {"column": "name.family", "value_set": []}}, "Patient.name.family repeats"),
        (IN_SET | {"kwargs": {"column": "colour", "value_set": []}}, "Patient has no column colour"),
        (IN_SET | {"meta": {"severity": "bad"}}, "expectations.0.meta.severity"),
        ({"kwargs": {}}, "expectations.0.type is missing"),
        (
            {"type": "expect_table_row_count_to_be_between", "meta": {"severity": "quarantine"}},
            "tells no rows, so none can be quarantined",
        ),
        (
            QUERY | {"kwargs": {"unexpected_rows_query": "SELECT id FROM {batch}"}, "meta": {"severity": "quarantine"}},
            "a query that quarantines selects _file_hash, _offset, id",
        ),
    ],
)
def test_a_wrong_suite_is_an_error_that_names_the_file_and_what_is_expected(root, given, said):
    path = put(root, given)
    with pytest.raises(CatalogError) as raised:
        own.silo_checks("site_x", TREE)
    assert str(path) in str(raised.value)
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("at", "said"),
    [
        ("Patient/mine.json", "a suite lies in suites/"),
        ("nowhere/Patient/mine.json", "there is no silo nowhere; expected one of gold, every_silo, payer_d_rif"),
        ("site_a_fhir_r4/Patiant/mine.json", "there is no Patiant; expected one of"),
        ("gold/patients/mine.json", "patients has no column zq"),
    ],
)
def test_a_suite_in_a_wrong_place_is_an_error_that_names_it(root, at, said):
    path = put(root, IN_SET | {"kwargs": {"column": "zq", "value_set": []}}, at=at)
    with pytest.raises(CatalogError) as raised:
        check_places(load_catalog())
    assert str(path) in str(raised.value)
    assert said in str(raised.value)


def test_gold_quarantines_nothing(root):
    put(root, IN_SET | {"meta": {"severity": "quarantine"}}, at="gold/patients/mine.json")
    with pytest.raises(CatalogError, match="no row of gold is quarantined; say warn or fail"):
        own_suites()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import nothing_of_that_name", "cannot be imported: ModuleNotFoundError"),
        ("x = 1", "it defines no expectation class"),
        (CLASS.format(name="BeUnsaid", doc=" "), "ExpectColumnValuesToBeUnsaid has no docstring"),
        (CLASS.format(name="BeInSet", doc="x"), "would take the place of expect_column_values_to_be_in_set"),
    ],
)
def test_a_wrong_class_is_an_error_that_names_the_file(root, text, said):
    from great_expectations.expectations.registry import get_expectation_impl, register_expectation

    known = get_expectation_impl("expect_column_values_to_be_in_set")
    path = root / "classes" / "wrong.py"
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CatalogError) as raised:
        own_suites()
    register_expectation(known)
    assert f"{path}: " in str(raised.value)
    assert said in str(raised.value)


def test_the_examples_are_read_and_their_class_says_what_is_right(tmp_path, monkeypatch):
    monkeypatch.setenv("COHORTLAKE_EXPECTATIONS", str(shutil.copytree(FOLDER, tmp_path / "examples")))
    check_places(load_catalog())
    codes = ["4548-4", "8867-4", "2339-0", "4548-5", "72514-3", "x", "4548", None]
    pq.write_table(pa.table({"laboratory_code": codes}), tmp_path / "part.parquet")
    checks = own.gold_checks(load_catalog().tables["laboratory_results"])
    table = Table("gold.laboratory_results.rows", "SELECT * FROM staged", [tmp_path / "part.parquet"], 8, checks)
    (found,), _ = Examiner(Lake(tmp_path / "lake"), "r1").judge_rows(table, tmp_path / "spill")
    assert (found.failed, found.check.name) == (3, "laboratory_results codes: a LOINC code's last digit is right")
