"""Great Expectations judges every row by every check: what it counts is what a reading of the records' JSON counts.

The records are a small hospital's, with faults of every kind planted. The reading (`tests.recount_checks`) shares no
code with the gate. A judge that always says yes, and a table that hides rows, are planted too, and found.
"""

from __future__ import annotations

import copy
import datetime
import json
from collections import Counter
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cohortlake.core.catalog import load_catalog
from cohortlake.core.lake import Lake
from cohortlake.core.rules import Within
from expectations import silo
from expectations.engine import DuckDBExecutionEngine
from expectations.examine import ExpectationsError
from expectations.links import claim, claim_units, claimed
from expectations.validate import Examiner
from spark_jobs.context import Context
from spark_jobs.delta import Part
from spark_jobs.staged import Staged
from spark_jobs.standardise_fhir import COLUMNS, standardise_part
from tests import hospitals
from tests.recount_checks import Hospital

A = "site_a_fhir_r4"
TYPES = ("Patient", "Encounter", "Condition", "Observation", "MedicationRequest", "Procedure")
WHY = {"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown"}]}
UNKNOWN = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/data-absent-reason", "code": "unknown"}]}
NOBODY = {"reference": "Patient/nobody"}
# What is changed in a record of a type, one record each.
FAULTS: dict[str, list[dict[str, Any]]] = {
    "Patient": [{"gender": "mael"}, {"birthDate": "1970-02-30"}, {"name": []}, {"maritalStatus": {"coding": []}}],
    "Encounter": [
        {"status": "zq"}, {"status": None, "_status": WHY}, {"class": WHY}, {"class": {"code": "zq"}}, {"id": "a b"},
        {"period": {"start": "2021-05", "end": "2021-04"}}, {"period": {"start": "2021-05", "end": "2021-05-02"}},
        {"period": {"start": "2021-05-01T10:00:00+02:00", "end": "2021-05-01T07:59:59Z"}},
        {"subject": NOBODY}, {"subject": {"display": "Zq"}}, {"serviceProvider": {"reference": "Practitioner/1"}},
        {"participant": [{"individual": {"reference": "Practitioner/nobody"}}]}, {"type": [UNKNOWN]}, {"type": [{}]},
    ],
    "Condition": [
        {"onsetDateTime": "2021-02-30"}, {"onsetDateTime": "1850"}, {"code": {"text": ""}}, {"code": UNKNOWN},
        {"category": [{}]}, {"clinicalStatus": {"coding": [{"code": "zq"}]}},
        {"clinicalStatus": {"coding": [{"code": "zq"}, {"code": "active"}]}}, {"recordedDate": "2021-02-01T10:00"},
        {"encounter": {"reference": "Encounter/nobody"}}, {"meta": {"profile": ["a\u00a0b", "c d"]}},
        {"meta": {"profile": ["a\u00a0b"]}},
    ],
    "Observation": [
        {"status": "zq"}, {"issued": "2021-02-01"}, {"effectiveDateTime": "1850-01-01"}, {"subject": NOBODY},
        {"valueString": "twice", "valueInteger": 1}, {"component": [{"valueString": "of nothing"}]}, {"status": None},
        {"code": None}, {"encounter": {"reference": "Patient/x"}},
    ],
    "MedicationRequest": [{"intent": "zq"}, {"authoredOn": "soon"}, {"medicationCodeableConcept": WHY}],
    "Procedure": [{"performedPeriod": {"start": "2021-05-02", "end": "2021-05-01"}}, {"subject": WHY}, {"status": ""}],
}  # fmt: skip


def planted() -> dict[str, list[dict[str, Any]]]:
    """A small hospital's records, with each fault in a record of its own."""
    found = {}
    for name in TYPES:
        records = [json.loads(line) for line in hospitals.site_a(8, 8)[name]]
        for record, fault in zip(records[1:], copy.deepcopy(FAULTS[name]), strict=False):
            record.update(fault)
            for element in [element for element, value in fault.items() if value is None]:
                del record[element]
            for element in [element for element in record if element.startswith("value") and len(fault) > 1]:
                if "twice" in fault.values() and element not in fault:
                    del record[element]
        assert len(records) > len(FAULTS[name]), name
        found[name] = records
    for name in (*hospitals.SHARED, "CareTeam"):
        found[name] = [json.loads(line) for line in hospitals.site_a(8, 8).get(name, [])]
    return {name: records for name, records in found.items() if records}


