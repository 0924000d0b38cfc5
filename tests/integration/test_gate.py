"""The gate on a small hospital: what is wrong is held by name, what stops a publish leaves the live lake as it was."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from cohortlake.core.catalog import PROJECT_CATALOG
from cohortlake.core.errors import GateFailedError
from cohortlake.core.lake import Lake
from cohortlake.run import RunFailedError
from tests import flow, hospitals

pytestmark = [pytest.mark.spark, pytest.mark.usefixtures("spark")]

A = "site_a_fhir_r4"
TYPES = ("Patient", "Encounter", "Condition", "Observation")
HEART_RATE = {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]}


def rate(value: float, **more: str) -> dict[str, Any]:
    return {"code": HEART_RATE, "component": None, "valueQuantity": {"value": value, "code": "/min", **more}}


# What is planted in records of the first patient, and the names under which each is to be held.
FAULTS: list[tuple[str, dict[str, Any], list[str]]] = [
    ("Observation", {"id": None}, ["Observation.id is present"]),
    ("Observation", {"id": "zq id"}, ["Observation.id is a FHIR id"]),
    ("Observation", {"subject": {"reference": "Patient/zqnobody"}}, ["Observation.subject resolves"]),
    ("Observation", {"effectiveDateTime": "1960"}, ["Observation.effectiveDateTime is not before birth"]),
    ("Observation", {"effectiveDateTime": "2999-01"}, ["Observation.effectiveDateTime is not in the future"]),
    ("Observation", rate(9187.25, unit="zqbeats"), ["Observation heart rate (8867-4, /min) is possible"]),
    ("Observation", {"status": "zqdone", "subject": {"display": "Zqname"}},
     ["Observation.status is a known code", "Observation.subject resolves",
      "Observation.subject.reference has a value or a reason"]),
    ("Encounter", {"status": "zqdone"}, ["Encounter.status is a known code"]),
    ("Encounter", {"class": {"code": "zqclass"}}, ["Encounter.class.code is in the protocol's value set"]),
    ("Encounter", {"period": {"start": "2021-05", "end": "2021-04"}}, ["Encounter.period ends after it starts"]),
    ("Condition", {"onsetDateTime": "2021-02-30"}, ["Condition.onsetDateTime is a FHIR dateTime"]),
    ("Condition", {"code": {"text": ""}}, ["Condition.code has a value or a reason"]),
    ("Condition", {"category": [{}]}, ["Condition.category has a value or a reason"]),
]  # fmt: skip
MARKERS = ("zqnobody", "zqdone", "zqclass", "zqbeats", "Zqname", "zq id", "9187.25", "2021-02-30")

Held = dict[tuple[str, str | None], list[str]]


def planted() -> tuple[dict[str, list[dict[str, Any]]], Held]:
    """A small hospital with faults, and what is to be held of it."""
    records = {name: [json.loads(line) for line in hospitals.site_a(3, 15)[name]] for name in TYPES}
    first, second, third = records["Patient"]
    # The second died before its last visits, which is only warned of; the third before it was born.
    second["deceasedDateTime"], third["deceasedDateTime"] = "2020", "2013-01-01"
    wrong: Held = {("Patient", third["id"]): ["Patient dies after birth"]}
    of_first = {name: [] for name in TYPES}
    for name in TYPES[1:]:
        for record in records[name]:
            if third["id"] in record["subject"]["reference"]:
                wrong[name, record["id"]] = [f"{name}.subject resolves"]
            elif first["id"] in record["subject"]["reference"]:
                of_first[name].append(record)
    for name, changes, reasons in FAULTS:
        record = of_first[name].pop()
        record.update(changes)
        wrong[name, record["id"]] = reasons
    of_first["Observation"].pop().update(rate(310))
    # Two say why they have no status and no class: that is counted, and holds nothing back.
    why = {"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown"}]}
    silent = of_first["Observation"].pop()
    del silent["status"]
    silent["_status"] = why
    of_first["Encounter"].pop()["class"] = why
    return records, wrong


def only_a(step) -> bool:
    return step.scope == A


def deliver(data: Path, name: str, records: list[dict[str, Any]]) -> None:
    hospitals.write(data / A, name, [json.dumps(record) for record in records])


def run(lake: Path, data: Path, **options: Any) -> dict[str, Any]:
    return flow.run(lake, data, only=options.pop("only", only_a), **options)


def held(lake: Path) -> Held:
    return {(row["resource_type"], row["resource_id"]): sorted(row["reasons"]) for row in flow.held(lake)}


class Gated(NamedTuple):
    lake: Path
    data: Path
    records: dict[str, list[dict[str, Any]]]
    wrong: Held
    found: dict[str, Any]


@pytest.fixture(scope="module")
def gated(tmp_path_factory) -> Gated:
    """The hospital with its faults, published."""
    folder = tmp_path_factory.mktemp("gated")
    records, wrong = planted()
    for name, of_type in records.items():
        deliver(folder / "data", f"{name}.ndjson", of_type)
    found = run(folder / "lake", folder / "data")
    return Gated(folder / "lake", folder / "data", records, wrong, found)


def test_each_fault_is_held_under_its_names_and_nothing_else_is(gated):
    assert held(gated.lake) == gated.wrong


@pytest.mark.parametrize("name", TYPES)
def test_all_else_is_live(gated, name):
    live = {row[0] for row in flow.query(gated.lake, f"phi/silver/{name}", "SELECT id FROM t")}
    assert live == {record["id"] for record in gated.records[name] if (name, record["id"]) not in gated.wrong}


def test_the_books_balance_and_say_what_is_held(gated):
    assert flow.is_balanced(gated.found)
    books = {book["table"]: book["quarantined"] for book in gated.found[f"gate.{A}"]["books"]}
    assert books == {name: sum(of == name for of, _ in gated.wrong) for name in TYPES}


def test_what_is_only_unlikely_is_counted_and_live(gated):
    failed = {check["name"]: check["failed"] for check in gated.found[f"gate.{A}"]["facts"]["checks"]}
    assert failed["Observation heart rate (8867-4, /min) is plausible"] == 2
    assert failed["Observation.effectiveDateTime is not long after death"] > 0
    sql = "SELECT count(*) FROM t WHERE valueQuantity.value = 310"
    assert flow.query(gated.lake, "phi/silver/Observation", sql) == [(1,)]


def test_what_is_absent_for_a_reason_is_counted_and_live(gated):
    failed = {check["name"]: check["failed"] for check in gated.found[f"gate.{A}"]["facts"]["checks"]}
    for element in ("Observation.status", "Encounter.class", "Encounter.class.code"):
        assert (failed[f"{element} is present"], failed[f"{element} has a value or a reason"]) == (1, 0)


def test_a_held_row_says_where_it_came_from_and_what_it_was_warned_of(gated):
    (row,) = [
        row for row in flow.held(gated.lake) if "Observation heart rate (8867-4, /min) is possible" in row["reasons"]
    ]
    assert "heart rate (8867-4, /min) is plausible" in row["detail"]
    assert (row["feed"], row["file"], row["step"]) == ("Observation", "Observation.ndjson", "gate")


def said(lake: Path) -> dict[Path, str]:
    """Every page and file of facts outside the phi zone."""
    paths = [*(lake / "ops").rglob("*.json"), *(lake / "ops").rglob("*.html"), lake / "report.html"]
    return {path: path.read_text(encoding="utf-8") for path in paths}


def test_pages_and_results_name_the_checks_and_hold_no_value_of_a_row(gated):
    texts = said(gated.lake)
    page = "".join(text for path, text in texts.items() if "validations" in str(path) and f"{A}" in str(path))
    assert "Condition.onsetDateTime is a FHIR dateTime" in page
    assert (Lake(gated.lake).docs / "index.html").exists()
    people = [value for record in gated.records["Patient"] for value in (record["id"], record["name"][0]["family"])]
    found = {(path.name, value) for path, text in texts.items() for value in (*MARKERS, *people) if value in text}
    assert found == set()


def edited(folder: Path, file: str, old: str, new: str) -> Path:
    """A copy of the project's catalog with one change."""
    catalog = Path(shutil.copytree(PROJECT_CATALOG, folder / "catalog"))
    path = catalog / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return catalog


