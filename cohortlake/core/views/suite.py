"""SQL on FHIR v2's conformance suite: its files of cases, how rows are compared, and its report.

Source: the test format and the test report of https://github.com/FHIR/sql-on-fhir.js (README, tests.schema.json,
test-report.schema.json).
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from cohortlake.core.errors import SourceError
from cohortlake.core.views.dates import sortable_date
from cohortlake.core.views.resources import items_of, on_one_line

Row = Mapping[str, Any]
LONGEST_REASON = 500


@dataclass(frozen=True)
class Case:
    """A test of a suite's file. What it does not expect is None; `problem` says why it cannot be run."""

    title: str
    view: Mapping[str, Any]
    expect: Sequence[Row] | None = None
    expect_columns: Sequence[str] | None = None
    expect_count: int | None = None
    expects_error: bool = False
    problem: str | None = None


@dataclass(frozen=True)
class Suite:
    """A file of the suite. `resources` are JSON texts, a line each."""

    name: str
    resources: Sequence[str]
    cases: Sequence[Case]


@dataclass(frozen=True)
class Outcome:
    """What running a case's view gave: rows, or an error that the specification asks for, or a crash of ours."""

    rows: Sequence[Row] = ()
    columns: Sequence[str] = ()
    error: str | None = None
    crash: str | None = None


@dataclass(frozen=True)
class Verdict:
    """`reason` says why a test did not pass; None where it did."""

    title: str
    reason: str | None


def load_suites(folder: Path) -> list[Suite]:
    """The suite's files in a folder, by name; one that cannot be read is a case that cannot be run.

    Raises SourceError where the folder holds no JSON file.
    """
    files = sorted(folder.glob("*.json")) if folder.is_dir() else [folder] if folder.is_file() else []
    if not files:
        raise SourceError(
            f"{folder}: there is no file of test cases", "Name a folder with files of the suite (*.json)."
        )
    return [_suite(file) for file in files]


def _suite(file: Path) -> Suite:
    try:
        text = file.read_text(encoding="utf-8-sig")
        content = json.loads(text, parse_float=Decimal)
        tests = content["tests"] if isinstance(content, dict) else None
        if not isinstance(tests, list):
            raise ValueError("the file has no list of tests")
        resources = [on_one_line(resource) for resource in items_of(text, "resources")]
    except (OSError, ValueError, KeyError, RecursionError) as error:
        reason = f"the file cannot be read: {type(error).__name__}: {error}"
        return Suite(file.name, [], [Case(file.stem, {}, problem=reason)])
    return Suite(file.name, resources, [_case(test, index) for index, test in enumerate(tests)])


def _case(test: Any, index: int) -> Case:
    title = str(test.get("title") or test.get("name") or f"test {index}") if isinstance(test, dict) else f"test {index}"
    if not isinstance(test, dict) or not isinstance(test.get("view"), dict):
        return Case(title, {}, problem="the test has no view")
    expect, columns, count = test.get("expect"), test.get("expectColumns"), test.get("expectCount")
    is_list_of_rows = isinstance(expect, list) and all(isinstance(row, dict) for row in expect)
    problem = None
    if expect is not None and not is_list_of_rows:
        problem = "`expect` is not a list of rows"
    elif expect is None and columns is None and count is None and not test.get("expectError"):
        problem = "the test expects nothing: no expect, expectColumns, expectCount or expectError"
    return Case(title, test["view"], expect, columns, count, bool(test.get("expectError")), problem)


def judge(case: Case, outcome: Outcome) -> str | None:
    """Why an outcome is not what a case expects; None where it is."""
    if outcome.crash is not None:
        return f"crashed: {outcome.crash}"
    if case.expects_error:
        return None if outcome.error is not None else f"an error was expected, {len(outcome.rows)} rows were found"
    if outcome.error is not None:
        return f"error: {outcome.error}"
    if case.expect_columns is not None and list(outcome.columns) != list(case.expect_columns):
        return f"columns: expected {list(case.expect_columns)}, found {list(outcome.columns)}"
    if case.expect_count is not None and len(outcome.rows) != case.expect_count:
        return f"rows: expected {case.expect_count}, found {len(outcome.rows)}"
    if case.expect is None:
        return None
    missing, surplus = differences(case.expect, outcome.rows)
    if not (missing or surplus):
        return None
    said = f"rows expected and not found: {_shown(missing)}; found and not expected: {_shown(surplus)}"
    return said if len(said) <= LONGEST_REASON else f"{said[:LONGEST_REASON]}…"


def differences(expected: Iterable[Row], found: Iterable[Row]) -> tuple[list[Row], list[Row]]:
    """Rows expected and not found, and found and not expected: as multisets, for the order of rows is left open."""
    missing, surplus = list(expected), []
    for row in found:
        place = next((index for index, other in enumerate(missing) if is_same(other, row)), None)
        if place is None:
            surplus.append(row)
        else:
            del missing[place]
    return missing, surplus


def is_same(expected: Any, found: Any) -> bool:
    """Whether a value of JSON and one of a row are the same: numbers by value, dates and times by what they say, and
    nothing for null, for a member that is not there and for an empty list."""
    if _is_nothing(expected) or _is_nothing(found):
        return _is_nothing(expected) and _is_nothing(found)
    match expected, found:
        case bool(), _:
            return found is expected
        case (int() | float() | Decimal(), int() | float() | Decimal()) if not isinstance(found, bool):
            return Decimal(str(expected)) == Decimal(str(found))
        case str(), bytes():
            return b64encode(found).decode() == expected
        case str(), date():
            text = found.isoformat()
            return sortable_date(expected.replace(" ", "T")) == sortable_date(text.replace(" ", "T"))
        case list(), list():
            return len(expected) == len(found) and all(map(is_same, expected, found))
        case Mapping(), Mapping():
            return all(is_same(expected.get(name), found.get(name)) for name in {*expected, *found})
    return bool(type(expected) is type(found) and expected == found)


def _is_nothing(value: Any) -> bool:
    return value is None or value == []


def _shown(rows: Sequence[Row]) -> str:
    return json.dumps(rows, default=_plain)


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return float(value)
    return value.isoformat() if isinstance(value, date | datetime) else str(value)


def report(verdicts: Mapping[str, Sequence[Verdict]]) -> dict[str, Any]:
    """The suite's own report (test_report.json), from the verdicts of each file."""
    return {name: {"tests": [_reported(verdict) for verdict in found]} for name, found in verdicts.items()}


def _reported(verdict: Verdict) -> dict[str, Any]:
    passed = {"passed": verdict.reason is None}
    return {"name": verdict.title, "result": passed if verdict.reason is None else {**passed, "reason": verdict.reason}}
