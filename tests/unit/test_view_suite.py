"""The conformance suite: files read, rows compared, verdicts reported."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from cohortlake.core.errors import SourceError
from cohortlake.core.views.suite import Case, Outcome, Verdict, differences, is_same, judge, load_suites, report

VIEW = {"resource": "Patient", "select": []}


@pytest.mark.parametrize(
    ("expected", "found", "same"),
    [
        (None, None, True),
        ([], None, True),
        (None, 0, False),
        (1, Decimal("1.000"), True),
        (Decimal("0.95"), 0.95, True),
        (1.0, 1, True),
        (1, True, False),
        (True, 1, False),
        (True, True, True),
        ("1", 1, False),
        ("a", "a", True),
        ("aGVsbG8=", b"hello", True),
        ("1970-06-01", date(1970, 6, 1), True),
        ("1970-06", date(1970, 6, 1), False),
        ("2010-10-10T10:00:00+02:00", datetime(2010, 10, 10, 8, tzinfo=UTC), True),
        ("2010-10-10 08:00:00", datetime(2010, 10, 10, 8, tzinfo=UTC), True),
        (["a", "b"], ["b", "a"], False),
        (["a"], "a", False),
        ({"a": 1}, {"a": Decimal(1), "b": None}, True),
        ({"a": 1}, {"b": 1}, False),
    ],
)
def test_values_are_the_same_by_what_they_say(expected: Any, found: Any, same: bool) -> None:
    assert is_same(expected, found) is same


def test_rows_are_compared_as_multisets() -> None:
    assert differences([{"a": 1}, {"a": 1}, {"a": 2}], [{"a": 2}, {"a": 1}, {"a": 3}]) == ([{"a": 1}], [{"a": 3}])


@pytest.mark.parametrize(
    ("case", "outcome", "reason"),
    [
        (Case("t", VIEW, expect=[{"a": 1}]), Outcome([{"a": 1}], ["a"]), None),
        (Case("t", VIEW, expects_error=True), Outcome(error="wrong"), None),
        (Case("t", VIEW, expects_error=True), Outcome([{}], []), "an error was expected, 1 rows were found"),
        # A fault of ours is not the error that a case expects.
        (Case("t", VIEW, expects_error=True), Outcome(crash="boom"), "crashed: boom"),
        (Case("t", VIEW, expect=[]), Outcome(error="wrong"), "error: wrong"),
        (Case("t", VIEW, expect_count=2), Outcome([{}], []), "rows: expected 2, found 1"),
        (
            Case("t", VIEW, expect_columns=["b", "a"]),
            Outcome([], ["a", "b"]),
            "columns: expected ['b', 'a'], found ['a', 'b']",
        ),
        (
            Case("t", VIEW, expect=[{"a": 1}]),
            Outcome([{"a": Decimal("2.5")}], ["a"]),
            'rows expected and not found: [{"a": 1}]; found and not expected: [{"a": 2.5}]',
        ),
    ],
)
def test_a_verdict_says_why(case: Case, outcome: Outcome, reason: str | None) -> None:
    assert judge(case, outcome) == reason


def test_a_files_resources_and_cases_are_read_whatever_else_it_says(tmp_path: Path) -> None:
    tests = [
        {"title": "one", "tags": ["x"], "view": VIEW, "expect": [], "more": 1},
        {"view": VIEW, "expectError": True},
        {"title": "nothing", "view": VIEW},
        {"title": "no view"},
        {"title": "no rows", "view": VIEW, "expect": [1]},
        "no test",
    ]
    text = json.dumps({"title": "t", "resources": [{"v": 0}], "tests": tests}).replace('"v": 0', '"v": 1.50')
    (tmp_path / "a.json").write_text(text)
    [suite] = load_suites(tmp_path)
    assert suite.resources == ['{"v": 1.50}']
    assert [(case.title, case.problem) for case in suite.cases] == [
        ("one", None),
        ("test 1", None),
        ("nothing", "the test expects nothing: no expect, expectColumns, expectCount or expectError"),
        ("no view", "the test has no view"),
        ("no rows", "`expect` is not a list of rows"),
        ("test 5", "the test has no view"),
    ]


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"tests": {}}', "\x00", '"x"'])
def test_a_broken_file_is_a_failed_case_with_its_reason(tmp_path: Path, text: str) -> None:
    (tmp_path / "broken.json").write_text(text)
    [suite] = load_suites(tmp_path)
    [case] = suite.cases
    assert case.title == "broken"
    assert case.problem is not None
    assert case.problem.startswith("the file cannot be read: ")


def test_a_folder_without_cases_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no file of test cases"):
        load_suites(tmp_path)


def test_the_report_has_the_suites_own_form() -> None:
    found = report({"a.json": [Verdict("one", None), Verdict("two", "because")], "b.json": []})
    assert found == {
        "a.json": {
            "tests": [
                {"name": "one", "result": {"passed": True}},
                {"name": "two", "result": {"passed": False, "reason": "because"}},
            ]
        },
        "b.json": {"tests": []},
    }
