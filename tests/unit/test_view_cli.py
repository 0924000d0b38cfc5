"""`cohortlake view` as it is typed: what it prints, what it writes, how it ends."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from cohortlake.cli import main

VIEW: dict[str, Any] = {
    "resourceType": "ViewDefinition",
    "resource": "Patient",
    "status": "draft",
    "select": [
        {
            "column": [
                {"name": "id", "path": "getResourceKey()"},
                {"name": "weight", "path": "extension('w').value.ofType(decimal)"},
                {"name": "given", "path": "name.given", "collection": True},
            ]
        }
    ],
}
ANN = """{"resourceType": "Patient", "id": "ann", "name": [{"given": ["x", "y"]}], \
"extension": [{"url": "w", "valueDecimal": 1.50}]}"""
BOB = '{"resourceType": "Patient", "id": "bob"}'


def view_file(folder: Path, content: Any, name: str = "view.json") -> str:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


@pytest.fixture
def patients(tmp_path: Path) -> str:
    (tmp_path / "patients.ndjson").write_text(f"{ANN}\n{BOB}\nno JSON\n")
    return str(tmp_path / "patients.ndjson")


@pytest.fixture
def view(tmp_path: Path) -> str:
    return view_file(tmp_path, VIEW)


class Ended:
    """A run of the command line: its exit code, and what it said."""

    def __init__(self, code: int, said: Any) -> None:
        self.code, self.out, self.err = code, said.out, said.err


@pytest.fixture
def cohortlake(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Any:
    def run(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["cohortlake", *arguments])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        return Ended(int(ended.value.code or 0), capfd.readouterr())

    return run


def test_check_says_what_is_good(cohortlake: Any, view: str) -> None:
    ended = cohortlake("view", "check", view)
    assert (ended.code, ended.out) == (0, f"{view}: good; 3 columns of Patient\n")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"resource": "Patient", "select": [{"column": [{"name": "a", "path": "nam.given"}]}]},
            "select[0].column[0].path (nam.given): found 'nam', which Patient does not have; allowed: id, meta",
        ),
        ({"resource": "Patient", "select": []}, "select: found []"),
        ("{", "the view: found Expecting property name enclosed in double quotes: line 1 column 2 (char 1); allowed"),
        ("[]", "the view: found a list; allowed: a JSON object"),
    ],
)
def test_check_names_the_place_and_what_is_allowed_and_ends_with_13(
    cohortlake: Any, tmp_path: Path, view: str, content: Any, message: str
) -> None:
    wrong = view_file(tmp_path, content, "wrong.json")
    ended = cohortlake("view", "check", view, wrong, wrong)
    assert ended.code == 13
    assert ended.out == f"{view}: good; 3 columns of Patient\n"
    assert ended.err.count(f"error: {wrong}: {message}") == 2


def test_a_file_that_is_not_there_ends_with_2(cohortlake: Any, tmp_path: Path) -> None:
    ended = cohortlake("view", "check", str(tmp_path / "none.json"))
    assert ended.code == 2
    assert "none.json cannot be read: No such file or directory" in ended.err


def test_explain_shows_the_plan_the_elements_and_the_sql(cohortlake: Any, view: str) -> None:
    ended = cohortlake("view", "explain", view)
    assert ended.code == 0
    plan, reads, sql = ended.out.split("\n\n")
    assert plan.startswith("for each Patient\n  id VARCHAR = getResourceKey()\n")
    assert reads.startswith("reads\n  id string\n  extension Extension[]\n    url uri\n    valueDecimal decimal\n")
    assert sql.startswith("SELECT\n  id AS id,\n")
    assert sql.endswith("FROM Patient\n")


def test_run_refuses_what_cannot_be_before_an_engine_starts(cohortlake: Any, tmp_path: Path, view: str) -> None:
    assert cohortlake("view", "run", view, "--format", "parquet").code == 2
    assert cohortlake("view", "run", view, "--lake", str(tmp_path / "lake")).code == 2
    assert cohortlake("view", "run", view, "--from", str(tmp_path / "none")).code == 12


@pytest.mark.spark
@pytest.mark.usefixtures("spark")
class TestRun:
    """With an engine."""

    def test_rows_are_shown_and_what_was_met_besides(self, cohortlake: Any, view: str, patients: str) -> None:
        ended = cohortlake("view", "run", view, "--from", patients)
        assert ended.code == 0
        assert ended.out.split("\n")[:3] == [
            "id   weight  given     ",
            'ann  1.5     ["x", "y"]',
            "bob                    ",
        ]
        assert "note: 1 lines are no FHIR resources: not JSON, or without a resourceType" in ended.err
        assert cohortlake("view", "run", view, "--from", patients, "--limit", "0").out.strip() == "id  weight  given"

    def test_rows_are_written(self, cohortlake: Any, tmp_path: Path, view: str, patients: str) -> None:
        for kind in ("csv", "ndjson", "parquet"):
            to = str(tmp_path / f"out.{kind}")
            assert cohortlake("view", "run", view, "--from", patients, "--format", kind, "-o", to).code == 0
        assert (tmp_path / "out.csv").read_text() == 'id,weight,given\nann,1.5,"[""x"",""y""]"\nbob,,\n'
        assert (tmp_path / "out.ndjson").read_text() == (
            '{"id":"ann","weight":1.5,"given":["x","y"]}\n{"id":"bob","weight":null,"given":null}\n'
        )
        assert pq.read_table(tmp_path / "out.parquet").column("id").to_pylist() == ["ann", "bob"]
        assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []

    def test_rows_go_to_standard_output(self, cohortlake: Any, view: str, patients: str) -> None:
        ended = cohortlake("view", "run", view, "--from", patients, "--format", "csv", "--limit", "1")
        assert ended.out == 'id,weight,given\nann,1.5,"[""x"",""y""]"\n'

    def test_rows_that_a_view_cannot_take_end_with_13(self, cohortlake: Any, tmp_path: Path, patients: str) -> None:
        many = {"resource": "Patient", "select": [{"column": [{"name": "given", "path": "name.given"}]}]}
        ended = cohortlake("view", "run", view_file(tmp_path, many, "many.json"), "--from", patients)
        assert ended.code == 13
        assert "error: select[0].column[0].path (name.given): found more than one item" in ended.err
        assert "ann" not in ended.err

    def test_items_too_deep_for_repeat_end_with_13(self, cohortlake: Any, tmp_path: Path) -> None:
        deep = {
            "resource": "Questionnaire",
            "select": [{"repeat": ["item"], "column": [{"name": "l", "path": "linkId"}]}],
        }
        form = {
            "resourceType": "Questionnaire",
            "item": [{"linkId": "1", "item": [{"linkId": "2", "item": [{"linkId": "3"}]}]}],
        }
        view, place = view_file(tmp_path, deep, "deep.json"), tmp_path / "form.json"
        place.write_text(json.dumps(form))
        ended = cohortlake("view", "run", view, "--from", str(place), "--depth", "2")
        assert ended.code == 13
        assert "select[0].repeat (item): found items more than 2 levels down; allowed: a greater --depth" in ended.err
        ended = cohortlake("view", "run", view, "--from", str(place), "--depth", "3", "--format", "csv")
        assert ended.out.split() == ["l", "1", "2", "3"]


@pytest.mark.spark
@pytest.mark.usefixtures("spark")
def test_conformance_reports_every_case_and_ends_with_14_where_one_failed(cohortlake: Any, tmp_path: Path) -> None:
    suite = tmp_path / "suite"
    suite.mkdir()
    ids = {"resource": "Patient", "select": [{"column": [{"name": "id", "path": "id"}]}]}
    tests = [
        {"title": "good", "view": ids, "expect": [{"id": "bob"}]},
        {"title": "error", "view": {}, "expectError": True},
        {"title": "other type", "view": {**ids, "resource": "Encounter"}, "expectCount": 0},
    ]
    (suite / "a.json").write_text(json.dumps({"title": "a", "resources": [json.loads(BOB)], "tests": tests}))
    report = tmp_path / "report.json"
    ended = cohortlake("view", "conformance", str(suite), "-o", str(report))
    assert ended.code == 0
    assert "3 of 3 cases passed" in ended.out
    passed = {"passed": True}
    reported = [{"name": test["title"], "result": passed} for test in tests]
    assert json.loads(report.read_text()) == {"a.json": {"tests": reported}}

    (suite / "b.json").write_text(
        json.dumps({"tests": [{"title": "wrong rows", "view": ids, "expect": [{"id": "x"}]}]})
    )
    (suite / "c.json").write_text("{")
    ended = cohortlake("view", "conformance", str(suite), "-o", str(report))
    assert ended.code == 14
    assert "3 of 5 cases passed" in ended.out
    assert "wrong rows" in ended.out
    found = json.loads(report.read_text())
    assert found["a.json"] == {"tests": reported}
    assert found["b.json"]["tests"][0]["result"] == {
        "passed": False,
        "reason": 'rows expected and not found: [{"id": "x"}]; found and not expected: []',
    }
    assert found["c.json"]["tests"][0]["result"]["passed"] is False