@pytest.fixture(scope="module")
def staged(tmp_path_factory) -> tuple[silo.SiloGate, Hospital]:
    """The hospital, staged as Spark's tasks stage it, without Spark; and its gate before it judges."""
    folder = tmp_path_factory.mktemp("every_row")
    ctx = Context(Lake(folder / "lake"), folder / "data", load_catalog(), A, "r1")
    records, tables = planted(), {}
    moment = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    for name, of_type in records.items():
        bronze = folder / f"{name}.parquet"
        rows = [(name, name, moment, at, json.dumps(record)) for at, record in enumerate(of_type)]
        pq.write_table(pa.Table.from_pylist([dict(zip(COLUMNS, row, strict=True)) for row in rows]), bronze)
        unit = {"sources": [(bronze, None)], "silo": A, "table": ctx.lake.silver(name), "rejects": folder / "rejects"}
        done = standardise_part(unit, ctx.catalog.resources[name])
        assert not done["rejected"], (name, pq.read_table(folder / "rejects")["reason"].to_pylist())
        tables[name] = Staged(name, [Part(**done["part"])], done["rows"])
    gate = silo.SiloGate(ctx, ctx.lake.staging("phi", A), tables)
    # Three of the patients' faults keep them back, so that whoever refers to them refers to nobody.
    return gate, Hospital(records, refused={records["Patient"][at]["id"] for at in (1, 2, 3)})


def results(gate: silo.SiloGate) -> dict[str, dict[str, Any]]:
    """The gate's judgement: Great Expectations' kept results by type and check."""
    lake, examiner = gate.ctx.lake, Examiner(gate.ctx.lake, "r1")
    gate.files.mkdir(parents=True, exist_ok=True)
    work = {name: claimed([item.check for item in items]) for name, items in gate.items.items()}
    for unit in claim_units(gate.ctx, gate.staged, gate.files):
        claim(unit, work, dict(gate.ctx.catalog.resources))
    links = silo.Links(gate.ctx, gate.files, gate.refused(examiner))
    gate.judge(links, examiner)
    found = {}
    for name in gate.staged:
        kept = json.loads((lake.ops("expectations") / "results" / A / f"{name}.json").read_text(encoding="utf-8"))
        found[name] = {one["expectation_config"]["meta"]["check"]: one for one in kept["results"]}
    return found


def odd(gate: silo.SiloGate, hospital: Hospital) -> tuple[list[str], Counter[str]]:
    """The checks that Great Expectations and the reading count differently; and how many of each rule were compared."""
    judged, differing, compared = results(gate), [], Counter[str]()
    for name in TYPES:
        for item in gate.items[name]:
            if item.check.sql or isinstance(item.check.rule, Within):
                continue
            one = judged[name][item.check.name]
            told = one["result"]
            # What must be there is not missing but bad.
            missing = told.get("missing_count", told["unexpected_count"])
            said = told["element_count"], missing, told["unexpected_count"]
            wanted = hospital.recount(item.check)
            compared[f"{type(item.check.rule).__name__} {'bad' if wanted[2] else 'good'}"] += 1
            if said != wanted or one["success"] != (wanted[2] == 0):
                differing.append(f"{item.check.name}: {said} for {wanted}")
    return differing, compared


def test_each_check_counts_what_the_records_say(staged):
    differing, compared = odd(*staged)
    assert differing == []
    rules = ("Present", "ValueOrReason", "OneOf", "Matches", "WellFormed", "Ordered", "Resolves", "InLife",
             "ValuesWellFormed", "HasRequired", "OneType", "Refers", "NoEmptyList")  # fmt: skip
    assert [rule for rule in rules if not compared[f"{rule} bad"]] == []


def test_a_judge_that_always_says_yes_is_found(staged, monkeypatch):
    resolve = DuckDBExecutionEngine.resolve_metrics

    def always(self: Any, *of: Any, **more: Any) -> Any:
        found = resolve(self, *of, **more)
        return {key: 0 if key.metric_name.endswith(".unexpected_count") else value for key, value in found.items()}

    monkeypatch.setattr(DuckDBExecutionEngine, "resolve_metrics", always)
    differing, _ = odd(*staged)
    assert len(differing) > 30


def test_a_table_that_hides_rows_is_found(staged, monkeypatch):
    gate, _ = staged
    whole = silo.audit_sql
    monkeypatch.setattr(silo, "audit_sql", lambda *of: f"{whole(*of)} LIMIT 3")
    with pytest.raises(ExpectationsError, match=r"judged 3 rows of \d+"):
        results(gate)