class Stopped(NamedTuple):
    before: dict[str, tuple[int, str]]
    error: RunFailedError
    after: dict[str, tuple[int, str]]


@pytest.fixture(scope="module")
def stopped(gated, tmp_path_factory) -> Stopped:
    """A second delivery, with a result of nobody's, that has fewer visits than its protocol stands."""
    before = flow.content(gated.lake)
    visit, result = gated.records["Encounter"][0], gated.records["Observation"][0]
    deliver(gated.data, "Encounter.2.ndjson", [visit | {"id": "new-visit"}])
    orphan = {"id": "orphan", "subject": {"reference": "Patient/zqnobody"}}
    known = {"id": "new-result", "subject": visit["subject"]}
    deliver(gated.data, "Observation.2.ndjson", [result | known, result | orphan])
    volume = "volume: { min_rows: 1, max_drop_percent: 20"
    strict = edited(
        tmp_path_factory.mktemp("strict"), f"silos/{A}/silo.yaml", volume, "volume: { min_rows: 99, severity: fail"
    )
    with pytest.raises(RunFailedError) as raised:
        run(gated.lake, gated.data, catalog=strict)
    return Stopped(before, raised.value, flow.content(gated.lake))


def test_a_check_that_fails_stops_the_publish_and_what_was_live_stays(gated, stopped):
    assert "Encounter: “Encounter delivers enough records” failed with" in str(stopped.error)
    assert stopped.error.exit_code == GateFailedError.exit_code
    assert "what was live stays live" in stopped.error.hint
    assert stopped.after == stopped.before
    steps = flow.records(gated.lake)
    assert steps[f"gate.{A}"]["error"]["class"] == "GateFailedError"
    assert f"publish.{A}" not in steps


