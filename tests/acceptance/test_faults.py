"""Ten faults planted in a copy of the bundled hospitals: ten named, everything else published, books balanced."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import pytest

from tests import flow, hospitals

pytestmark = pytest.mark.acceptance

A, B = "site_a_fhir_r4", "site_b_csv"


def edit(path: Path, change) -> None:
    """Rewrite a zipped file's lines."""
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    path.write_bytes(gzip.compress("".join(f"{line}\n" for line in change(lines)).encode()))


def changed(line: str, **elements) -> str:
    return json.dumps(json.loads(line) | elements)


def plant(data: Path) -> None:
    patients = [json.loads(line) for line in hospitals.lines(f"{A}/Patient.ndjson.gz")]
    born = {patient["id"]: patient["birthDate"] for patient in patients}

    def observations(lines: list[str]) -> list[str]:
        early = json.loads(lines[1])
        owner = early["subject"]["reference"].removeprefix("Patient/")
        before_birth = f"{int(born[owner][:4]) - 3}-01-01T00:00:00Z"
        return [
            changed(lines[0], subject={"reference": "Patient/nobody"}),  # 1 a reference to nobody
            changed(lines[1], effectiveDateTime=before_birth),  # 2 dated before birth
            "garbage {",  # 3 a line of garbage
            changed(lines[2], resourceType="Wibble"),  # 4 a resource of an unknown type
            *lines[3:],
        ]

    edit(data / A / "Observation.ndjson.gz", observations)
    # 5 a condition without an id
    edit(data / A / "Condition.ndjson.gz", lambda lines: [json.dumps({**json.loads(lines[0]), "id": None}), *lines[1:]])
    # 6 a status that R4 does not know
    edit(data / A / "Procedure.ndjson.gz", lambda lines: [changed(lines[0], status="no-such-status"), *lines[1:]])
    # 7 a truncated file
    device = data / A / "Device.ndjson.gz"
    device.write_bytes(device.read_bytes()[:-200])
    # 8 a column renamed
    edit(data / B / "allergies.csv.gz", lambda lines: [lines[0].replace("CODE,", "CODES,", 1), *lines[1:]])
    # 9 a row with too few fields
    edit(data / B / "procedures.csv.gz", lambda lines: [lines[0], lines[1].rsplit(",", 3)[0], *lines[2:]])
    # 10 bytes that are not UTF-8
    careplans = data / B / "careplans.csv.gz"
    raw = gzip.decompress(careplans.read_bytes()).split(b"\n")
    raw[1] = raw[1].replace(b"(", b"\xff", 1)
    careplans.write_bytes(gzip.compress(b"\n".join(raw)))


@pytest.mark.timeout(1200)
def test_ten_faults_are_ten_names_and_the_rest_goes_on(tmp_path):
    data = tmp_path / "data"
    shutil.copytree(hospitals.DATA, data)
    plant(data)
    found = flow.run(tmp_path / "lake", data, only=lambda step: step.stage != "training")
    assert flow.is_balanced(found)
    assert flow.reasons(tmp_path / "lake") == {
        "Observation.subject resolves": 1,
        "Observation.effectiveDateTime is not before birth": 1,
        "standardise: not a JSON object": 1,
        "standardise: resource type": 1,
        "Condition.id is present": 1,
        "Procedure.status is a known code": 1,
        "land: gzip stream ends early": 1,
        "land: missing column": 1,
        "standardise: fields": 1,
        "land: not UTF-8": 1,
    }
    # The line of garbage stands beside the hospital's own records.
    for name, lost in {"Observation": 3, "Condition": 1, "Procedure": 1, "Patient": 0, "Encounter": 0}.items():
        whole = len(hospitals.lines(f"{A}/{name}.ndjson.gz"))
        live = flow.query(tmp_path / "lake", f"phi/silver/{name}", f"SELECT count(*) FROM t WHERE silo = '{A}'")
        assert live == [(whole - lost,)], name
    patients = f"SELECT silo, count(*) FROM t WHERE silo IN ('{A}', '{B}') GROUP BY ALL ORDER BY ALL"
    assert flow.query(tmp_path / "lake", "research/gold/patients", patients) == [(A, 144), (B, 136)]