def test_verdict_and_pages_of_a_stopped_batch_name_the_check(gated, stopped):
    verdict = json.loads((Lake(gated.lake).staging("phi", A) / "_verdict.json").read_text(encoding="utf-8"))
    failed = [
        check for table in verdict["tables"].values() for check in table["checks"] if check["verdict"] == "failed"
    ]
    assert verdict["status"] == "failed"
    stopping = [check["name"] for check in failed if check["severity"] == "fail"]
    assert stopping == ["Encounter delivers enough records", "Encounter does not shrink"]
    docs = [text for path, text in said(gated.lake).items() if "docs" in path.parts and path.suffix == ".html"]
    assert any("Encounter delivers enough records" in text for text in docs)


def test_a_delivery_is_what_was_delivered_without_what_is_tried_again(gated, stopped):
    checks = json.loads((Lake(gated.lake).staging("phi", A) / "_verdict.json").read_text(encoding="utf-8"))["tables"]
    (found,) = [
        check["found"]
        for table in checks.values()
        for check in table["checks"]
        if check["name"] == "Encounter delivers enough records"
    ]
    assert found == 1


@pytest.mark.acceptance
def test_a_stopped_batch_goes_through_once_it_is_mended(gated, stopped):
    found = run(gated.lake, gated.data)
    assert flow.is_balanced(found)
    for name in ("Encounter", "Observation"):
        assert flow.content(gated.lake)[name][0] == stopped.before[name][0] + 1
    assert held(gated.lake) == gated.wrong | {("Observation", "orphan"): ["Observation.subject resolves"]}


def curate(step) -> bool:
    return step.stage == "curate"


@pytest.mark.acceptance
def test_gold_that_breaks_its_declaration_is_not_published(gated, tmp_path):
    lake, data = gated.lake, gated.data
    run(lake, data, only=curate)
    before = flow.content(lake, "research/gold")
    assert before["conditions"][0] > 0

    twice = edited(tmp_path / "twice", "tables/conditions/table.yaml", "key: [condition_key]", "key: [patient_key]")
    with pytest.raises(RunFailedError, match="conditions: “conditions key is unique” failed") as raised:
        run(lake, data, only=curate, catalog=twice)
    assert raised.value.exit_code == GateFailedError.exit_code
    assert "publish.gold" not in flow.records(lake)
    assert flow.content(lake, "research/gold") == before

    sql = "tables/utilisation/table.sql"
    more = edited(tmp_path / "more", sql, "SELECT\n  patient_key,", "SELECT\n  1 AS zqmore, patient_key,")
    with pytest.raises(RunFailedError, match="zqmore") as raised:
        run(lake, data, only=curate, catalog=more)
    assert "gate.gold" not in flow.records(lake)
    assert flow.content(lake, "research/gold") == before
